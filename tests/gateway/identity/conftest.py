from pathlib import Path

import pytest

from tests.gateway.joining import Site


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def data_dir(tmp_path: Path, site: Site) -> Path:
    """Of a gateway that the site endorsed."""
    site.endorse(tmp_path)
    return tmp_path
