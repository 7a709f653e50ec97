"""What it costs to rank a long list of public servers again, next to the first time after a start, when all is added up."""

import random
from collections.abc import Iterator

from demesh.log.entry import Kind
from demesh.log.plan import split_plan
from demesh.log.sums import DAY_MS, HOUR_MS, Sums
from demesh.outcome import Outcome
from demesh.view.checks import CheckView
from demesh.view.history import History, Signed
from demesh.view.history_store import HistoryStore
from demesh.view.ranking import rank
from tests.bench.figure import Budget, Figure
from tests.bench.machine import Stopwatch
from tests.bench.scope import Scope
from tests.view.build import PASS, WALL_MS, MemberLog, deliver, new_view, result, row

_NOW_MS = WALL_MS // DAY_MS * DAY_MS + 20 * HOUR_MS
_TESTS_AN_HOUR = 4
_RESULTS_AN_ENTRY = 200


def ranking(scope: Scope) -> list[Figure]:
    """Some weeks of days and the hours of today, of servers of which some never fail and some always."""
    servers, days = scope.choose(1_700, 50), scope.choose(20, 5)
    names = [f"ntp s{number}.example.net:123 udp v4" for number in range(servers)]
    vantages = [MemberLog(name) for name in "abc"]
    checks = _checks(vantages, names)
    times: list[float] = []
    with HistoryStore(scope.place / "view.db") as store:
        for rows in _history(vantages, names, days):
            store.save(History(b""), rows, [])
        for minute in range(6):
            watch = Stopwatch()
            ranked = rank(checks, store.records(_NOW_MS + 60_000 * minute), {})
            times.append(1_000 * watch.cpu_seconds())
            if len(ranked) != servers or not all(each.dogdorm for each in ranked):
                raise AssertionError("not every server was ranked with its history")
    what = f"{servers:,} servers of {len(vantages)} vantages ranked again: CPU time"
    return [Figure(what, min(times[1:]), "ms", times[0], f"the first time, {days} days", Budget(0.5, of_ratio=True))]


def _checks(vantages: list[MemberLog], names: list[str]) -> list[CheckView]:
    view = new_view()
    rows = [row(name, type="ntp", target=f"ntp://{name.split()[1]}") for name in names]
    for each in vantages:
        plan = [each.entry(Kind.PLAN, part.payload(), 0) for part in split_plan(rows)]
        deliver(view, each, [each.hello(0), *plan], 0)
        for first in range(0, len(names), _RESULTS_AN_ENTRY):
            some = range(first, min(first + _RESULTS_AN_ENTRY, len(names)))
            deliver(view, each, each.results(1_000, *(result(PASS, 1_000, check) for check in some), plan_seq=1), 1_000)
    return view.checks(2_000)


def _history(vantages: list[MemberLog], names: list[str], days: int) -> Iterator[list[Signed]]:
    chance = random.Random(1)
    failing = [chance.choice([0, 0, 0.0001, 0.001, 0.01, 0.3, 1]) for _ in names]
    midnight_ms = _NOW_MS // DAY_MS * DAY_MS
    periods = [(DAY_MS, midnight_ms - day * DAY_MS) for day in range(days, 0, -1)]
    periods += [(HOUR_MS, start_ms) for start_ms in range(midnight_ms, _NOW_MS, HOUR_MS)]
    for period_ms, start_ms in periods:
        tests = _TESTS_AN_HOUR * period_ms // HOUR_MS
        yield [
            Signed(each.key, each.log, name, period_ms, start_ms, _sums(chance, share, tests, period_ms))
            for each in vantages
            for name, share in zip(names, failing, strict=True)
        ]


def _sums(chance: random.Random, failing: float, tests: int, period_ms: int) -> Sums:
    sums = Sums()
    failed = sum(chance.random() < failing for _ in range(tests))
    sums.counts[Outcome.PASS], sums.counts[Outcome.TIMEOUT] = tests - failed, failed
    sums.down_ms = period_ms * failed // tests
    sums.up_ms = period_ms - sums.down_ms
    return sums
