"""Three real nodes that check many loopback servers: what each takes, and every result that is none of the servers' fault.

The servers are well all the time, so that whatever is no pass is the node's doing (or that of a machine too busy for all of
this); it counts from the first run on, as do missed slots. What a node takes is measured over the window after the warm-up.
"""

import json
import os
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from demesh.log.entry import Entry, Kind
from demesh.log.results import Result, read_results
from demesh.outcome import Outcome
from tests.bench.machine import resident_peak_mb
from tests.bench.node import MeasuredNode, start_mesh, up_ms
from tests.load.targets import Counts, Servers, serving

NODES = 3
_CHECK = '[[check]]\nname = "s{number:04}"\ntarget = "{target}"\ninterval = "{interval}s"\nspread = {spread}\n'
_POLL_SECONDS = 0.2
_AFTER_RANKING_MS = 1_000  # a run that was due meanwhile has ended by then
_API_SECONDS_MAX = 60
_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`spread` of the nodes run each check: 1, and each node has a third of them; 3, and each has all. Times in seconds."""

    targets: int
    interval: int
    spread: int
    warm_up: float
    window: float


@dataclass(frozen=True, slots=True)
class Late:
    """Of some results: how many there are, how many are late by LATENESS_NOTED_MS, and by how much the worst is."""

    results: int
    late: int
    worst_ms: int

    @classmethod
    def of(cls, results: Sequence[Result]) -> "Late":
        late = [each.lateness_ms for each in results if each.lateness_ms]
        return cls(len(results), len(late), max(late, default=0))


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """What one node took in the window. `not_passed` and `missed` are of its whole life, as is `warming`."""

    name: str
    cpu_seconds: float
    cpu_seconds_worst_minute: float
    peak_mb: float
    entries: int
    signed_bytes: int
    store_bytes: int
    window: Late
    warming: Late
    missed: int
    not_passed: Counter[str]
    """By outcome and detail."""


@dataclass(frozen=True, slots=True)
class Seen:
    """`rankings` are in seconds; `ranked_late` of the results that came while the first node worked out a ranking."""

    plan: Plan
    nodes: Sequence[NodeSeen]
    servers_cpu_seconds: dict[str, float]
    rankings: Sequence[float]
    ranked_late: Late
    states: Counter[str]
    """How the checks are in the end, as the last node tells."""
    unasked: int
    """Targets for which in the window not all nodes came that should, whatever the reason."""
    loads: Sequence[float] = field(default_factory=list[float])

    @property
    def good(self) -> bool:
        """Whether each target was asked when it should be, and every run of it passed."""
        wrong = any(node.missed or node.not_passed for node in self.nodes)
        return not wrong and not self.unasked and set(self.states) == {"up"}


def measure(place: Path, plan: Plan, say: Callable[[str], None]) -> Seen:
    counts = Counts.of(plan.targets)
    targets = counts.targets()
    with ExitStack() as running:
        servers = running.enter_context(serving(place, counts))
        nodes = start_mesh(running, place, [_config(plan, targets)] * NODES)
        say(f"processes: {', '.join(f'{node.name} {node.pid}' for node in nodes)}, {servers.pids}")
        time.sleep(plan.warm_up)
        watch = _Watch(nodes, servers, say)
        watch.follow(plan.window)
        states = Counter[str](check["state"] for check in json.loads(_get(nodes[-1], "/api/v1/status"))["checks"])
        missed = [int(node.metrics()["demesh_slots_missed_total"]) for node in nodes]
        peaks = [resident_peak_mb(node.pid) for node in nodes]
        for node in nodes:
            node.stop()
        logs = [node.own_entries() for node in nodes]
        stored = [(node.home / "log.db").stat().st_size for node in nodes]
    ranked = [
        each
        for each in _results(logs[0])
        if any(began <= each.up_ms <= ended + _AFTER_RANKING_MS for began, ended in watch.ranked_ms)
    ]
    return Seen(
        plan=plan,
        nodes=[
            _node_seen(node.name, watch, number, targets, logs[number], missed[number], peaks[number], stored[number])
            for number, node in enumerate(nodes)
        ],
        servers_cpu_seconds=watch.servers_cpu_seconds,
        rankings=[(ended - began) / 1_000 for began, ended in watch.ranked_ms],
        ranked_late=Late.of(ranked),
        states=states,
        unasked=_unasked(plan, [{each.check for each in _results(log) if watch.within(each.up_ms)} for log in logs]),
        loads=watch.loads,
    )


def _config(plan: Plan, targets: Sequence[str]) -> str:
    return "".join(
        _CHECK.format(number=number, target=target, interval=plan.interval, spread=plan.spread)
        for number, target in enumerate(targets)
    )


class _Watch:
    """What is seen of the nodes from outside during the window: CPU time each minute, and what their rankings take."""

    def __init__(self, nodes: Sequence[MeasuredNode], servers: Servers, say: Callable[[str], None]) -> None:
        self._nodes = nodes
        self._servers = servers
        self._say = say
        self.cpu_seconds: list[list[float]] = []
        """Of each minute, of each node; the last minute may be a part of one."""
        self.servers_cpu_seconds: dict[str, float] = {}
        self.ranked_ms: list[tuple[int, int]] = []
        self.loads: list[float] = []
        self._began_ms = self._ended_ms = 0

    def within(self, at_up_ms: int) -> bool:
        return self._began_ms < at_up_ms <= self._ended_ms

    def before(self, at_up_ms: int) -> bool:
        return at_up_ms <= self._began_ms

    def follow(self, seconds: float) -> None:
        self._began_ms = up_ms()
        served = self._servers.cpu_seconds()
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._minute(min(left, _MINUTE))
            used = ", ".join(f"{each:.2f}" for each in self.cpu_seconds[-1])
            began_ms, ended_ms = self.ranked_ms[-1]
            to_go = f"{max(0, until - time.monotonic()):5.0f} s to go, load {self.loads[-1]:.1f}"
            self._say(f"{to_go}, CPU seconds {used}, ranking {ended_ms - began_ms} ms")
        self.servers_cpu_seconds = {name: used - served[name] for name, used in self._servers.cpu_seconds().items()}
        self._ended_ms = up_ms()

    def _minute(self, seconds: float) -> None:
        """Ask for the ranking once in the middle, by when the one of the minute before is out of date."""
        ends = time.monotonic() + seconds
        before = [node.cpu_seconds() for node in self._nodes]
        time.sleep(seconds / 2)
        began_ms = up_ms()
        told = json.loads(_get(self._nodes[0], "/api/v1/servers"))
        assert told["servers"]
        self.ranked_ms.append((began_ms, up_ms()))
        while time.monotonic() < ends:
            time.sleep(_POLL_SECONDS)
        self.cpu_seconds.append([node.cpu_seconds() - used for node, used in zip(self._nodes, before, strict=True)])
        self.loads.append(os.getloadavg()[0])


def _get(node: MeasuredNode, path: str) -> bytes:
    with urllib.request.urlopen(f"http://{node.api}{path}", timeout=_API_SECONDS_MAX) as answer:
        return answer.read()


def _results(entries: Sequence[Entry]) -> list[Result]:
    return [
        result
        for entry in entries
        if entry.kind == Kind.RESULTS
        for result in read_results(entry.payload, entry.up_ms).results
    ]


def _node_seen(
    name: str,
    watch: _Watch,
    number: int,
    targets: Sequence[str],
    log: Sequence[Entry],
    missed: int,
    peak_mb: float,
    stored: int,
) -> NodeSeen:
    results = _results(log)
    written = [entry for entry in log if watch.within(entry.up_ms)]
    minutes = [each[number] for each in watch.cpu_seconds]
    return NodeSeen(
        name=name,
        cpu_seconds=sum(minutes),
        cpu_seconds_worst_minute=max(minutes),
        peak_mb=peak_mb,
        entries=len(written),
        signed_bytes=sum(entry.size for entry in written),
        store_bytes=stored,
        window=Late.of([each for each in results if watch.within(each.up_ms)]),
        warming=Late.of([each for each in results if watch.before(each.up_ms)]),
        missed=missed,
        not_passed=Counter(
            f"{each.outcome.name.lower()} of {targets[each.check].partition(':')[0]}: {each.detail}"
            for each in results
            if each.outcome is not Outcome.PASS
        ),
    )


def _unasked(plan: Plan, asked: Sequence[set[int]]) -> int:
    return sum(sum(check in each for each in asked) < plan.spread for check in range(plan.targets))
