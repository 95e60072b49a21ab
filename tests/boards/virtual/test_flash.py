"""NOR rules and torn operations, cell by cell."""

from pathlib import Path

import pytest

from boards.virtual.flash import Flash
from boards.virtual.nvs import KIND_BLOB, KIND_I32, Nvs
from boards.virtual.power import FlashWear, PowerCut


def wear(cuts: list[str]) -> FlashWear:
    return FlashWear(lambda: cuts.append("cut"))


def test_programming_only_clears_bits(tmp_path: Path) -> None:
    flash = Flash(tmp_path / "flash", 8192, wear([]))
    flash.program(10, b"\xf0")
    flash.program(10, b"\x3c")
    assert flash.read(9, 3) == b"\xff\x30\xff"
    flash.erase(0)
    assert flash.read(0, 4096) == b"\xff" * 4096


@pytest.mark.parametrize(("torn", "programmed"), [(True, b"\x00\x00\xff\xff"), (False, b"\x00\x00\x00\x00")])
def test_a_cut_leaves_half_a_program_or_an_unanswered_whole(tmp_path: Path, torn: bool, programmed: bytes) -> None:
    cuts: list[str] = []
    supply = wear(cuts)
    flash = Flash(tmp_path / "flash", 4096, supply)
    supply.cut_at(2, torn=torn)
    flash.program(100, b"\x00")
    with pytest.raises(PowerCut):
        flash.program(0, bytes(4))
    assert (flash.read(0, 4), cuts, supply.operations) == (programmed, ["cut"], 2)


def test_a_torn_erase_leaves_the_second_half_as_it_was(tmp_path: Path) -> None:
    supply = wear([])
    flash = Flash(tmp_path / "flash", 4096, supply)
    flash.program(0, bytes(4096))
    supply.cut_at(1)
    with pytest.raises(PowerCut):
        flash.erase(0)
    assert flash.read(0, 4096) == b"\xff" * 2048 + bytes(2048)


def test_nvs_loses_a_suffix_of_what_was_not_committed(tmp_path: Path) -> None:
    survived = set()
    for seed in range(20):
        nvs = Nvs(tmp_path / f"{seed}.json", FlashWear(lambda: None, seed=seed))
        nvs.set("a", "kept", KIND_BLOB, b"1")
        nvs.commit()
        nvs.set("a", "x", KIND_I32, bytes(4))
        nvs.erase_key("a", "kept")
        nvs.lose_power()
        survived.add("".join(sorted(nvs.namespaces()["a"])))
        nvs.close()
    assert survived == {"kept", "keptx", "x"}
