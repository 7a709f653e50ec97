from pathlib import Path

import pytest

from tests.deploy.scripted import Swarm


@pytest.fixture
def swarm(tmp_path: Path) -> Swarm:
    return Swarm(tmp_path)
