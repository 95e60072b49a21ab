"""A batch in the packs that a platform gets: of one node each."""

from dataclasses import replace


def packs_of(batch, most):
    """Split into batches of one node and assurance, at most `most` records long, the order of each node kept."""
    by_node = {}
    for stored in batch.records:
        by_node.setdefault((stored.node, stored.assurance), []).append(stored)
    return [
        replace(batch, records=tuple(records[at : at + most]))
        for records in by_node.values()
        for at in range(0, len(records), most)
    ]
