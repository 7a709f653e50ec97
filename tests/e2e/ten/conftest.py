"""The ten nodes that all tests of this room share, with three days behind them: starting them costs most of the time.

A test leaves the mesh as it found it: the ten run, are connected, and know no others.
"""

from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from demesh.identity import SwarmKey, new_swarm_key, write_secret
from tests.e2e.local_network import LocalNetwork, Machine, local_network
from tests.e2e.past import plant_past
from tests.e2e.swarm import SECONDS, Ledger, SwarmNode, know_each_other

MESH = "c0ffee00" * 4
CHECK = "api"
PAST_DAYS = 3
_NODES = 10
_CONFIG = f"""
[node]
flush_interval = "5s"
[store]
raw_days = 1
[[check]]
name = "{CHECK}"
target = "http://127.0.0.1:8470/healthz"
interval = "5s"
timeout = "2s"
"""
_PEER = "[mesh]\npeers = [{peers}]\n"


@dataclass(slots=True)
class Ten:
    """The mesh. `directory` has room for more homes, `network` for more machines."""

    directory: Path
    network: LocalNetwork
    swarm_key: SwarmKey
    nodes: list[SwarmNode] = field(default_factory=list[SwarmNode])
    ledger: Ledger = field(default_factory=Ledger)

    def node(self, machine: Machine, name: str, peers: str = "") -> SwarmNode:
        return SwarmNode(machine, self.directory / name, name, _CONFIG + _PEER.format(peers=peers))


@pytest.fixture(scope="package")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Generator[Ten]:
    with local_network("10.79.0.") as network, ExitStack() as running:
        mesh = Ten(tmp_path_factory.mktemp("ten"), network, new_swarm_key())
        for number in range(_NODES):
            peers = ", ".join(f'"{each.swarm}"' for each in mesh.nodes[:1])  # the others are found through the first
            node = mesh.node(network.add(), f"n{number}", peers)
            write_secret(node.home / "mesh.id", MESH + "\n")
            write_secret(node.home / "swarm.key", mesh.swarm_key.text())
            mesh.nodes.append(running.enter_context(node))
        plant_past(mesh.nodes, bytes.fromhex(MESH), CHECK, PAST_DAYS)
        for node in mesh.nodes:
            node.start()
        for node in mesh.nodes:
            node.wait_ready(SECONDS)
        know_each_other(mesh.nodes)
        yield mesh
        assert [node.name for node in mesh.nodes if not node.runs()] == [], "nothing of all that has ended a node"
