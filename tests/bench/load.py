"""What many checks cost one node in its usual life: CPU time and memory."""

import time
from contextlib import ExitStack

from demesh.checks.schedule import WALK_PART
from tests.bench.figure import Budget, Figure
from tests.bench.node import MeasuredNode, checks_config, up_ms
from tests.bench.scope import Scope
from tests.bench.servers import Nginx
from tests.certificates import make_authority

_WALK_INTERVALS = (WALK_PART + 1) * (WALK_PART + 1) / WALK_PART
"""As long as checks may walk to their places: until then they run seldomer, and at first all at once, which is cheaper."""
_START_SECONDS = 5.0


def load(scope: Scope) -> list[Figure]:
    """Two nodes, which walk at the same time and are measured one after the other, each over whole intervals."""
    some, seconds, rounds = scope.choose((300, 20, 2), (30, 1, 3))
    many, many_seconds, many_rounds = scope.choose((1_000, 30, 1), (100, 1, 3))
    with ExitStack() as running:
        nginx = running.enter_context(Nginx(scope.place, make_authority(scope.place)).running())
        nodes = [
            running.enter_context(
                MeasuredNode(
                    scope.place / f"{count}", f"n{count}", checks_config(count, nginx.http_url, f"{interval}s")
                )
            )
            for count, interval in ((some, seconds), (many, many_seconds))
        ]
        for node in nodes:
            node.start_and_wait()
        time.sleep(_START_SECONDS + _WALK_INTERVALS * max(seconds, many_seconds))
        cpu, resident = _measure(nodes[0], some, seconds, rounds)
        many_cpu, many_resident = _measure(nodes[1], many, many_seconds, many_rounds)
    what, what_many = f"{some} HTTP checks at {seconds} s", f"{many:,} HTTP checks at {many_seconds} s"
    return [
        Figure(f"{what}: CPU seconds a minute", 60 * cpu, "s", budget=Budget(1.5)),
        Figure(f"{what}: resident", resident, "MB", budget=Budget(150)),
        Figure(f"{what_many}: of a core", 100 * many_cpu, "%", budget=Budget(15)),
        Figure(f"{what_many}: resident", many_resident, "MB", budget=Budget(160)),
    ]


def _measure(node: MeasuredNode, count: int, interval_seconds: int, intervals: int) -> tuple[float, float]:
    """CPU seconds a second in the best interval, and resident MB at the end. Stops the node."""
    first_ms, used = up_ms(), list[float]()
    for _ in range(intervals):
        before, began = node.cpu_seconds(), time.perf_counter()
        time.sleep(interval_seconds)
        used.append((node.cpu_seconds() - before) / (time.perf_counter() - began))
    last_ms, resident = up_ms(), node.resident_mb()
    node.stop()
    _assert_all_ran(node.passes_between(first_ms, last_ms), count * intervals)
    return min(used), resident


def _assert_all_ran(passed: int, expected: int) -> None:
    if passed < 0.95 * expected:
        raise AssertionError(f"only {passed} of {expected} runs passed: the figure would flatter")
