"""The demo's nodes keep to themselves, and run one and the same checks."""

import random
import tomllib
from pathlib import Path
from typing import Any

import pytest

from demesh.config.load import Settings, read_settings
from demesh.demo.nodes import DemoNode, make_nodes
from demesh.demo.story import NODES
from demesh.demo.targets import Target
from demesh.identity import new_swarm_key


@pytest.fixture
def nodes(tmp_path: Path) -> dict[str, DemoNode]:
    rng = random.Random(1)
    targets = [Target("shop", 1), Target("api", 2, knows_askers=True), Target("db", 3, "tcp")]
    return make_nodes(tmp_path, tmp_path, NODES, new_swarm_key(), "http://127.0.0.1:4", targets, rng)


@pytest.fixture(autouse=True)
def at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demesh.demo.serving.Serving.open", lambda _self: None)


def _settings(node: DemoNode) -> Settings:
    return read_settings(node.home.config)


def test_their_checks_have_the_same_definitions_so_that_votes_are_counted_together(nodes: dict[str, DemoNode]) -> None:
    told: list[Any] = [
        [(check.name, check.row(b"m" * 16, False).definition) for check in _settings(node).checks]
        for node in nodes.values()
    ]
    assert told[0] == told[1] == told[2]
    assert [name for name, _ in told[0]] == ["shop", "api", "db"]


def test_each_logs_in_with_its_own_name(nodes: dict[str, DemoNode]) -> None:
    users = [tomllib.loads(node.home.config.read_text())["check"][1]["user"] for node in nodes.values()]
    assert users == list(NODES)


def test_they_listen_on_loopback_only_and_not_where_a_node_usually_does(nodes: dict[str, DemoNode]) -> None:
    for node in nodes.values():
        settings = _settings(node)
        assert settings.listen == (("127.0.0.1", node.port),)
        assert settings.api is None
        assert settings.swarm_key_file is None
    assert len({node.port for node in nodes.values()} - {8470, 8471}) == 3


def test_all_are_of_one_mesh_from_the_start(nodes: dict[str, DemoNode]) -> None:
    assert len({node.home.mesh_id.read_text() for node in nodes.values()}) == 1
    assert len({node.home.swarm_key.read_text() for node in nodes.values()}) == 1
