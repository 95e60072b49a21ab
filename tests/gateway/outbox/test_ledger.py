"""The counts of each platform: a commit in the making changes its own copy alone."""

from gateway.outbox.ledger import Ledger


def test_what_is_done_to_a_copy_is_not_done_to_the_ledger():
    ledger = Ledger()
    ledger.set_cities(["near", "far"])
    ledger.came(2, 10, 1_000, produced=1)
    before, made = ledger.to_json(), ledger.copy()
    made.give_up(2, "evicted", [(4, 6)])
    made.came(2, 5, 500, produced=0)
    made.settle("near", 2, "delivered", [(0, 4)])
    made.set_cities(["near"])
    assert (ledger.to_json(), ledger.records(2)) == (before, 10)
    assert (made.to_json() != before, made.records(2)) == (True, 15 - 2 - 4)
