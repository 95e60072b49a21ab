"""The gateway's chain: no key goes out before its interval is over, whatever is restarted, restored or set back."""

from __future__ import annotations

import errno
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from drivers.link import beacon
from gateway.clock import ClockTrust
from gateway.identity import chain as chains
from gateway.identity.chain import FILE, Chain, ChainFile
from gateway.southbound.beacons import Beacons
from tests.gateway.cores import NOW_S

INTERVAL_S = 16
LAST = 50


class Boot:
    """A machine's clock since it was switched on, and the chain file of the gateway on it."""

    def __init__(self, data_dir: Path, *, boot_id: str = "boot-1", up_s: float = 1_000.0) -> None:
        self.data_dir = data_dir
        self.boot_id = boot_id
        self.up_s = up_s

    def start(self, *, interval_s: int = INTERVAL_S) -> ChainFile:
        """A process of the gateway."""
        return ChainFile(
            self.data_dir, interval_s=interval_s, boot_id=self.boot_id, monotonic_s=lambda: self.up_s, last=LAST
        )


@pytest.fixture
def boot(tmp_path: Path) -> Boot:
    return Boot(tmp_path)


def test_every_key_leads_to_the_one_before() -> None:
    chain = Chain.from_end(bytes(16), number=7, began_ms=0, interval_s=10, last=5)
    first = chain.beacon(1, utc_s=None, error_s=0)
    for interval in range(2, 6):
        second = chain.beacon(interval, utc_s=None, error_s=0)
        key = beacon.parse(second)[2]
        assert beacon.key_before(7, interval - 1, key) == beacon.parse(first)[2]
        assert beacon.tag_of(first[:-8], key) == first[-8:]
        first = second


def test_a_restart_in_one_boot_goes_on_by_the_clock(boot: Boot) -> None:
    before = boot.start().current()
    boot.up_s += 3 * INTERVAL_S + 1
    after = boot.start().current()
    assert after == before
    told = after.anchor(int(boot.up_s * 1_000)) or b""
    assert told[2:11] == bytes([0, 4, 0, LAST, 0, INTERVAL_S]) + (1_000).to_bytes(3, "big")


@pytest.mark.parametrize("change", ["other boot", "clock behind", "other interval", "readable by others", "spoilt"])
def test_where_time_cannot_be_told_another_chain_begins(boot: Boot, change: str) -> None:
    before = boot.start().current()
    boot.up_s += 100
    interval_s = INTERVAL_S
    path = boot.data_dir / FILE
    if change == "other boot":
        boot.boot_id = "boot-2"
    elif change == "clock behind":
        boot.up_s = 900.0
    elif change == "other interval":
        interval_s = 32
    elif change == "readable by others":
        path.chmod(0o644)
    else:
        path.write_text(path.read_text()[:-20])
    after = boot.start(interval_s=interval_s).current()
    assert after.keys != before.keys
    assert after.interval_at(int(boot.up_s * 1_000)) == 1
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_chain_that_is_over_is_followed_by_another(boot: Boot) -> None:
    file = boot.start()
    before = file.current()
    boot.up_s += LAST * INTERVAL_S - 0.5
    assert file.current() is before
    boot.up_s += 1
    assert file.anchor() is None  # until the next one is on disk
    after = file.current()
    assert after.keys != before.keys
    assert json.loads((boot.data_dir / FILE).read_text())["number"] == after.number


def test_nothing_is_said_under_a_chain_that_is_not_on_disk(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    counted: Counter[str] = Counter()
    clock = ClockTrust(wall=lambda: NOW_S, monotonic=lambda: boot.up_s)
    file = boot.start()
    sender = Beacons(file, clock, count=lambda name, n: counted.update({name: n}))
    monkeypatch.setattr(chains, "write_durably", refuse)
    for _ in range(5):
        assert sender.due(now_us=0) is None
    assert file.anchor() is None
    assert counted == {"lora_beacons_skipped_disk": 1}
    monkeypatch.undo()
    boot.up_s += 61 + INTERVAL_S
    assert sender.due(now_us=0) is None
    assert file.anchor() is not None


def test_no_key_goes_out_early_in_any_history(tmp_path: Path) -> None:
    """Processes die, files are set back to any earlier state, machines boot anew; a beacon is due at most once."""
    dice = random.Random(4)
    boot = Boot(tmp_path)
    images: list[bytes] = []
    ends: dict[bytes, int] = {}  # when the interval of each key is over
    said: Counter[tuple[bytes, int]] = Counter()
    chains_met = set()
    for at in range(6_000):
        if at == 0 or dice.random() < 0.01:
            file = boot.start()
            clock = ClockTrust(wall=lambda: NOW_S, monotonic=lambda: boot.up_s)
            sender = Beacons(file, clock, count=lambda name, n: None)
        chain = file.current()
        if chain.keys not in chains_met:
            chains_met.add(chain.keys)
            for interval in range(LAST + 1):
                ends[chain._key(interval)] = chain.start_ms(interval + 1)
            images.append((tmp_path / FILE).read_bytes())
        found = sender.due(now_us=0)
        if found is not None:
            due_ms = file.now_ms() + found[1] // 1_000
            _, interval, key, *_ = beacon.parse(found[0])
            assert due_ms >= ends[key]
            said[chain.keys, interval] += 1
        anchor = file.anchor()
        if anchor is not None:
            assert file.now_ms() >= ends[anchor[11:27]]
        boot.up_s += dice.choice((0.1, 0.1, 0.1, 1.5)) * dice.uniform(0.5, 1.5)
        if dice.random() < 0.004:
            (tmp_path / FILE).write_bytes(dice.choice(images))
        if dice.random() < 0.001:
            boot.boot_id, boot.up_s = f"boot-{at}", dice.uniform(1, 3_000)
            file = boot.start()
            sender = Beacons(file, clock, count=lambda name, n: None)
    assert len(chains_met) > 5
    assert len(said) > 30


def test_a_beacon_is_made_once_and_tells_the_time_of_its_moment(boot: Boot) -> None:
    clock = ClockTrust(wall=lambda: NOW_S + boot.up_s, monotonic=lambda: boot.up_s)
    sender = Beacons(boot.start(), clock, count=lambda name, n: None)
    assert sender.due(now_us=0) is None
    boot.up_s += INTERVAL_S - 0.125
    frame, due_us = sender.due(now_us=7_000_000) or (b"", 0)
    assert due_us == 7_150_000
    _, interval, _, utc_256, error_4, more = beacon.parse(frame)
    assert (interval, error_4, more) == (2, 2, b"")
    assert utc_256 / 256 == pytest.approx(NOW_S + 1_000 + INTERVAL_S, abs=0.04)
    assert sender.due(now_us=7_000_000) is None


def test_a_gateway_that_does_not_know_the_time_says_so(boot: Boot) -> None:
    clock = ClockTrust(wall=lambda: 0.0, monotonic=lambda: boot.up_s)
    file = boot.start()
    sender = Beacons(file, clock, count=lambda name, n: None)
    file.current()
    boot.up_s += INTERVAL_S - 0.125
    frame, _ = sender.due(now_us=0) or (b"", 0)
    assert beacon.parse(frame)[3] is None
