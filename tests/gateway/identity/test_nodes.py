"""Node files: what is read, what is refused by name, and when the folder is read again."""

import json
import logging
import os

import pytest

from gateway.identity.nodes import Nodes
from tests.gateway.link_node import LinkNode


def loaded(tmp_path):
    nodes = Nodes(tmp_path / "nodes")
    nodes.load()
    return nodes


def test_a_node_is_found_by_its_address(tmp_path):
    LinkNode(1).enrol(tmp_path, alias="lamp-1")
    nodes = loaded(tmp_path)
    (node,) = nodes.candidates(0x1001)
    assert (node.id, node.alias, node.epoch, node.root_key) == (LinkNode(1).id, "lamp-1", 1, bytes([1]) * 32)
    assert nodes.names == {LinkNode(1).id, "lamp-1"}


def test_a_number_is_an_address_too(tmp_path):
    LinkNode(1).enrol(tmp_path, address=4097)
    assert loaded(tmp_path).candidates(0x1001)


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"id": ""}, '"id"'),
        ({"id": 7}, '"id"'),
        ({"address": "10"}, '"address"'),
        ({"address": 65536}, '"address"'),
        ({"address": True}, '"address"'),
        ({"address": "zzzz"}, '"address"'),
        ({"root_key_hex": "00" * 16}, '"root_key_hex"'),
        ({"root_key_hex": "zz" * 32}, '"root_key_hex"'),
        ({"root_key_hex": None}, '"root_key_hex"'),
        ({"epoch": 0}, '"epoch"'),
        ({"epoch": 2**32}, '"epoch"'),
        ({"epoch": "1"}, '"epoch"'),
    ],
)
def test_a_wrong_file_is_named_with_its_key_and_the_others_are_read(tmp_path, changes, word):
    path = LinkNode(1).enrol(tmp_path, **changes)
    LinkNode(2).enrol(tmp_path)
    nodes = loaded(tmp_path)
    assert len(nodes.by_id) == 1
    assert word in nodes.problems[0]
    assert str(path) in nodes.problems[0]


def test_a_key_that_others_can_read_is_not_used(tmp_path):
    LinkNode(1).enrol(tmp_path).chmod(0o640)
    nodes = loaded(tmp_path)
    assert nodes.by_id == {}
    assert "chmod 600" in nodes.problems[0]


def test_garbage_is_a_problem_and_no_crash(tmp_path):
    path = LinkNode(1).enrol(tmp_path)
    for content in (b"", b"[]", b"{", b"\xff\xfe", b'"text"', b"[" * 100_000):
        path.write_bytes(content)
        assert len(loaded(tmp_path).problems) == 1


def test_two_files_of_one_node_are_a_problem(tmp_path):
    path = LinkNode(1).enrol(tmp_path)
    copy = path.with_name("copy.json")
    copy.write_text(path.read_text())
    copy.chmod(0o600)
    assert "already" in loaded(tmp_path).problems[0]


def test_a_file_that_comes_later_is_found_when_its_address_is_asked_for(tmp_path):
    LinkNode(1).enrol(tmp_path)
    nodes = loaded(tmp_path)
    assert nodes.candidates(0x1002) == []
    LinkNode(2).enrol(tmp_path)
    os.utime(tmp_path / "nodes", ns=(1, 1))  # a coarse file system clock must not matter here
    assert len(nodes.candidates(0x1002)) == 1


def test_a_removed_file_is_forgotten_on_reload(tmp_path):
    path = LinkNode(1).enrol(tmp_path)
    nodes = loaded(tmp_path)
    path.unlink()
    nodes.load()
    assert nodes.candidates(0x1001) == []


def test_without_a_folder_nobody_is_enrolled(tmp_path):
    assert loaded(tmp_path).candidates(1) == []


def test_no_key_enters_a_message(tmp_path, caplog):
    with caplog.at_level(logging.DEBUG):
        path = LinkNode(1).enrol(tmp_path, epoch=0)
        nodes = loaded(tmp_path)
    key = json.loads(path.read_text())["root_key_hex"]
    LinkNode(1).enrol(tmp_path)
    assert key not in caplog.text + repr(nodes.problems) + repr(loaded(tmp_path).by_id)
