import pytest

from tests.gateway.cores import running_core


@pytest.fixture
async def core(tmp_path):
    async with running_core(tmp_path) as core:
        yield core
