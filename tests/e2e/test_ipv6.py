"""A mesh where there is no IPv4: nodes listen, dial, tell their addresses and are found by IPv6 alone."""

import json
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from demesh.identity import new_swarm_key, write_secret
from tests.e2e.harness import NodeProcess, eventually
from tests.e2e.local_network import LocalNetwork, local_network
from tests.e2e.swarm import PORT, SECONDS, SwarmNode, know_each_other, settled

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
_CONFIG = '[node]\nflush_interval = "2s"\n[mesh]\npeers = [{peers}]\n'
_PREFIX = "fd79::"


@pytest.fixture
def network() -> Generator[LocalNetwork]:
    with local_network(_PREFIX) as network:
        yield network


@contextmanager
def _running(nodes: Sequence[SwarmNode], directory: Path) -> Generator[None]:
    """The nodes, each of which has the first as its peer, until the end of the block."""
    write_secret(directory / "swarm.key", new_swarm_key().text())
    with ExitStack() as running:
        for node in nodes:
            peers = f'"{nodes[0].swarm}"' if node is not nodes[0] else ""
            (node.home / "demesh.toml").write_text(_CONFIG.format(peers=peers))
            running.enter_context(node)
            node.start()
        for node in nodes:
            node.wait_ready()
        know_each_other(nodes)
        yield
        for node in nodes:
            assert node.stop() == 0, node.output()


def _met(node: NodeProcess, nodes: Sequence[NodeProcess]) -> dict[str, str]:
    """Where a node is connected with the others, once it is with all of them."""
    others = {other.name for other in nodes if other is not node}

    def connected_at() -> dict[str, str]:
        told = json.loads(node.run_command("members", "--json").stdout)
        return {member["name"]: member["address"] for member in told if member["connected"]}

    return eventually(
        connected_at, lambda met: met.keys() == others, SECONDS, f"{node.name} is connected with {others}"
    )


def test_machines_without_ipv4_form_a_mesh_and_find_each_other(tmp_path: Path, network: LocalNetwork) -> None:
    key = tmp_path / "swarm.key"
    nodes = [SwarmNode(network.add(), tmp_path / name, name, "", key) for name in ("one", "two", "three")]
    with _running(nodes, tmp_path):
        settled(nodes)
        for node in nodes:
            met = _met(node, nodes)
            assert all(address.startswith(f"[{_PREFIX}") for address in met.values()), met
        told = {node["name"]: node["addresses"] for node in nodes[2].status()["nodes"]}
        assert told == {node.name: [f"/ip6/{node.machine.address}/tcp/{PORT}"] for node in nodes}


def test_two_nodes_meet_at_the_loopback_address(tmp_path: Path, network: LocalNetwork) -> None:
    machine, key = network.add(), tmp_path / "swarm.key"
    nodes = [SwarmNode(machine, tmp_path / name, name, "", key) for name in ("one", "two")]
    for number, node in enumerate(nodes):
        node.swarm, node.api = f"[::1]:{PORT + number}", "none"
    with _running(nodes, tmp_path):
        settled(nodes)
        assert _met(nodes[1], nodes) == {"one": nodes[0].swarm}
