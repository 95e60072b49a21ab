"""A window that a node made comes to the city as the gateway's own do, under the node's record id."""

from __future__ import annotations

import json
import sqlite3

from drivers.link.pack import Report, pack
from drivers.link.schema import WATER, WINDOW
from drivers.link.unpack import unpack
from gateway.boots import Boots
from gateway.decode import Origin, reports_of
from gateway.identity.nodes import Node
from gateway.senml import encode

NODE = Node(id="urn:dev:os:32473-abcdefghijklmnop", address=0xBEEF, root_key=bytes(32), epoch=1)
SENT_AT_S = 1_790_000_000.0
WATER_MINUTE = (60, 0, 6, 12, 1200, 1260, 12_312, 1259)


def test_a_window_has_its_start_its_length_and_the_node_s_own_id() -> None:
    sent = [Report(7, 940, WINDOW, WATER_MINUTE), Report(8, 970, WATER, (1250,)), Report(9, 990, WINDOW, (3600, 3000))]
    body = unpack(pack(sent, uptime_s=1000, floor=7, max_len=100)[0], full=False).resolve(7)
    origin = Origin(node=NODE, epoch=1, sent_at_s=SENT_AT_S, is_trusted=True, is_urgent=False)
    with sqlite3.connect(":memory:") as tx:
        reports = [report for _, _, report in reports_of(tx, body, origin, Boots())]
    assert [report.kind for report in reports] == ["window", "telemetry", "window"]
    assert [report.measured_at_s - SENT_AT_S for report in reports] == [-60 - 60, -30, -10 - 3600]
    packed = encode(reports, lane="live")
    assert [value for name, value in packed.properties if name == "record-id"] == [
        f"{NODE.id}/1/{n}" for n in (7, 8, 9)
    ]
    assert json.loads(packed.payload)[:6] == [
        {"bn": f"{NODE.id}_", "bt": SENT_AT_S - 120, "n": "window", "u": "s", "v": 60},
        {"n": "water_level/count", "u": "count", "v": 12},
        {"n": "water_level/mean", "u": "m", "v": 1.2312},
        {"n": "water_level/min", "u": "m", "v": 1.2},
        {"n": "water_level/max", "u": "m", "v": 1.26},
        {"n": "water_level/last", "u": "m", "v": 1.259},
    ]
    assert [record["n"] for record in json.loads(packed.payload)[7:]] == ["window", "held_back"]
