"""What the tests of this room share: a swarm of their own, or a node that watches something and that several of them ask."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.harness import NodeProcess, WebServer
from tests.interop.swarm import Swarm, new_swarm

_CHECK = """
[[check]]
name = "web"
target = "{url}/health?deep=1"
interval = "1s"
timeout = "500ms"
retry_interval = "1s"
expect = {{ status = 200, body = "Welcome" }}
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """A node that checks a web server every second."""

    swarm: Swarm
    node: NodeProcess
    url: str


@pytest.fixture
def swarm(tmp_path: Path) -> Swarm:
    return new_swarm(tmp_path)


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Generator[Watched]:
    swarm = new_swarm(tmp_path_factory.mktemp("watched"))
    with WebServer() as web, swarm.node("watcher", checks=_CHECK.format(url=web.url)) as node:
        node.start()
        node.wait_ready()
        yield Watched(swarm, node, web.url)
