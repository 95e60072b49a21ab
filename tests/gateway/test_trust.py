"""A running gateway with a registry: who is heard and who is not, over real TLS and real files, across restarts."""

from __future__ import annotations

import io
import json
import ssl
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt import client as paho
from paho.mqtt import publish
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gateway.status import read_status
from lamppost.cli import main
from provisioning.enrol import enrol
from tests.gateway.agent import Agent
from tests.gateway.registry.sites import Person
from tests.gateway.sealed_node import SealedNode
from tests.peers.certificates import Ca, Pair
from tests.provisioning.test_authority import Office

pytestmark = pytest.mark.timeout(120)
SENML = json.dumps([{"n": "temperature", "u": "Cel", "v": 21.5}])
HUMIDITY = json.dumps([{"n": "humidity", "u": "%RH", "v": 50}, {"n": "temperature", "u": "Cel", "v": 21.5}])


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def lamppost(*words: object) -> Done:
    """A command of the operator; the gateways are processes of their own."""
    said, complained = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(complained):
        code = main(list(map(str, words)))
    return Done(code, said.getvalue(), complained.getvalue())


class Cabinet:
    """A gateway that may run, and its registry."""

    def __init__(self, folder: Path, office: Office, name: str, text: str) -> None:
        self.agent = Agent(folder / name, text)
        self.office, self.name = office, name
        self.store = self.agent.data_dir / "registry"
        request, anchor = folder / f"{name}.request", folder / "anchor.cbor"
        assert office.do("export", "--anchor", str(anchor)) == 0
        words = ["--store", self.store, "--anchor", anchor, "--gateway", name, "--request", request]
        done = lamppost("registry", "init", *words)
        assert done.returncode == 0, done.stderr
        assert office.do("issue", "--gateway", str(request)) == 0
        self.follow()

    def follow(self) -> None:
        """Bring what the authority has, by file."""
        bundle = self.office.folder / f"to-{self.name}.bundle"
        assert self.office.do("export", "--out", str(bundle)) == 0
        self.sync(bundle)

    def sync(self, bundle: Path, *, code: int = 0) -> dict[str, Any]:
        done = lamppost("registry", "sync", "--store", self.store, "--import", bundle, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)[0]
        return found

    def audit(self) -> str:
        """What the audit log says so far."""
        return lamppost("audit", "show", "--data-dir", self.agent.data_dir).stdout

    def export(self) -> Path:
        bundle = self.office.folder / f"from-{self.name}.bundle"
        done = lamppost("registry", "sync", "--store", self.store, "--export", bundle)
        assert done.returncode == 0, done.stderr
        return bundle

    def counter(self, name: str) -> int:
        status = read_status(self.agent.data_dir)
        return int(status.content.get("counters", {}).get(name, 0)) if status else 0

    def wait_for(self, counter: str, count: int) -> None:
        self.agent.wait_until(lambda: self.counter(counter) >= count, deadline_s=30)


