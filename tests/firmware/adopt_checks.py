"""The end of a join in NVS: wherever the power goes, no key meets a counter that it met before. Runs on MicroPython."""

from firmware.enrol import adopt
from firmware.identity import NotEnrolled, load
from firmware.rejoin import has_joined, is_join_due, join_after
from tests.firmware.bench import Nvs, PowerCut, Supply, enrolled
from tests.firmware.judge import ADDRESS, NODE_ID, ROOT

_NEW = bytes(range(100, 132))
_PRIVATE = b"\x01" * 32


def born(supply, *, has_session):
    """A node with a key pair; with a session it is in epoch 1 and has used 300 counters."""
    nvs = enrolled(supply) if has_session else Nvs(supply)
    if has_session:
        settings = load(nvs)
        for _ in range(300):
            settings.take_counter()
    nvs.set_blob("priv", _PRIVATE)
    nvs.set_blob("address", bytes([ADDRESS >> 8, ADDRESS & 0xFF]))
    nvs.set_blob("id", NODE_ID.encode())
    return nvs


def finish(nvs, *, epoch):
    nvs.set_blob("next", _NEW + epoch.to_bytes(4, "big"))
    adopt(nvs)


def check_a_key_of_the_same_epoch_takes_the_place_of_the_old_one_in_one_write():
    nvs = born(Supply(), has_session=True)
    before = dict(nvs.entries)
    finish(nvs, epoch=1)
    changed = [name for name in nvs.entries if nvs.entries[name] != before.get(name)]
    assert changed == ["key"]
    assert not has_joined(nvs)
    assert load(nvs).take_counter() >= 300


def _settings_of(nvs, epoch):
    """As a start reads them; a node without a key joins first."""
    try:
        return load(nvs)
    except NotEnrolled:
        assert is_join_due(nvs)
        finish(nvs, epoch=epoch)
        return load(nvs)


def check_a_cut_anywhere_leaves_the_node_as_it_was_or_joining():
    for has_session, epoch in ((True, 1), (True, 17), (False, 1), (False, 23)):
        count = 0
        while True:
            supply = Supply()
            nvs = born(supply, has_session=has_session)
            count += 1
            supply.cut_after(count)
            try:
                finish(nvs, epoch=epoch)
                break
            except PowerCut:
                supply.restore()
            if has_joined(nvs):
                adopt(nvs)  # as the next boot does
            settings = _settings_of(nvs, epoch)
            if settings.key == ROOT:
                assert (settings.epoch, has_session) == (1, True)
                assert settings.take_counter() >= 300
            else:
                assert settings.key == _NEW
                assert settings.epoch >= epoch
        assert count > 1
        supply.restore()
        assert load(nvs).epoch >= epoch
        assert load(nvs).key == _NEW


def check_who_has_a_key_pair_and_no_session_is_to_join():
    supply = Supply()
    assert not is_join_due(Nvs(supply))
    assert join_after(Nvs(supply)) == 0
    assert not is_join_due(enrolled(supply))
    assert is_join_due(born(supply, has_session=False))
    nvs = born(supply, has_session=True)
    assert not is_join_due(nvs)
    nvs.set_i32("join", 1)
    assert is_join_due(nvs)
    tries = []
    for failed in (0, 1, 2, 5, 60):
        nvs.set_i32("joins", failed)
        tries.append(join_after(nvs))
    assert tries == [6, 12, 24, 192, 192]


class Wlan:
    """network.WLAN as far as birth goes."""

    def __init__(self):
        self.states = [False]

    def active(self, on=None):
        if on is not None:
            self.states.append(on)
        return self.states[-1]


class Ticks:
    def ticks_us(self):
        return 123


def check_a_key_pair_is_born_once_with_the_radio_on():
    from drivers.link import p256, p256_base
    from firmware.birth import be_born
    from firmware.entropy import draw

    nvs, wlan = Nvs(Supply()), Wlan()
    public = be_born(nvs, wlan, Ticks())
    assert wlan.states == [False, True, False]
    private = p256.scalar(nvs.entries["priv"])
    assert public == p256.compress(p256_base.public(private))
    assert be_born(nvs, wlan, Ticks()) == public
    assert wlan.states == [False, True, False]
    seed = nvs.entries["seed"]
    drawn = [draw(nvs) for _ in range(3)]
    assert len(set(drawn)) == 3
    assert nvs.entries["seed"] not in (seed, drawn[-1])
    assert be_born(Nvs(Supply()), wlan, Ticks()) != public


CHECKS = [value for name, value in sorted(globals().items()) if name.startswith("check_")]
