"""Checks run on time, whatever probes do. Virtual time."""

import logging
from itertools import pairwise

import pytest
import trio
import trio.testing

from demesh import limits
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec
from tests.checks.bench import PASSED, Bench, at_once, check_of, hang, taking


@pytest.mark.trio
async def test_a_check_runs_at_once_and_then_every_interval(autojump_clock: object) -> None:
    bench = Bench(at_once)
    async with bench.running(check_of(interval_ms=60_000)):
        await trio.sleep(181)
    assert bench.began_ms() == [0, 60_000, 120_000, 180_000]
    assert [run.result for run in bench.runs] == [PASSED] * 4


@pytest.mark.trio
async def test_a_slow_probe_shifts_no_later_run(autojump_clock: object) -> None:
    bench = Bench(taking(7.3))
    async with bench.running(check_of(interval_ms=10_000)):
        await trio.sleep(995)
    assert bench.began_ms() == list(range(0, 1_000_000, 10_000))


@pytest.mark.trio
async def test_slots_that_were_missed_are_skipped_and_not_made_up_for(autojump_clock: object) -> None:
    bench = Bench(taking(25))
    async with bench.running(check_of(interval_ms=10_000, timeout_ms=60_000)):
        await trio.sleep(100)
    assert bench.began_ms() == [0, 30_000, 60_000, 90_000]
    assert all(run.lateness_ms == 0 for run in bench.runs)


@pytest.mark.trio
async def test_a_turning_vote_is_confirmed_after_the_retry_interval(autojump_clock: object) -> None:
    bench = Bench(at_once, turning=lambda run: len(bench.runs) in (2, 3))
    async with bench.running(check_of(interval_ms=60_000, retry_interval_ms=10_000)):
        await trio.sleep(200)
    assert bench.began_ms() == [0, 60_000, 70_000, 80_000, 120_000, 180_000]


@pytest.mark.trio
async def test_a_target_that_asks_to_be_left_alone_is_asked_again_at_its_usual_time(autojump_clock: object) -> None:
    async def refuse(_: ProbeSpec) -> ProbeResult:
        return ProbeResult(Outcome.FAIL, confirm=False)

    bench = Bench(refuse, turning=lambda _: True)
    async with bench.running(check_of(interval_ms=60_000)):
        await trio.sleep(121)
    assert (bench.began_ms(), len(bench.runs)) == ([0, 60_000, 120_000], 3)


@pytest.mark.trio
async def test_a_probe_that_ignores_its_timeout_ends_at_the_deadline(autojump_clock: object) -> None:
    bench = Bench(hang)
    async with bench.running(check_of(interval_ms=60_000, timeout_ms=10_000)):
        await trio.sleep(75)
    assert bench.ended_ms() == [10_500, 70_500]
    assert bench.outcomes() == ["TIMEOUT", "TIMEOUT"]
    assert "10000 ms" in bench.runs[0].result.detail


@pytest.mark.trio
async def test_a_probe_that_keeps_its_own_timeout_says_what_it_waited_for(autojump_clock: object) -> None:
    async def probe(spec: ProbeSpec) -> ProbeResult:
        await trio.sleep(spec.timeout_ms / 1_000)
        return ProbeResult(Outcome.TIMEOUT, detail="no first byte")

    bench = Bench(probe)
    async with bench.running(check_of()):
        await trio.sleep(30)
    assert [run.result.detail for run in bench.runs] == ["no first byte"]


@pytest.mark.trio
async def test_a_hanging_probe_delays_no_other_check(autojump_clock: object) -> None:
    async def probe(spec: ProbeSpec) -> ProbeResult:
        return await (hang if "slow" in spec.target else at_once)(spec)

    bench = Bench(probe)
    checks = [check_of("slow", timeout_ms=300_000), check_of("web", interval_ms=10_000)]
    async with bench.running(*checks):
        await trio.sleep(100)
    assert bench.outcomes(0) == []
    gaps_ms = [after - before for before, after in pairwise(bench.ended_ms(1))]
    assert len(gaps_ms) >= 8
    assert all(10_000 <= gap_ms <= 11_250 for gap_ms in gaps_ms)  # it walks to its place
    assert all(run.lateness_ms == 0 for run in bench.runs)


@pytest.mark.trio
async def test_a_probe_that_raises_gives_an_error_and_its_check_goes_on(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(at_once)

    async def probe(spec: ProbeSpec) -> ProbeResult:
        if len(bench.runs) == 1:
            raise RuntimeError(f"cannot parse the answer of {spec.target}")
        return PASSED

    bench.probe = probe
    async with bench.running(check_of(interval_ms=10_000)):
        await trio.sleep(25)
    assert bench.outcomes() == ["PASS", "ERROR", "PASS"]
    assert bench.runs[1].result.detail == "the probe failed: RuntimeError"
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "'web'" in record.getMessage()
    assert "sesame" not in caplog.text


@pytest.mark.trio
async def test_no_more_probes_work_at_once_than_allowed_and_lateness_is_noted(autojump_clock: object) -> None:
    most = int(limits.PROBE_PLACES_MAX * limits.UNPROVEN_SHARE)
    count = 4 * most
    bench = Bench(taking(limits.PROBE_TURN_MS / 1_000 - 0.001))
    async with bench.running(*(check_of(f"web{n}", interval_ms=1_000) for n in range(count))):
        await trio.sleep(1.2)
    assert bench.in_flight_max == most
    late = [run for run in bench.runs if run.lateness_ms]
    assert len(late) >= most
    assert max(run.lateness_ms for run in late) < 4 * limits.PROBE_TURN_MS


@pytest.mark.trio
async def test_the_first_runs_do_not_come_all_at_once(autojump_clock: object) -> None:
    bench = Bench(at_once)
    async with bench.running(*(check_of(f"web{n}") for n in range(10))):
        await trio.sleep(6)
    assert bench.began_ms() == list(range(0, 2_500, 250))


@pytest.mark.trio
async def test_runs_end_with_the_scope_that_holds_them(autojump_clock: object) -> None:
    bench = Bench(hang)
    async with bench.running(check_of()):
        await trio.testing.wait_all_tasks_blocked()
    assert bench.runs == []
    assert bench.began_ms() == [0]
