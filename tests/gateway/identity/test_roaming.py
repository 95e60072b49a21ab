"""Two gateways and their nodes, one of them ends: what each node measured is at the city once. Short, without boards.

With real boards, over the air and over a broker: tests/faults/test_rehoming.py.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

from provisioning.enrol import enrol_public
from tests.gateway.cores import deliver_all, hear, running_core
from tests.gateway.identity.test_registered_joins import speaking
from tests.gateway.joining import Bearer, JoiningNode, Site

NODES = 5


async def test_nodes_of_a_gateway_that_ended_go_on_at_another_and_nothing_is_lost_or_twice(tmp_path: Path) -> None:
    site, nodes = Site(), []
    known = [site.endorse(tmp_path / name) for name in ("gw-1", "gw-2")]
    for _ in range(NODES):
        node = JoiningNode(site.trust(*known))
        for name in ("gw-1", "gw-2"):
            made = enrol_public(tmp_path / name, public_key=node.keys.public)
        nodes.append((node, made.id))
    issued, arrived = set[str](), Counter[str]()

    async def report(core, speaker, name: str, count: int) -> None:
        for _ in range(count):
            issued.add(f"{name}/{speaker._enrolment.epoch}/{speaker.seq}")
            assert (await hear(core, speaker.report())).accepted

    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(running_core(tmp_path / "gw-2", gateway_id="gw-2"))
        async with running_core(tmp_path / "gw-1") as first:
            for node, name in nodes:
                joined = await node.join(Bearer(first))
                assert joined is not None
                speaker = speaking(node, name, joined)
                await report(first, speaker, name, 2)
                issued.add(f"{name}/1/2")
                frame = speaker.report()
                assert (await hear(second, frame)).reason == "no_session"  # it is the first one's node
                assert (await hear(first, frame)).accepted
        for node, name in nodes:
            joined = await node.join(Bearer(second), epoch=1)
            assert joined is not None
            assert joined.epoch == 2
            await report(second, speaking(node, name, joined), name, 2)
        arrived.update(one.record_id for one in await deliver_all(second) if one.kind == "telemetry")
    async with running_core(tmp_path / "gw-1") as again:  # what it had acknowledged is on its disk
        late = [one.record_id for one in await deliver_all(again) if one.kind == "telemetry"]
    arrived.update(late)
    assert set(arrived) == issued
    assert max(arrived.values()) == 1
    assert len(issued) == 5 * NODES
