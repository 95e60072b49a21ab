"""Fixtures every test may use; each real peer is a plugin of its own."""

import importlib.util
import os

import pytest
from hypothesis import HealthCheck, settings

from tests.conformance import refuted, requirements

_PEERS = ("tests.peers.mosquitto", "tests.peers.street")
pytest_plugins = [name for name in _PEERS if importlib.util.find_spec(name)]

# How long an example takes says something about the machine, nothing about the code. CI sees the same ones each time.
settings.register_profile(
    "lamppost",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    derandomize=os.environ.get("CI") == "true",
)
settings.load_profile("lamppost")


class _Claims:
    """Fails a run in which a test failed, or in CI was skipped, that the requirement register leans on."""

    def __init__(self) -> None:
        self.outcomes: dict[str, set[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes.setdefault(report.nodeid.partition("[")[0], set()).add(report.outcome)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        told = refuted(requirements(), self.outcomes, is_ci=os.environ.get("CI") == "true")
        if told and not hasattr(session.config, "workerinput"):
            print("\n" + "\n".join(f"REFUTED  {one}" for one in told))
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Claims(), "requirement-claims")
