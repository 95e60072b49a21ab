"""The embedded broker: both versions on one router, and no process left behind."""

import os
import signal
import socket
import subprocess
import sys
import time

import aiomqtt
import pytest

from lamppost.broker import Broker, BrokerError


async def test_message_of_either_version_reaches_the_other(iotcore_broker: Broker) -> None:
    ports = {aiomqtt.ProtocolVersion.V5: iotcore_broker.port, aiomqtt.ProtocolVersion.V311: iotcore_broker.port_v311}
    for here, there in (tuple(ports), tuple(ports)[::-1]):
        async with aiomqtt.Client("127.0.0.1", ports[here], protocol=here) as listener:
            await listener.subscribe("versions/#", qos=1)
            async with aiomqtt.Client("127.0.0.1", ports[there], protocol=there) as sender:
                await sender.publish("versions/x", b"hello", qos=1)
            assert (await anext(listener.messages)).payload == b"hello"


def test_broker_frees_its_ports_when_it_ends() -> None:
    with Broker() as broker:
        assert _is_open(broker.port)
        assert _is_open(broker.port_v311)
    assert not _is_open(broker.port)


def test_broker_dies_with_a_killed_parent() -> None:
    script = (
        "import time\nfrom lamppost.broker import Broker\nwith Broker() as b: print(b.port, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    give_up_s = time.monotonic() + 5
    while _is_open(port):
        assert time.monotonic() < give_up_s, "the broker outlives its parent"
        time.sleep(0.02)


def test_broker_that_does_not_start_says_so() -> None:
    with pytest.raises(BrokerError, match="did not start"), Broker(start_s=0):
        pass


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
