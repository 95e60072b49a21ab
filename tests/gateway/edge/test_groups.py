"""Groups: made, shown, changed and deleted by command, beside those of the file."""

import json

import pytest

from gateway.config_edge import GroupConfig
from gateway.edge.groups import GroupError, GroupFile, Groups
from lamppost.cli import main
from tests.gateway.link_node import LinkNode

CONFIG = """
[gateway]
id = "gw-1"
site = "test"
data_dir = "{folder}"
[southbound.mqtt]
listen = "mqtt://127.0.0.1:1883"
[[group]]
name = "park"
nodes = ["lamp-1"]
[[edge.window]]
name = "w"
nodes = ["zone:north"]
"""


@pytest.fixture
def run(tmp_path, capsys):
    """Run `lamppost group ...`; gives exit code and what it printed."""
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG.format(folder=tmp_path))

    def command(*words):
        code = main(["group", *words, "--config", str(path)])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return command


def test_a_group_is_created_read_updated_and_deleted(run, tmp_path):
    assert run("create", "south", "--zone", "lamp-2", "lamp-3*")[0] == 0
    assert run("update", "south", "--add", "lamp-9", "--remove", "lamp-2")[0] == 0
    listed = json.loads(run("list", "--json")[1])
    assert listed == [
        {"name": "park", "kind": "group", "nodes": ["lamp-1"], "made_by": "gateway.toml"},
        {"name": "south", "kind": "zone", "nodes": ["lamp-3*", "lamp-9"], "made_by": "command"},
    ]
    assert "zone:south" in run("list")[1]
    assert run("delete", "south")[0] == 0
    assert GroupFile(tmp_path).read() == {}


def test_show_names_the_enrolled_nodes_in_it(run, tmp_path):
    node = LinkNode(1)
    node.enrol(tmp_path)
    run("create", "all", "urn:*")
    assert json.loads(run("show", "all", "--json")[1])["members"] == [node.id]


@pytest.mark.parametrize(
    "words, hint",
    [
        (("create", "park", "x"), "gateway.toml; change it there"),
        (("update", "park", "--add", "x"), "change it there"),
        (("delete", "park"), "change it there"),
        (("delete", "nobody"), "group list shows all"),
        (("show", "nobody"), "group list shows all"),
        (("update", "nobody", "--add", "x"), "group list shows all"),
        (("create", "a b", "x"), 'name = "a b"'),
        (("create", "new", "a b"), 'nodes = "a b"'),
    ],
)
def test_what_cannot_be_is_refused_with_the_next_step(run, words, hint):
    code, printed = run(*words)
    assert code == 1
    assert hint in printed


def test_refusals_that_need_a_group(run):
    run("create", "north", "--zone", "lamp-1")
    assert "edge.window[0] uses zone:north" in run("delete", "north")[1]
    assert "already" in run("create", "north", "x")[1]
    assert "does not stand in" in run("update", "north", "--remove", "x")[1]
    assert "nothing to change" in run("update", "north")[1]


def test_check_names_the_table_that_uses_a_group_nobody_made(run, tmp_path, capsys, unused_tcp_port):
    path = tmp_path / "gateway.toml"
    path.write_text(path.read_text().replace("1883", str(unused_tcp_port)))
    assert main(["gateway", "check", "--config", str(path)]) == 2
    assert "edge.window[0].nodes = 'zone:north': is no group" in capsys.readouterr().out.replace('"', "'")
    run("create", "north", "--zone", "lamp-1")
    assert main(["gateway", "check", "--config", str(path)]) == 0


def test_a_file_that_is_not_ours_is_named(tmp_path):
    (tmp_path / "groups.json").write_text("[{}]")
    with pytest.raises(GroupError, match=r"groups\.json"):
        GroupFile(tmp_path).read()


def test_a_node_is_known_by_id_and_label_and_lies_in_one_zone():
    zones = [GroupConfig(name=name, kind="zone", nodes=("lamp-*",)) for name in ("east", "west")]
    groups = Groups([*zones, GroupConfig(name="g", nodes=("urn:1",))], label_of={"urn:1": "lamp-1"}.get)
    assert groups.of("urn:1", "zone") == ("zone:east",)
    assert groups.of("urn:1", "group") == ("group:g",)
    assert groups.takes(("lamp-1",), "urn:1")
    assert groups.takes(("group:*",), "urn:1")
    assert not groups.takes(("group:*", "urn:2"), "lamp-7")
    assert groups.unknown(("group:g", "zone:south", "lamp-1", "zone:e*")) == ["zone:south"]
