"""Nodes that nobody told of each other meet in a local network, if they have the same swarm key and `mdns` is on."""

import json
from collections.abc import Generator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from demesh.identity import new_swarm_key, write_secret
from tests.e2e.harness import eventually
from tests.e2e.local_network import LocalNetwork, local_network
from tests.e2e.swarm import SECONDS, SwarmNode, settled

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
_CONFIG = '[node]\nflush_interval = "2s"\n[mesh]\nmdns = {}\n'


def _met(node: SwarmNode) -> set[str]:
    """Who is connected with it."""
    return {member["name"] for member in json.loads(node.read("/api/v1/members")) if member["connected"]}


@pytest.fixture
def network() -> Generator[LocalNetwork]:
    with local_network("10.79.0.") as network:
        yield network


def test_two_nodes_find_each_other_and_not_who_keeps_quiet_or_has_another_key(
    tmp_path: Path, network: LocalNetwork
) -> None:
    key, other = tmp_path / "swarm.key", tmp_path / "other.key"
    for path in (key, other):
        write_secret(path, new_swarm_key().text())
    quiet = SwarmNode(network.add(), tmp_path / "quiet", "quiet", _CONFIG.format("false"), key)
    stranger = SwarmNode(network.add(), tmp_path / "stranger", "stranger", _CONFIG.format("true"), other)
    ann, ben = (SwarmNode(network.add(), tmp_path / name, name, _CONFIG.format("true"), key) for name in ("ann", "ben"))
    with ExitStack() as running:
        for node in (quiet, stranger, ann, ben):
            running.enter_context(node)
            node.start()
        for node in (ann, ben):
            eventually(partial(_met, node), lambda met: len(met) == 1, SECONDS, f"{node.name} has found the other")
        settled([ann, ben])
        assert (_met(ann), _met(ben), _met(quiet), _met(stranger)) == ({"ben"}, {"ann"}, set(), set())
