"""Rules of the numbers in NVS, whatever of it is missing. Run under MicroPython by test_rules."""

from firmware.enrol import enrol
from firmware.epochs import close
from firmware.identity import NotEnrolled
from firmware.settings import COUNTER_BLOCK, MAX_CLOSED, Settings, SettingsError
from tests.firmware.bench import Nvs, PowerCut, Supply, enrolled, settings_of
from tests.firmware.judge import ADDRESS, NODE_ID

# erased entries -> what load() says, or None if the node works
ERASED = (
    ((), None),
    (("counter",), "no counter beside it"),
    (("epoch",), "no epoch beside it"),
    (("epoch", "counter"), "no epoch beside it"),
    (("key",), "no key in NVS"),
    (("key", "epoch"), "no key in NVS"),
    (("key", "counter"), "no key in NVS"),
    (("key", "epoch", "counter"), "no key in NVS"),
    (("key", "epoch", "counter", "seq", "boot", "address", "id"), "no key in NVS"),
    (("address",), "no address"),
    (("seq",), None),  # the journal's end will not agree with it: archive closes the epoch
    (("boot",), None),
    (("closed",), None),
    (("id",), None),
)


def refusal(call):
    """What a call says that it refuses with; None if it does not."""
    try:
        call()
    except (NotEnrolled, SettingsError) as error:
        return str(error)
    return None


def what_is_erased_decides_whether_the_node_is_enrolled():
    for names, wanted in ERASED:
        nvs = enrolled()
        nvs.set_i32("boot", 1)
        for name in names:
            nvs.entries.pop(name, None)
        said = refusal(lambda nvs=nvs: settings_of(nvs))
        if wanted is None:
            assert said is None, (names, said)
        else:
            assert wanted in said, (names, said)
            assert "lamppost enrol" in said, said


def a_key_without_its_counter_is_destroyed():
    for missing in ("counter", "epoch"):
        nvs = enrolled()
        del nvs.entries[missing]
        for wanted in ("destroyed", "no key"):
            assert wanted in refusal(lambda nvs=nvs: settings_of(nvs))
        assert "key" not in nvs.entries


def a_counter_is_in_nvs_before_it_is_used():
    nvs = enrolled()
    settings = settings_of(nvs)
    for wanted in range(3 * COUNTER_BLOCK):
        counter = settings.take_counter()
        assert counter == wanted < nvs.entries["counter"]
    assert nvs.entries["counter"] == 3 * COUNTER_BLOCK


def after_a_power_loss_counters_go_on_at_the_end_of_the_block():
    nvs = enrolled()
    settings = settings_of(nvs)
    assert [settings.take_counter() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert settings_of(nvs).take_counter() == COUNTER_BLOCK


def a_cut_at_any_write_repeats_no_number():
    for cut_at in range(1, 12):
        supply = Supply()
        nvs = enrolled(supply)
        used = []
        supply.cut_after(cut_at)
        try:
            settings = settings_of(nvs)
            for _ in range(20):
                used.append(("seq", settings.take_seq()))
                used.append(("counter", settings.take_counter()))
        except PowerCut:
            supply.restore()
        settings = settings_of(nvs)
        for _ in range(20):
            used.append(("seq", settings.take_seq()))
            used.append(("counter", settings.take_counter()))
        assert len(set(used)) == len(used), cut_at


def counters_past_the_31st_bit_are_kept_as_u32():
    nvs = enrolled()
    nvs.entries["counter"] = -(1 << 31)
    settings = settings_of(nvs)
    assert settings.take_counter() == 1 << 31
    assert settings_of(nvs).take_counter() == (1 << 31) + COUNTER_BLOCK


def used_up_counters_stop_the_node_and_do_not_wrap():
    nvs = enrolled()
    nvs.entries["counter"] = -10
    assert "enrol" in refusal(settings_of(nvs).take_counter)


def a_refused_write_stops_the_number():
    class Worn(Nvs):
        def set_i32(self, name, value):
            raise OSError(5)

    nvs = Worn(Supply())
    nvs.entries = enrolled().entries
    for take in ("take_counter", "take_seq"):
        assert "worn" in refusal(getattr(settings_of(nvs), take))


def an_enrolment_cut_anywhere_leaves_a_node_that_asks_again_or_is_whole():
    for renewed in (False, True):
        for cut_at in range(1, 30):
            supply = Supply()
            nvs = enrolled(supply) if renewed else Nvs(supply)
            supply.cut_after(cut_at)
            try:
                enrol(nvs, key=b"\x01" * 32, address=ADDRESS, node_id=NODE_ID, epoch=7)
            except PowerCut:
                pass
            supply.restore()
            try:
                settings = settings_of(nvs)
                whole = (b"\x01" * 32, 7)
                before = (b"\x07" * 32, 1)
                assert (settings.key, settings.epoch) in (whole, before), (cut_at, settings.epoch)
            except NotEnrolled:
                pass


def a_new_enrolment_of_the_same_node_never_goes_back_in_epochs():
    nvs = enrolled(epoch=9)
    settings = settings_of(nvs)
    settings.take_seq()
    counter = settings.take_counter()
    assert enrol(nvs, key=b"\x01" * 32, address=ADDRESS, node_id=NODE_ID, epoch=3) == 10
    settings = settings_of(nvs)
    assert (settings.epoch, settings.next_seq, settings.untold()) == (10, 0, [(9, 1, False)])
    assert settings.take_counter() > counter
    assert enrol(nvs, key=b"\x02" * 32, address=1, node_id="urn:another", epoch=3) == 3
    assert settings_of(nvs).untold() == []


def closed_epochs_outlive_a_restart_until_they_are_told():
    nvs = enrolled()
    settings = settings_of(nvs)
    close(settings, 3, 100, is_known=False)
    close(settings, 2, 50, is_known=True)
    close(settings, 3, 7, is_known=True)  # closed already
    assert settings_of(nvs).untold() == [(2, 50, True), (3, 100, False)]
    settings_of(nvs).mark_told([2])
    settings = settings_of(nvs)
    assert settings.untold() == [(3, 100, False)]
    assert settings.closed_end(2) == 50
    assert settings.closed_end(4) is None


def the_list_of_closed_epochs_drops_told_ones_first():
    settings = settings_of(enrolled())
    for epoch in range(1, MAX_CLOSED + 1):
        close(settings, epoch, epoch, is_known=True)
    settings.mark_told([5])
    close(settings, 100, 1, is_known=True)
    assert settings.closed_end(5) is None
    assert settings.closed_end(1) == 1
    assert len(settings.closed) == MAX_CLOSED


def constructing_settings_touches_nothing():
    Settings(None)
