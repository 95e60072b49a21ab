"""SIGKILL at random moments while nodes report and the city takes: what was acked arrives, under one id, once."""

import json
import random
import signal
import subprocess
import sys

KILLS = 12
NODES = 4


def run_once(data_dir, run, next_seqs, *, lines=None):
    """Run the gateway until it has said `lines` lines, then kill it; else until it ends. Returns what it said."""
    command = [sys.executable, "-m", "tests.gateway.killed", str(data_dir), run, *map(str, next_seqs)]
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE) as gateway:
        for line in gateway.stdout:
            said.append(json.loads(line))
            if lines is not None and len(said) >= lines:
                gateway.send_signal(signal.SIGKILL)
                lines = None
    assert gateway.returncode == (-signal.SIGKILL if run != "last" else 0)
    return said


def test_nothing_acknowledged_is_lost_over_kills_and_no_id_has_two_contents(tmp_path):
    chance = random.Random(12)
    acked, contents, downlinks = set(), {}, set()
    next_seqs = [0] * NODES
    names = []
    for run in [*map(str, range(KILLS)), "last"]:
        for line in run_once(tmp_path, run, next_seqs, lines=chance.randint(1, 400) if run != "last" else None):
            if "acked" in line:
                acked.add((line["node"], line["acked"]))
                assert (line["node"], line["downlink"]) not in downlinks, "a downlink counter came twice"
                downlinks.add((line["node"], line["downlink"]))
                if line["node"] not in names:
                    names.append(line["node"])
            elif "delivered" in line:
                first = contents.setdefault(line["delivered"], line["content"])
                assert first == line["content"], f"{line['delivered']} has two contents"
            else:
                assert line["audit"], "the invariant does not hold"
                assert not line.get("notices")
        by_node = {name: [seq for node, seq in acked if node == name] for name in names}
        next_seqs = [max(seqs) + 1 for seqs in by_node.values()] + [0] * (NODES - len(by_node))
    missing = {(node, seq) for node, seq in acked if f"{node}/1/{seq}" not in contents}
    assert missing == set()
    assert line["counters"].get("reports_conflict", 0) == 0
    own = sorted(int(one.rsplit("/", 1)[1]) for one in contents if one.startswith("gw-1/"))
    assert own == list(range(len(own))), "the gateway's own sequence has holes"
    assert len(acked) > 100
    assert own