class NoRecovery(Office):
    """An authority of site "test", which is that of the agents."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "--site", "test")


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return NoRecovery(tmp_path)


def listening(port: int) -> str:
    return f'[southbound.mqtt]\nlisten = "mqtt://127.0.0.1:{port}"\n[edge]\nwindow_s = 0\n'


@pytest.fixture
def port(unused_tcp_port_factory: Any) -> int:
    return int(unused_tcp_port_factory())


def send_frame(port: int, enrolment: Any, frame: bytes) -> None:
    publish.single(f"n/{enrolment.address}/up", frame, qos=1, hostname="127.0.0.1", port=port)


def test_node_revoked_at_the_first_is_refused_at_the_second_after_its_restart(
    tmp_path: Path, office: Office, port: int, unused_tcp_port_factory: Any
) -> None:
    ports = port, int(unused_tcp_port_factory())
    one, two = (
        Cabinet(tmp_path, office, name, listening(at)) for name, at in zip(("gw-1", "gw-2"), ports, strict=True)
    )
    enrolment = enrol(two.agent.data_dir, alias="lamp-1")
    node = SealedNode(enrolment)
    assert office.do("issue", "--node", str(enrolment.gateway_file)) == 0
    for cabinet in (one, two):
        cabinet.follow()
    with one.agent, two.agent:
        send_frame(ports[1], enrolment, node.report())
        assert two.counter("refused_revoked") == 0
        two.agent.wait_until(lambda: two.agent.data_dir.joinpath("status.json").exists())
        assert office.do("revoke", enrolment.id) == 0
        one.follow()  # the first gateway hears it from the authority ...
        assert two.sync(one.export())["taken"] == 1  # ... the second from the first, by a stick, while it runs
        send_frame(ports[1], enrolment, node.report())
        two.wait_for("refused_revoked", 1)
        two.agent.kill()  # what the command was told of is in the audit log already
        two.agent.start()
        send_frame(ports[1], enrolment, node.report())
        two.wait_for("refused_revoked", 1)
        assert two.agent.stop() == 0
        shown = two.audit()
        assert f"refused revoked  {enrolment.id}" in shown
        assert f"session  {enrolment.id}  epoch 1" in shown
        assert f"registry revoke  {enrolment.id}" in shown
        assert lamppost("audit", "verify", "--data-dir", two.agent.data_dir).returncode == 0


def test_site_without_a_registry_works_as_before(tmp_path: Path, port: int) -> None:
    with Agent(tmp_path, listening(port)) as agent:
        enrolment = enrol(agent.data_dir, alias="lamp-1")
        send_frame(port, enrolment, SealedNode(enrolment).report())
        publish.single("up/meter-1/senml", SENML, qos=1, hostname="127.0.0.1", port=port)
        assert agent.stop() == 0
    assert not (agent.data_dir / "registry").exists()


def test_policy_denies_by_default_and_lets_through_what_it_names(tmp_path: Path, office: Office, port: int) -> None:
    cabinet = Cabinet(tmp_path, office, "gw-1", listening(port))
    policy = tmp_path / "policy.toml"
    rule = '[[rule]]\nzones = ["north"]\nmethods = ["none"]\njoin = true\nreport = ["temperature"]\n'
    policy.write_text("version = 1\n" + rule)
    assert office.do("policy", str(policy)) == 0
    for label, zone in (("meter-1", "north"), ("meter-2", "south")):
        office.enrol(Person(), "--label", label, "--zone", zone)
    with cabinet.agent:
        cabinet.follow()
        for device, payload in (("meter-1", HUMIDITY), ("meter-2", SENML), ("meter-3", SENML)):
            publish.single(f"up/{device}/senml", payload, qos=1, hostname="127.0.0.1", port=port)
        cabinet.wait_for("refused_quantities", 1)
        cabinet.wait_for("refused_senml_not_permitted", 1)
        cabinet.wait_for("refused_senml_not_enrolled", 1)
        assert cabinet.agent.stop() == 0


@pytest.fixture
def cas(tmp_path: Path) -> tuple[Ca, Ca]:
    return Ca(tmp_path, "city"), Ca(tmp_path, "stranger")


def test_certificates_are_admitted_or_refused_by_name(
    tmp_path: Path, office: Office, port: int, cas: tuple[Ca, Ca]
) -> None:
    """Wrong authority, wrong name, expired, none, unknown key, revoked: each refused; the right one is heard."""
    city, stranger = cas
    own = city.issue("localhost")
    text = (
        f'[southbound.mqtt]\nlisten = "mqtts://127.0.0.1:{port}"\ncert_file = "{own.cert}"\nkey_file = "{own.key}"\n'
        f'client_ca_file = "{city.cert}"\n[edge]\nwindow_s = 0\n'
    )
    key = ec.generate_private_key(ec.SECP256R1())
    good = city.issue("meter-1", key=key)
    cabinet = Cabinet(tmp_path, office, "gw-1", text)
    policy = tmp_path / "policy.toml"
    policy.write_text('version = 1\n[[rule]]\nmethods = ["mtls"]\njoin = true\nreport = ["*"]\n')
    assert office.do("policy", str(policy)) == 0
    assert office.do("issue", "--certificate", str(good.cert), "--label", "meter-1") == 0
    cabinet.follow()
    with cabinet.agent:
        connect = Connector(port, city.cert)
        assert connect(good, "meter-1") == "acknowledged"
        assert connect(good, "meter-2") == "refused 135"  # it may speak for itself alone
        assert connect(city.issue("meter-2", key=key), "meter-2") == "refused 135"  # the key is meter-1's
        assert connect(city.issue("meter-1"), "meter-1") == "refused 135"  # the name is right, the key is not
        assert connect(stranger.issue("meter-1", key=key), "meter-1") == "no TLS"
        assert connect(city.issue("meter-1", key=key, days=(-9, -1)), "meter-1") == "refused 135"  # by our own clock
        assert connect(None, "meter-1") == "no TLS"
        assert office.do("revoke", "label:meter-1") == 0
        cabinet.follow()
        assert connect(good, "meter-1") == "refused 135"
        cabinet.wait_for("mqtt_refused_certificate_revoked", 1)
        cabinet.wait_for("mqtt_refused_certificate_name", 1)
        cabinet.wait_for("mqtt_refused_certificate_not_enrolled", 1)
        cabinet.wait_for("mqtt_refused_device", 1)


class Connector:
    """Connects with a certificate and publishes one message as `device`; says in a word what came of it."""

    def __init__(self, port: int, ca: Path) -> None:
        self._port, self._ca = port, ca

    def __call__(self, pair: Pair | None, device: str) -> str:
        context = ssl.create_default_context(cafile=str(self._ca))
        context.check_hostname = False
        if pair is not None:
            context.load_cert_chain(pair.cert, pair.key)
        found: list[str] = []
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.tls_set_context(context)
        client.on_connect = lambda *args: self._on_connect(client, args[3], device, found)
        client.on_publish = lambda *args: found.append(
            "acknowledged" if args[3].value < 0x80 else f"refused {args[3].value}"
        )
        client.on_disconnect = lambda *args: found.append("no TLS")
        try:
            client.connect("127.0.0.1", self._port)
        except (ssl.SSLError, OSError):
            return "no TLS"
        for _ in range(600):
            if found or client.loop(0.05) not in (0, None):
                break
        client.disconnect()
        return found[0] if found else "no TLS"

    def _on_connect(self, client: paho.Client, reason: Any, device: str, found: list[str]) -> None:
        if reason.value >= 0x80:
            found.append(f"refused {reason.value}")
        else:
            client.publish(f"up/{device}/senml", SENML, qos=1)


def test_downgrade_to_a_password_is_refused(tmp_path: Path, office: Office, port: int) -> None:
    access = tmp_path / "access"
    done = subprocess.run(
        [sys.executable, "-m", "lamppost.cli", "gateway", "password", "meter-1"],
        input="secret\n",
        capture_output=True,
        text=True,
        check=True,
    )
    access.write_text(done.stdout)
    text = listening(port).replace("[edge]", f'access_file = "{access}"\n[edge]')
    cabinet = Cabinet(tmp_path, office, "gw-1", text)
    policy = tmp_path / "policy.toml"
    policy.write_text('version = 1\n[[rule]]\nmethods = ["mtls"]\njoin = true\nreport = ["*"]\n')
    assert office.do("policy", str(policy)) == 0
    office.enrol(Person(), "--label", "meter-1")
    cabinet.follow()
    with cabinet.agent:
        auth = {"username": "meter-1", "password": "secret"}
        publish.single("up/meter-1/senml", SENML, qos=1, hostname="127.0.0.1", port=port, auth=auth)  # type: ignore[arg-type]
        cabinet.wait_for("refused_senml_downgrade", 1)


def changes_everywhere(office: Office, cabinets: list[Cabinet], folder: Path, count: int) -> None:
    """`count` changes at the authority, and as many suspensions at each gateway, which nobody else hears of."""
    nodes = [Person() for _ in range(count)]
    batch = folder / "batch.jsonl"
    rows = ({"public_key": one.point.hex(), "label": f"lamp-{at}"} for at, one in enumerate(nodes))
    batch.write_text("\n".join(map(json.dumps, rows)))
    assert office.do("issue", "--batch", str(batch)) == 0
    for at, cabinet in enumerate(cabinets):
        names = folder / f"names-{at}"
        names.write_text("\n".join(one.id for one in nodes[at::2] * 2))
        done = lamppost("registry", "suspend", "--store", cabinet.store, "--file", names, "--reason", "lost")
        assert done.returncode == 0, done.stderr


def heal(office: Office, cabinets: list[Cabinet], folder: Path) -> None:
    """Everybody's log to everybody, by sticks."""
    for cabinet in cabinets:
        bundle = cabinet.export()
        assert lamppost("registry", "sync", "--store", office.home / "registry", "--import", bundle).returncode == 0
    for cabinet in cabinets:
        cabinet.follow()


