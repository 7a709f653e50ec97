"""Checks run on time, whatever probes do. Virtual time."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

from demesh import limits
from demesh.checks.check import Check
from demesh.checks.runner import Run, run_checks
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec

_PASSED = ProbeResult(Outcome.PASS, latency_us=1_000)
_UP_MS = 5_000_000


class _VirtualClock:
    """trio's clock, from the moment it is made."""

    boot8 = b"boot0000"

    def __init__(self) -> None:
        self._began = trio.current_time()

    def monotonic_ms(self) -> int:
        return round((trio.current_time() - self._began) * 1_000)

    def up_ms(self) -> int:
        return _UP_MS + self.monotonic_ms()

    def wall_ms(self) -> int:
        raise AssertionError("the wall clock decides nothing")


def _check(name: str = "web", **changed: Any) -> Check:
    timeout_ms = changed.pop("timeout_ms", 10_000)
    return Check(name, ProbeSpec("fake", f"https://{name}.example.net/?token=sesame", timeout_ms), **changed)


@dataclass
class _Bench:
    """Runs checks with one probe and keeps what happened; `turning` decides about each run."""

    probe: Callable[[ProbeSpec], Awaitable[ProbeResult]]
    turning: Callable[[Run], bool] = lambda _: False
    runs: list[Run] = field(default_factory=list[Run])
    began_ms: list[int] = field(default_factory=list[int])
    in_flight_max: int = 0

    @asynccontextmanager
    async def running(self, *checks: Check) -> AsyncGenerator[None]:
        clock = _VirtualClock()
        in_flight = 0

        async def probe(spec: ProbeSpec) -> ProbeResult:
            nonlocal in_flight
            self.began_ms.append(clock.monotonic_ms())
            in_flight += 1
            self.in_flight_max = max(self.in_flight_max, in_flight)
            try:
                return await self.probe(spec)
            finally:
                in_flight -= 1

        def report(run: Run) -> bool:
            self.runs.append(run)
            return self.turning(run)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_checks, dict(enumerate(checks)), {"fake": probe}, clock, report)
            yield
            nursery.cancel_scope.cancel()

    def ended_ms(self, check: int = 0) -> list[int]:
        return [run.up_ms - _UP_MS for run in self.runs if run.check == check]

    def outcomes(self, check: int = 0) -> list[str]:
        return [run.result.outcome.name for run in self.runs if run.check == check]


async def _at_once(_: ProbeSpec) -> ProbeResult:
    return _PASSED


async def _hang(_: ProbeSpec) -> ProbeResult:
    await trio.sleep_forever()
    raise AssertionError


def _taking(seconds: float) -> Callable[[ProbeSpec], Awaitable[ProbeResult]]:
    async def probe(_: ProbeSpec) -> ProbeResult:
        await trio.sleep(seconds)
        return _PASSED

    return probe


@pytest.mark.trio
async def test_a_check_runs_at_once_and_then_every_interval(autojump_clock: object) -> None:
    bench = _Bench(_at_once)
    async with bench.running(_check(interval_ms=60_000)):
        await trio.sleep(181)
    assert bench.began_ms == [0, 60_000, 120_000, 180_000]
    assert [run.result for run in bench.runs] == [_PASSED] * 4


@pytest.mark.trio
async def test_a_slow_probe_shifts_no_later_run(autojump_clock: object) -> None:
    bench = _Bench(_taking(7.3))
    async with bench.running(_check(interval_ms=10_000)):
        await trio.sleep(995)
    assert bench.began_ms == list(range(0, 1_000_000, 10_000))


@pytest.mark.trio
async def test_slots_that_were_missed_are_skipped_and_not_made_up_for(autojump_clock: object) -> None:
    bench = _Bench(_taking(25))
    async with bench.running(_check(interval_ms=10_000, timeout_ms=60_000)):
        await trio.sleep(100)
    assert bench.began_ms == [0, 30_000, 60_000, 90_000]
    assert all(run.lateness_ms == 0 for run in bench.runs)


