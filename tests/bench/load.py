"""What many checks cost one node in its usual life: CPU time and memory."""

import time

from tests.bench.figure import Budget, Figure
from tests.bench.node import MeasuredNode, checks_config, up_ms
from tests.bench.scope import Scope
from tests.bench.servers import Nginx
from tests.certificates import make_authority

_WARM_UP_SECONDS = 4.0  # the first round of all checks is over; each is confirmed at once until then


def load(scope: Scope) -> list[Figure]:
    """Whole intervals are measured, since all checks run near the beginning of theirs."""
    with Nginx(scope.place, make_authority(scope.place)).running() as nginx:
        count, seconds, rounds = scope.choose((300, 20, 2), (30, 2, 1))
        what = f"{count} HTTP checks at {seconds} s"
        cpu, resident = _measure(scope, nginx, count, seconds, rounds)
        figures = [
            Figure(f"{what}: CPU seconds a minute", 60 * cpu, "s", budget=Budget(1.5)),
            Figure(f"{what}: resident", resident, "MB", budget=Budget(150)),
        ]
        count, seconds, rounds = scope.choose((1_000, 30, 1), (100, 3, 1))
        what = f"{count:,} HTTP checks at {seconds} s"
        cpu, resident = _measure(scope, nginx, count, seconds, rounds)
        return [
            *figures,
            Figure(f"{what}: of a core", 100 * cpu, "%", budget=Budget(15)),
            Figure(f"{what}: resident", resident, "MB", budget=Budget(160)),
        ]


def _measure(scope: Scope, nginx: Nginx, count: int, interval_seconds: int, intervals: int) -> tuple[float, float]:
    """CPU seconds a second in the best interval, and resident MB at the end."""
    config = checks_config(count, nginx.http_url, f"{interval_seconds}s")
    with MeasuredNode(scope.place / f"{count}", "ann", config) as node:
        node.start_and_wait()
        time.sleep(min(_WARM_UP_SECONDS, interval_seconds))
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
