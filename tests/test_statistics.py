"""How late the process is, and the line of statistics."""

import logging

import pytest
import trio
from trio.testing import MockClock

from demesh.diagnostics import STATISTICS
from demesh.lateness import Lateness
from demesh.metrics import RESULTS
from demesh.statistics import EVERY_SECONDS, Totals, figures, tell_statistics
from tests.log.builders import TrioClock, counted


def test_the_rates_are_of_the_time_between() -> None:
    before = Totals(at_ms=0, results=100, entries_written=1, entries_offered=2, refused=3, cpu_ms=1_000)
    after = Totals(at_ms=30_000, results=160, entries_written=4, entries_offered=6, refused=3, cpu_ms=1_600)
    assert figures(before, after) == {
        "results_per_minute": 120,
        "results": 160,
        "entries_written": 4,
        "entries_offered": 6,
        "refused": 3,
        "cpu_percent": 2,
    }


def test_lateness_is_what_one_in_a_hundred_exceeds() -> None:
    lateness = Lateness(TrioClock())
    assert lateness.p99_ms() == 0
    for late_ms in [0] * 99 + [500]:
        lateness.note(late_ms)
    assert lateness.p99_ms() == 500
    for _ in range(100):
        lateness.note(3)
    assert lateness.p99_ms() == 3


@pytest.mark.trio
async def test_a_blocked_loop_is_seen(autojump_clock: MockClock) -> None:
    lateness = Lateness(TrioClock())
    before = counted("demesh_loop_lateness_seconds_sum")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lateness.run)
        await trio.sleep(2.1)
        assert lateness.p99_ms() == 0
        autojump_clock.jump(0.9)  # nothing runs meanwhile
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert 500 <= lateness.p99_ms() <= 700
    assert counted("demesh_loop_lateness_seconds_sum") - before == pytest.approx(lateness.p99_ms() / 1_000)


@pytest.mark.trio
async def test_a_line_comes_every_half_minute(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, STATISTICS)
    clock = TrioClock()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_statistics, clock, Lateness(clock), lambda: 1_500_000)
        await trio.sleep(EVERY_SECONDS - 1)
        assert caplog.messages == []
        RESULTS.labels("pass").inc(50)
        await trio.sleep(2 + EVERY_SECONDS)
        nursery.cancel_scope.cancel()
    first, second = caplog.messages
    assert first.startswith("100 checks/min, ")
    assert first.endswith(" % CPU, 1.5 MB stored")
    assert second.startswith("0 checks/min, ")
    assert "MB resident" in first
