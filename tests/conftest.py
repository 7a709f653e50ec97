"""Fixtures that several rooms share."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests.certificates import Authority, make_authority
from tests.cluster import Mesh

settings.register_profile("demesh", deadline=None)  # the machine may be busy
settings.load_profile("demesh")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    """Whole nodes on virtual time."""
    return Mesh(tmp_path)