def belief(store: Path) -> tuple[str, dict[str, Any]]:
    shown = json.loads(lamppost("registry", "show", "--store", store, "--json").stdout)
    assert shown["problems"] == []
    return shown["state_digest"], shown["heads"]


@pytest.mark.parametrize(
    "count", [30, pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.timeout(900)])], ids=["short", "thousand"]
)
def test_partitioned_gateways_agree_once_healed(
    tmp_path: Path, office: Office, port: int, unused_tcp_port_factory: Any, count: int
) -> None:
    """So many changes at the authority and at each of two running gateways, none of which the others hear of."""
    ports = port, int(unused_tcp_port_factory())
    cabinets = [
        Cabinet(tmp_path, office, name, listening(at)) for name, at in zip(("gw-1", "gw-2"), ports, strict=True)
    ]
    for cabinet in cabinets:
        cabinet.follow()
    with cabinets[0].agent, cabinets[1].agent:
        changes_everywhere(office, cabinets, tmp_path, count)
        stores = [office.home / "registry", *(one.store for one in cabinets)]
        assert len({belief(store)[0] for store in stores}) == 3  # they differ while they are apart
        heal(office, cabinets, tmp_path)
        agreed = belief(stores[0])
        assert [belief(store) for store in stores[1:]] == [agreed, agreed]
        assert {writer: head["entries"] for writer, head in agreed[1].items()} == {
            "test/authority": 3 + count,
            "test/gw-1": count,
            "test/gw-2": count,
        }
        for cabinet in cabinets:
            cabinet.agent.kill()
            cabinet.agent.start()
        assert [belief(store) for store in stores[1:]] == [agreed, agreed]


def test_other_site_in_gateway_toml_is_named(tmp_path: Path, port: int) -> None:
    (tmp_path / "town").mkdir()
    office = Office(tmp_path / "town")
    cabinet = Cabinet(tmp_path, office, "gw-1", listening(port))
    command = [sys.executable, "-m", "lamppost.cli", "gateway", "run", "--config", str(cabinet.agent.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert 'gateway.site = "test": is not oslo' in done.stderr
