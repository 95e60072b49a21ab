import pytest

from tests.gateway.mqtt.listening import Stored


@pytest.fixture
def stored():
    return Stored()
