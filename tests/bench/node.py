"""A real node whose process is measured from outside."""

import math
import time
import urllib.request
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from demesh.clock import SystemClock
from demesh.log.entry import Entry, Kind
from demesh.log.results import read_results
from demesh.log.store import Store
from demesh.outcome import Outcome
from tests.bench.machine import cpu_seconds, resident_mb
from tests.e2e.harness import NodeProcess, eventually

_READY_SECONDS_MAX = 120  # a bound against accidents: a crowded machine is not what is measured
_POLL_SECONDS = 0.01


class MeasuredNode(NodeProcess):
    def __init__(self, home: Path, name: str, config: str = "", swarm_key: Path | None = None) -> None:
        super().__init__(home, name, config, swarm_key)
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody runs a node so
        self.ready_seconds = self.ready_cpu_seconds = math.nan
        """What its last start took."""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def resident_mb(self) -> float:
        return resident_mb(self.pid)

    def start_and_wait(self, *arguments: str) -> float:
        """Start; returns the seconds until it said that it is ready."""
        began = time.perf_counter()
        said = (self.home / "output").stat().st_size if (self.home / "output").exists() else 0
        self.start(*arguments)
        while ": node " not in self.output()[said:]:
            assert self._process is not None
            if self._process.poll() is not None or time.perf_counter() - began > _READY_SECONDS_MAX:
                raise AssertionError(f"the node did not get ready: {self.output()[said:]}")
            time.sleep(_POLL_SECONDS)
        self.ready_seconds, self.ready_cpu_seconds = time.perf_counter() - began, self.cpu_seconds()
        return self.ready_seconds

    def metrics(self) -> dict[str, float]:
        """What `/metrics` tells now, by series: `demesh_refused_total{room="chain",reason="fork"}`."""
        with urllib.request.urlopen(f"http://{self.api}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        told = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {series: float(value) for series, _, value in told}

    def peers(self) -> int:
        """How many are connected."""
        return int(self.metrics()["demesh_peers"])

    def own_entries(self) -> list[Entry]:
        """Its own log, as stored. Ask when it has stopped."""
        with Store(self.home / "log.db", readonly=True) as store:
            own = store.own_log()
            assert own is not None
            return store.read(own[0], 0, own[1].seq)[0]

    def passes_between(self, first_up_ms: int, last_up_ms: int) -> int:
        """How many runs of that time stand in its log, all of which passed. Ask when it has stopped."""
        outcomes = [
            result.outcome
            for entry in self.own_entries()
            if entry.kind == Kind.RESULTS
            for result in read_results(entry.payload, entry.up_ms).results
            if first_up_ms < result.up_ms <= last_up_ms
        ]
        if any(outcome != Outcome.PASS for outcome in outcomes):
            raise AssertionError("not all probes passed: the figure would be of something else")
        return len(outcomes)


def checks_config(count: int, target: str, interval: str) -> str:
    """A configuration with `count` checks of one target."""
    defaults = f'[defaults]\ninterval = "{interval}"\n'
    return defaults + "".join(f'[[check]]\nname = "c{n:04}"\ntarget = "{target}"\n' for n in range(count))


def start_mesh(running: ExitStack, place: Path, configs: Sequence[str]) -> list[MeasuredNode]:
    """A node for each configuration, each connected to each; they end with `running`.

    Everyone is told of all who were there before: what a hello tells of loopback is dialled by nobody.
    """
    nodes: list[MeasuredNode] = []
    for number, config in enumerate(configs):
        key = nodes[0].home / "swarm.key" if nodes else None
        node = running.enter_context(MeasuredNode(place / str(number), f"n{number}", config, key))
        node.start_and_wait(*peers_of(nodes))
        nodes.append(node)
    for node in nodes:
        eventually(node.peers, lambda peers: peers == len(nodes) - 1, 120, "each is connected to each")
        eventually(node.heads, lambda heads: len(heads) == len(nodes), 120, "all are known")
    return nodes


def peers_of(nodes: Iterable[MeasuredNode]) -> list[str]:
    """What tells a node to dial these."""
    return [argument for node in nodes for argument in ("--peer", node.swarm)]


def up_ms() -> int:
    """Now, on the clock of results."""
    return SystemClock().up_ms()
