"""No death of a node repeats a number, loses an acknowledged report, or leaves it unable to go on."""

import pytest

from tests.peers.micropython import check_micropython, run_micropython

LIVES = """
from tests.firmware.lives import live
{mutant}
for seed in range({seeds}):
    live(seed, {harm!r})
print("all lived")
"""

# Each breaks one rule of "Freshness"; the lives must notice.
MUTANTS = {
    "a sequence is reserved after its use": """
from firmware.settings import Settings
def take_seq(self):
    self.next_seq += 1
    return self.next_seq - 1
Settings.take_seq = take_seq
from firmware.archive import Archive
acknowledge = Archive.acknowledge
def acknowledge_then_reserve(self, *what, **how):
    self._settings.write_u32("seq", self._settings.next_seq)
    return acknowledge(self, *what, **how)
Archive.acknowledge = acknowledge_then_reserve
""",
    "frame counters are reserved after their use": """
from firmware.report import Reporter
from firmware.settings import Settings
def take_counter(self):
    self.next_counter += 1
    return self.next_counter - 1
Settings.take_counter = take_counter
next_frame = Reporter.next_frame
def send_then_reserve(self):
    frame = next_frame(self)
    self._settings.write_u32("counter", self._settings.next_counter - 1)
    return frame
Reporter.next_frame = send_then_reserve
""",
    "a shortened journal is taken for the whole": """
from tests.firmware import lives
check = lives.close_what_disagrees
def trusting(settings, journal):
    run = journal.run(settings.epoch)
    settings.next_seq = run.end if run else 0
    return check(settings, journal)
lives.close_what_disagrees = trusting
""",
}


@pytest.mark.parametrize("harm", ["cut", "erased", "restored", "nvs", "all"])
def test_no_number_repeats_and_nothing_is_lost_in_silence(harm: str) -> None:
    script = LIVES.format(mutant="", seeds=25, harm=harm)
    assert "all lived" in check_micropython(script, heapsize="16m")


def test_no_number_repeats_whichever_block_the_power_goes_at() -> None:
    """littlefs' own blocks, and NVS; what a join writes is in tests/faults/test_node_cuts.py."""
    printed = check_micropython("from tests.firmware.lives import cut_at_each\ncut_at_each(80)", heapsize="16m")
    assert "cut at each of 80 operations" in printed


@pytest.mark.parametrize("name", MUTANTS)
def test_the_lives_notice_a_broken_rule(name: str) -> None:
    script = LIVES.format(mutant=MUTANTS[name], seeds=40, harm="cut" if "counter" in name else "all")
    done = run_micropython(script, heapsize="16m")
    assert "all lived" not in done.stdout
    assert "AssertionError" in done.stdout
