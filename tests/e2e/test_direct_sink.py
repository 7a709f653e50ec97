"""A webhook that counts: three real nodes have it, one tells it, and if that one dies another does."""

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from demesh.identity import new_swarm_key, write_secret
from tests.e2e.harness import NodeProcess, WebServer, eventually

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

_CONFIG = """
[node]
flush_interval = "2s"
[mesh]
peers = [{peers}]
[[notify]]
url = "{hook}/told"
token_file = "token"
[defaults]
interval = "2s"
timeout = "1s"
retry_interval = "1s"
[[check]]
name = "shop"
target = "{target}/shop"
"""


class _Hook(WebServer):
    """Every node shows a token of its own, its name. Who comes first is left without an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.first: str | None = None
        self.end = threading.Event()
        self.told: list[tuple[str, str, str]] = []
        """Which node told it, of what, and whether that fires or is resolved."""

    def take(self, document: Any, bearer: str) -> bool:
        if self.first is None:
            self.first = bearer
            self.end.wait(120)
            return False
        alerts = [(each["labels"]["alertname"].removeprefix("Demesh"), each["status"]) for each in document["alerts"]]
        self.told += [(bearer, *each) for each in alerts]
        return True

    def told_of(self, name: str, status: str = "firing") -> list[str]:
        return [node for node, *what in self.told if what == [name, status]]


def test_if_the_node_that_would_notify_dies_another_does_and_once(tmp_path: Path) -> None:
    swarm_key = tmp_path / "swarm.key"
    write_secret(swarm_key, new_swarm_key().text())
    with WebServer() as shop, _Hook() as hook, ExitStack() as running:
        running.callback(hook.end.set)
        nodes = {name: NodeProcess(tmp_path / name, name, swarm_key=swarm_key) for name in ("fra", "nyc", "lab")}
        for node in nodes.values():
            peers = ", ".join(f'"{other.swarm}"' for other in nodes.values() if other is not node)
            (node.home / "demesh.toml").write_text(_CONFIG.format(peers=peers, hook=hook.url, target=shop.url))
            (node.home / "token").write_text(node.name)
            (node.home / "token").chmod(0o600)
            running.enter_context(node)
            node.start()
        for node in nodes.values():
            node.wait_ready()
            eventually(lambda node=node: _passes(node), lambda passes: passes == 3, 40, f"all up at {node.name}")

        shop.status = 503
        first = eventually(lambda: hook.first, lambda name: name is not None, 60, "somebody begins to tell")
        assert first is not None
        nodes[first].kill()
        hook.end.set()
        eventually(lambda: hook.told_of("CheckDown"), bool, 90, "another one tells it")
        eventually(lambda: hook.told_of("NodeSilent"), bool, 60, "and that the first is dead")
        assert len(hook.told_of("CheckDown")) == 1
        assert hook.told_of("CheckDown") != [first]

        shop.status = 200
        eventually(lambda: hook.told_of("CheckDown", "resolved"), bool, 60, "it is over")
        nodes[first].start()
        eventually(lambda: hook.told_of("NodeSilent", "resolved"), bool, 60, "it is back")
        assert [
            len(hook.told_of(name, status)) for name in ("CheckDown", "NodeSilent") for status in ("firing", "resolved")
        ] == [
            1,
            1,
            1,
            1,
        ]


def _passes(node: NodeProcess) -> int:
    (check,) = node.status()["checks"]
    return sum(each["vote"] == "pass" for each in check["vantages"])
