"""A private swarm for these tests: one key, real demesh nodes, and nodes of another hand."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from demesh.identity import new_swarm_key, write_secret
from tests.e2e.harness import NodeProcess
from tests.interop.foreign import ForeignNode

_CONFIG = """
[node]
flush_interval = "1s"
[mesh]
peers = [{peers}]
"""


@dataclass(frozen=True, slots=True)
class Swarm:
    directory: Path
    key_file: Path
    key: str

    def node(self, name: str, *, peers: Sequence[NodeProcess] = (), checks: str = "") -> NodeProcess:
        config = _CONFIG.format(peers=", ".join(f'"{peer.swarm}"' for peer in peers)) + checks
        return NodeProcess(self.directory / name, name, config, self.key_file)

    def foreign(self, name: str) -> ForeignNode:
        return ForeignNode(self.key, name)


def new_swarm(directory: Path) -> Swarm:
    key_file, key = directory / "swarm.key", new_swarm_key().text()
    write_secret(key_file, key)
    return Swarm(directory, key_file, key)


def multiaddr(node: NodeProcess) -> str:
    host, port = node.swarm.split(":")
    return f"/ip4/{host}/tcp/{port}"


def refused(node: NodeProcess) -> dict[str, float]:
    """What the node turned away until now, by room and reason."""
    return {
        f"{sample.labels['room']}/{sample.labels['reason']}": sample.value
        for sample in _samples(node, "demesh_refused_total")
    }


def connections(node: NodeProcess) -> int:
    (sample,) = _samples(node, "demesh_connections")
    return int(sample.value)


def _samples(node: NodeProcess, name: str) -> list[Sample]:
    families = text_string_to_metric_families(node.read("/metrics").decode())
    return [sample for family in families for sample in family.samples if sample.name == name]


def heads(node: NodeProcess) -> dict[str, tuple[int, str]]:
    """Sequence number and hash of each log's newest entry."""
    return {head["log"]: (head["seq"], head["hash"]) for head in node.heads()}


def exported(node: NodeProcess, log: str) -> list[dict[str, Any]]:
    """Every entry of one log, as `demesh log export` has it."""
    run = node.run_command("log", "export", "--log", log)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def assert_verifies(node: NodeProcess) -> None:
    verified = node.run_command("log", "verify", "--json")
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)["faults"] == []
