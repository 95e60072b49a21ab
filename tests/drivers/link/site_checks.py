"""What a node does with what the site signed; runs on CPython and MicroPython, with objects made by `cryptography`.

Each check takes the objects as hex by name, as tests/drivers/link/test_site.py makes them.
"""

from drivers.link.edhoc import EdhocError
from drivers.link.site import Trust, trust_from


def refused(call, *args):
    """The reason of the EdhocError, None if there was none."""
    try:
        call(*args)
    except EdhocError as error:
        return error.reason
    return None


def trust(objects, *names):
    made = Trust(bytes.fromhex(objects["site_key"]))
    for name in names:
        made.take(bytes.fromhex(objects[name]))
    return made


def check_an_entry_makes_a_gateway_known(objects):
    made = trust(objects)
    public = bytes.fromhex(objects["one_key"])
    assert made.take(bytes.fromhex(objects["one"])) == public
    assert made.candidates(bytes.fromhex(objects["one_kid"])) == [public]
    assert made.candidates(bytes.fromhex(objects["two_kid"])) == []


def check_only_the_site_is_believed(objects):
    made = trust(objects)
    assert refused(made.take, bytes.fromhex(objects["foreign"])) == "bad_signature"
    for at in (2, 5, 40, -65, -1):
        changed = bytearray(bytes.fromhex(objects["one"]))
        changed[at] ^= 1
        assert refused(made.take, bytes(changed)) in ("bad_signature", "malformed")
    assert refused(made.take, b"") == "malformed"
    assert made.known == []


def check_a_revoked_gateway_is_forgotten_and_refused(objects):
    made = trust(objects, "one", "two", "list_2_without_one")
    assert [public for _, public in made.known] == [bytes.fromhex(objects["two_key"])]
    assert refused(made.take, bytes.fromhex(objects["one"])) == "revoked_gateway"
    assert made.take(bytes.fromhex(objects["two"]))


def check_versions_only_rise(objects):
    made = trust(objects, "list_2_without_one")
    assert refused(made.take, bytes.fromhex(objects["list_1"])) == "old_list"
    assert made.is_revoked(bytes.fromhex(objects["one_key"]))
    assert made.version == 2


def check_a_floor_voids_older_entries(objects):
    made = trust(objects, "one", "list_3_from_3")
    assert made.known == []
    assert refused(made.take, bytes.fromhex(objects["one"])) == "revoked_gateway"
    assert made.take(bytes.fromhex(objects["one_again_3"]))


def check_the_key_rolls_over(objects):
    made = trust(objects, "one", "key_2")
    assert made.generation == 2
    assert refused(made.take, bytes.fromhex(objects["two"])) == "bad_signature"  # of the key before
    assert made.take(bytes.fromhex(objects["two_by_key_2"]))
    assert refused(made.take, bytes.fromhex(objects["key_2"])) == "bad_signature"
    assert len(made.known) == 2


def check_it_is_the_same_after_a_restart(objects):
    for names in ((), ("one",), ("one", "two", "list_2_without_one"), ("key_2",)):
        made = trust(objects, *names)
        again = trust_from(made.to_bytes())
        assert again.to_bytes() == made.to_bytes()
        assert (again.version, again.floor, again.known) == (made.version, made.floor, made.known)
    for broken in (b"", bytes(38), bytes(38) + b"\x05", bytes(39) + b"x"):
        try:
            trust_from(broken)
        except ValueError:
            continue
        raise AssertionError(broken)


CHECKS = [value for name, value in sorted(globals().items()) if name.startswith("check_")]
