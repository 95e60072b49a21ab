"""Real brokers for tests: mosquitto from the system, iotcore from its wheel, and a relay that breaks the way to them.

Nothing is installed here: `make test` does that (tools/peers). A missing mosquitto skips with the package to install,
and fails where CI=true, because a test that silently did not run proves nothing.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from lamppost.broker import Broker, free_ports
from lamppost.relay import Relay

_PLACES = "/usr/sbin:/usr/local/sbin"  # Debian puts the broker where a user's PATH does not look


def program(name: str, package: str) -> str:
    """The path of a system program. Without it the test is skipped loudly, and fails in CI."""
    found = shutil.which(name) or shutil.which(name, path=_PLACES)
    if found is None:
        message = f"{name} is missing: apt-get install {package} (make test does it)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


def wait_for_port(port: int, *, deadline_s: float, on_failure: Path) -> None:
    """Return once something accepts connections on a loopback port; else fail with what `on_failure` holds."""
    give_up_s = time.monotonic() + deadline_s
    while time.monotonic() < give_up_s:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    pytest.fail(f"nothing listens on port {port} after {deadline_s} s:\n{on_failure.read_text()}")


class Mosquitto:
    """A mosquitto of its own configuration. Listening after start(), gone after stop().

    lines      configuration beside the listener, e.g. ["max_queued_messages 0"]
    passwords  users and their passwords; with any, anonymous clients are refused
    acl        lines of an access list file
    """

    def __init__(
        self, folder: Path, *, lines: list[str], passwords: dict[str, str] | None = None, acl: list[str] | None = None
    ) -> None:
        self._program = program("mosquitto", "mosquitto")
        self.port = free_ports(1)[0]
        self.log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        # As root it drops to user mosquitto, and then cannot read or write these files, in silence.
        settings = [f"listener {self.port} 127.0.0.1", "log_type all", "connection_messages true"]
        settings += ["user root"] if os.geteuid() == 0 else []
        settings.append(f"allow_anonymous {'false' if passwords else 'true'}")
        if passwords:
            settings.append(f"password_file {self._password_file(folder, passwords)}")
        if acl:
            (folder / "acl").write_text("\n".join(acl) + "\n")
            settings.append(f"acl_file {folder / 'acl'}")
        self._config.write_text("\n".join([*settings, *lines]) + "\n")

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as log:  # a pipe would fill
            self._process = subprocess.Popen([self._program, "-c", str(self._config)], stdout=log, stderr=log)
        wait_for_port(self.port, deadline_s=10, on_failure=self.log)

    def stop(self) -> None:
        """End it as an operator would; it saves what it keeps."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def kill(self) -> None:
        """SIGKILL: it saves nothing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    @staticmethod
    def _password_file(folder: Path, passwords: dict[str, str]) -> Path:
        path = folder / "passwords"
        path.write_text("".join(f"{user}:{password}\n" for user, password in passwords.items()))
        path.chmod(0o600)
        subprocess.run([program("mosquitto_passwd", "mosquitto"), "-U", str(path)], check=True, capture_output=True)
        return path


@pytest.fixture
def mosquitto_factory(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Starts a mosquitto with extra configuration lines; all end with the test."""
    started: list[Mosquitto] = []

    def start(*lines: str, **options: object) -> Mosquitto:
        one = Mosquitto(tmp_path / f"mosquitto-{len(started)}", lines=list(lines), **options)  # type: ignore[arg-type]
        started.append(one)
        one.start()
        return one

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def mosquitto(mosquitto_factory: Callable[..., Mosquitto]) -> Mosquitto:
    """A mosquitto for anybody, ready when yielded, gone when the test ends."""
    return mosquitto_factory()


@pytest.fixture(scope="session")
def iotcore_broker() -> Iterator[Broker]:
    """The embedded broker of the demo: MQTT 5 at .port, 3.1.1 at .port_v311. Shared; it keeps nothing on disk."""
    with Broker() as broker:
        yield broker


@pytest_asyncio.fixture
async def relay_to() -> AsyncIterator[Callable[..., Awaitable[Relay]]]:
    """`await relay_to(port)` puts a Relay before a server; all end with the test."""
    async with AsyncExitStack() as stack:

        async def open_relay(port: int, *, delay_s: float = 0.0) -> Relay:
            return await stack.enter_async_context(Relay(port, delay_s=delay_s))

        yield open_relay
