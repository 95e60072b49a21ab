"""What goes onto a node."""

from provisioning.payload import node_files


def test_a_node_gets_compiled_modules_and_nothing_for_cpython() -> None:
    files = node_files()
    assert {"/boot.py", "/main.py", "/lib/drivers/radio/sx126x_transceiver.mpy", "/lib/firmware/journal.mpy"} <= set(
        files
    )
    assert not [path for path in files if "bus/" in path]
    assert all(content[:2] == b"M\x06" for path, content in files.items() if path.endswith(".mpy"))  # mpy version 6
    assert [path for path in files if path.endswith(".py")] == ["/boot.py", "/main.py"]


def test_the_payload_is_the_same_each_time() -> None:
    assert node_files() == node_files()
