"""A mesh of real nodes: what each costs at rest, and how soon all of them tell what one has seen."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Any

from demesh.log.entry import Entry, Kind
from demesh.log.results import read_results
from demesh.outcome import Outcome
from tests.bench.figure import Budget, Figure
from tests.bench.node import MeasuredNode, checks_config, start_mesh, up_ms
from tests.bench.scope import Scope
from tests.e2e.harness import WebServer

_CHECKS, _INTERVAL = 10, "30s"
_FLIPPING = """
[[check]]
name = "flipping"
target = "{url}"
interval = "1s"
fail_after = 1
recover_after = 1
"""
_STATES = {200: "up", 503: "down"}
_SHOWN_SECONDS_MAX = 30.0
_LOOK_SECONDS = 0.02


def mesh(scope: Scope) -> list[Figure]:
    """All nodes have the same ten checks; the first has one more, each result of which turns its vote."""
    count = scope.choose(10, 3)
    with ExitStack() as running:
        steady, flipping = running.enter_context(WebServer()), running.enter_context(WebServer())
        checks = checks_config(_CHECKS, steady.url, _INTERVAL)
        configs = [checks + _FLIPPING.format(url=flipping.url), *[checks] * (count - 1)]
        nodes = start_mesh(running, scope.place, configs)
        time.sleep(scope.choose(30.0, 1.0))  # what the start set going
        what = f"mesh of {count}, {_CHECKS} checks at {_INTERVAL} each"
        at_rest = _at_rest(what, nodes[1:], scope.choose(60.0, 11.0))  # more than a flush interval: each is heard once
        changes = _changes(nodes, flipping, scope.choose(60, 4))
        nodes[0].stop()
        signed_ms = _signed_ms(nodes[0].own_entries(), changes)
    return [*_told(count, changes, signed_ms), *at_rest]


@dataclass(frozen=True, slots=True)
class _Change:
    """What the target answered from `at_ms` on, and when the last node told it; on the clock of results."""

    status: int
    at_ms: int
    told_ms: int


def _changes(nodes: Sequence[MeasuredNode], web: WebServer, times: int) -> list[_Change]:
    changes: list[_Change] = []
    with ThreadPoolExecutor(len(nodes)) as pool:
        _wait_told(nodes[0], "up")
        for turn in range(times):
            time.sleep(0.5 + turn * 0.61803 % 1)  # at any time of the check's second
            web.status = 503 if turn % 2 == 0 else 200
            began_ms, state = up_ms(), _STATES[web.status]
            # The others are asked only once the first tells it: to be asked costs a node more than to be told.
            told_ms = [_wait_told(nodes[0], state)]
            told_ms += pool.map(lambda node, state=state: _wait_told(node, state), nodes[1:])
            changes.append(_Change(web.status, began_ms, max(told_ms)))
    return changes


def _wait_told(node: MeasuredNode, state: str) -> int:
    """When the node's `/api/v1/status` first told this state of the flipping check."""
    deadline = time.monotonic() + _SHOWN_SECONDS_MAX
    while time.monotonic() < deadline:
        checks: list[dict[str, Any]] = node.status()["checks"]
        if any(check["name"] == "flipping" and check["state"] == state for check in checks):
            return up_ms()
        time.sleep(_LOOK_SECONDS)
    raise AssertionError(f"{node.name} did not tell within {_SHOWN_SECONDS_MAX} s that the check is {state}")


def _signed_ms(entries: Sequence[Entry], changes: Sequence[_Change]) -> list[int]:
    """For each change, when the entry was made that told it first."""
    told = [
        (entry.up_ms, result.check, result.outcome == Outcome.PASS)
        for entry in entries
        if entry.kind == Kind.RESULTS
        for result in read_results(entry.payload, entry.up_ms).results
    ]
    flipping = next(check for _, check, passed in told if not passed)
    return [
        next(
            signed_ms
            for signed_ms, check, passed in told
            if check == flipping and signed_ms >= change.at_ms and passed == (change.status == 200)
        )
        for change in changes
    ]


def _told(count: int, changes: Sequence[_Change], signed_ms: Sequence[int]) -> list[Figure]:
    from_entry = sorted(change.told_ms - at for change, at in zip(changes, signed_ms, strict=True))
    from_target = sorted(change.told_ms - change.at_ms for change in changes)
    what, budget = f"mesh of {count}: change signed by one, told by all", Budget(2_000)
    asked = f"mesh of {count}: target changes, asked each second, told by all"
    return [
        Figure(f"{what}: p50", _percentile(from_entry, 50), "ms"),
        Figure(f"{what}: p99", _percentile(from_entry, 99), "ms", budget=budget),
        Figure(f"{asked}: p50", _percentile(from_target, 50), "ms"),
        Figure(f"{asked}: p99", _percentile(from_target, 99), "ms"),
    ]


def _percentile(ascending: Sequence[int], percent: int) -> int:
    return ascending[ceil(len(ascending) * percent / 100) - 1]


def _at_rest(what: str, nodes: Sequence[MeasuredNode], seconds: float) -> list[Figure]:
    """What the nodes use of the machine, and what they say to each other."""
    metrics, used = [node.metrics() for node in nodes], [node.cpu_seconds() for node in nodes]
    began = time.perf_counter()
    time.sleep(seconds)
    took = time.perf_counter() - began
    percent = [100 * (node.cpu_seconds() - before) / took for node, before in zip(nodes, used, strict=True)]
    after = [node.metrics() for node in nodes]

    def rate(series: str) -> float:
        """A second, in the mean of the nodes."""
        return sum(now[series] - then[series] for now, then in zip(after, metrics, strict=True)) / len(nodes) / took

    return [
        Figure(f"{what}: CPU, median node, of a core", median(percent), "%"),
        Figure(f"{what}: CPU, busiest node, of a core", max(percent), "%", budget=Budget(2)),
        Figure(f"{what}: resident, largest node", max(node.resident_mb() for node in nodes), "MB", budget=Budget(150)),
        Figure(f"{what}: entries received a second", rate('demesh_entries_total{outcome="accepted"}'), ""),
        Figure(f"{what}: messages received a second", rate('demesh_gossip_messages_total{direction="received"}'), ""),
        Figure(f"{what}: messages sent a second", rate('demesh_gossip_messages_total{direction="sent"}'), ""),
        Figure(f"{what}: received a second", rate('demesh_swarm_bytes_total{direction="received"}') / 1_000, "kB"),
        Figure(f"{what}: sent a second", rate('demesh_swarm_bytes_total{direction="sent"}') / 1_000, "kB"),
    ]
