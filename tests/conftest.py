"""Fixtures that several rooms share."""

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.certificates import Authority, make_authority
from tests.cluster import Mesh
from tests.in_memory import directory_in_memory

# The machine may be busy. In CI one and the same commit is judged by the same examples; elsewhere they are new each time.
settings.register_profile("demesh", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("demesh")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what is to run in the background, and so would the programs be started that are to end by SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def mesh() -> Generator[Mesh]:
    """Whole nodes on virtual time; what one writes itself would wait for the disk."""
    with directory_in_memory() as place:
        yield Mesh(place)