@pytest.mark.trio
async def test_a_turning_vote_is_confirmed_after_the_retry_interval(autojump_clock: object) -> None:
    bench = _Bench(_at_once, turning=lambda run: run.up_ms - _UP_MS in (60_000, 70_000))
    async with bench.running(_check(interval_ms=60_000, retry_interval_ms=10_000)):
        await trio.sleep(200)
    assert bench.began_ms == [0, 60_000, 70_000, 80_000, 120_000, 180_000]


@pytest.mark.trio
async def test_a_probe_that_ignores_its_timeout_ends_at_the_deadline(autojump_clock: object) -> None:
    bench = _Bench(_hang)
    async with bench.running(_check(interval_ms=60_000, timeout_ms=10_000)):
        await trio.sleep(75)
    assert bench.ended_ms() == [10_500, 70_500]
    assert bench.outcomes() == ["TIMEOUT", "TIMEOUT"]
    assert "10000 ms" in bench.runs[0].result.detail


@pytest.mark.trio
async def test_a_probe_that_keeps_its_own_timeout_says_what_it_waited_for(autojump_clock: object) -> None:
    async def probe(spec: ProbeSpec) -> ProbeResult:
        await trio.sleep(spec.timeout_ms / 1_000)
        return ProbeResult(Outcome.TIMEOUT, detail="no first byte")

    bench = _Bench(probe)
    async with bench.running(_check()):
        await trio.sleep(30)
    assert [run.result.detail for run in bench.runs] == ["no first byte"]


@pytest.mark.trio
async def test_a_hanging_probe_delays_no_other_check(autojump_clock: object) -> None:
    async def probe(spec: ProbeSpec) -> ProbeResult:
        return await (_hang if "slow" in spec.target else _at_once)(spec)

    bench = _Bench(probe)
    checks = [_check("slow", timeout_ms=300_000), _check("web", interval_ms=10_000)]
    async with bench.running(*checks):
        await trio.sleep(100)
    assert bench.outcomes(0) == []
    ended_ms = bench.ended_ms(1)
    assert [after - before for before, after in pairwise(ended_ms)] == [10_000] * 9


@pytest.mark.trio
async def test_a_probe_that_raises_gives_an_error_and_its_check_goes_on(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    bench = _Bench(_at_once)

    async def probe(spec: ProbeSpec) -> ProbeResult:
        if len(bench.runs) == 1:
            raise RuntimeError(f"cannot parse the answer of {spec.target}")
        return _PASSED

    bench.probe = probe
    async with bench.running(_check(interval_ms=10_000)):
        await trio.sleep(25)
    assert bench.outcomes() == ["PASS", "ERROR", "PASS"]
    assert bench.runs[1].result.detail == "the probe failed: RuntimeError"
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "'web'" in record.getMessage()
    assert "sesame" not in caplog.text


@pytest.mark.trio
async def test_no_more_probes_run_at_once_than_allowed_and_lateness_is_noted(autojump_clock: object) -> None:
    count = limits.PROBES_IN_FLIGHT_MAX + 6
    bench = _Bench(_taking(8))
    async with bench.running(*(_check(f"web{n}") for n in range(count))):
        await trio.sleep(30)
    assert bench.in_flight_max == limits.PROBES_IN_FLIGHT_MAX
    assert len(bench.runs) == count
    late = [run for run in bench.runs if run.lateness_ms]
    assert len(late) == 6
    assert all(5_000 < run.lateness_ms < 8_000 for run in late)


@pytest.mark.trio
async def test_the_first_runs_do_not_come_all_at_once(autojump_clock: object) -> None:
    bench = _Bench(_at_once)
    async with bench.running(*(_check(f"web{n}") for n in range(10))):
        await trio.sleep(6)
    assert bench.began_ms == list(range(0, 2_500, 250))


@pytest.mark.trio
async def test_runs_end_with_the_scope_that_holds_them(autojump_clock: object) -> None:
    bench = _Bench(_hang)
    async with bench.running(_check()):
        await trio.testing.wait_all_tasks_blocked()
    assert bench.runs == []
    assert bench.began_ms == [0]
