"""A thousand checks, one of which hangs in each possible way, and machines that stand still. Virtual time."""

import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
import trio
import trio.testing

from demesh import limits
from demesh.checks.runner import Run
from demesh.metrics import SLOTS_MISSED
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec
from tests.checks.bench import PASSED, Bench, at_once, check_of, hang, taking

_INTERVAL_MS = 30_000
_WALK_MS = _INTERVAL_MS // 8


async def _refuse_to_be_cancelled(_: ProbeSpec) -> ProbeResult:
    with trio.CancelScope(shield=True):
        await trio.sleep(40)
    return PASSED


async def _swallow_the_deadline(_: ProbeSpec) -> ProbeResult:
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        return ProbeResult(Outcome.PASS)
    raise AssertionError


async def _raise_late(spec: ProbeSpec) -> ProbeResult:
    try:
        await trio.sleep_forever()
    finally:
        raise RuntimeError(spec.target)


async def _never_end_a_task(_: ProbeSpec) -> ProbeResult:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
    return PASSED


@pytest.mark.trio
@pytest.mark.parametrize(
    "way", [hang, _refuse_to_be_cancelled, _swallow_the_deadline, _raise_late, _never_end_a_task, taking(9.9)]
)
async def test_one_of_a_thousand_that_hangs_delays_no_other(
    autojump_clock: object, way: Callable[[ProbeSpec], Awaitable[ProbeResult]]
) -> None:
    async def probe(spec: ProbeSpec) -> ProbeResult:
        return await (way if "bad" in spec.target else at_once)(spec)

    bench = Bench(probe)
    checks = [check_of("bad" if n == 500 else f"web{n}", interval_ms=_INTERVAL_MS) for n in range(1_000)]
    async with bench.running(*checks):
        await trio.sleep(5)
        assert {run.check for run in bench.runs} >= set(range(1_000)) - {500}
        await trio.sleep(115)
    others = [run for run in bench.runs if run.check != 500]
    assert all(run.lateness_ms == 0 and run.result is PASSED for run in others)
    began_ms: dict[str, list[int]] = {}
    for target, at_ms in bench.began:
        began_ms.setdefault(target, []).append(at_ms)
    gaps_ms = [
        after - before for target in began_ms if "bad" not in target for before, after in pairwise(began_ms[target])
    ]
    assert len(gaps_ms) >= 2_900
    assert _INTERVAL_MS <= min(gaps_ms) <= max(gaps_ms) <= _INTERVAL_MS + _WALK_MS


@pytest.mark.trio
async def test_a_probe_left_in_a_thread_delays_no_other() -> None:
    """In real time: a thread knows no other."""
    others_reported, released = trio.Event(), threading.Event()

    async def probe(spec: ProbeSpec) -> ProbeResult:
        if "bad" in spec.target:
            await trio.to_thread.run_sync(released.wait, abandon_on_cancel=True)
        return PASSED

    def note(_: Run) -> bool:
        if len({run.check for run in bench.runs} - {0}) == 20:
            others_reported.set()
        return False

    bench = Bench(probe, turning=note)
    with trio.fail_after(10):
        async with bench.running(
            check_of("bad", timeout_ms=100), *(check_of(f"web{n}", interval_ms=1_000) for n in range(20))
        ):
            await others_reported.wait()
    released.set()
    assert set(bench.outcomes(0)) <= {"TIMEOUT"}


@pytest.mark.trio
async def test_dead_targets_wait_for_each_other_and_the_living_not_for_the_dead(autojump_clock: object) -> None:
    async def probe(spec: ProbeSpec) -> ProbeResult:
        return await (hang if "dead" in spec.target else at_once)(spec)

    bench = Bench(probe)
    dead = [check_of(f"dead{n}", timeout_ms=60_000, interval_ms=60_000) for n in range(2 * limits.PROBE_PLACES_MAX)]
    async with bench.running(*dead, check_of("web", interval_ms=10_000)):
        await trio.sleep(300)
        bench.runs.clear()
        await trio.sleep(300)
    alive = [run for run in bench.runs if run.check == len(dead)]
    assert len(alive) >= 29
    assert all(run.lateness_ms == 0 for run in alive)


@pytest.mark.trio
async def test_a_machine_that_stood_still_wakes_without_a_burst(mock_clock: trio.testing.MockClock) -> None:
    bench = Bench(at_once)
    missed = SLOTS_MISSED._value.get()
    async with bench.running(*(check_of(f"web{n}", interval_ms=_INTERVAL_MS) for n in range(1_000))):
        mock_clock.autojump_threshold = 0
        await trio.sleep(600)  # every check is in its place
        mock_clock.autojump_threshold = float("inf")
        await trio.testing.wait_all_tasks_blocked()
        bench.began.clear()
        mock_clock.jump(3_600)
        mock_clock.autojump_threshold = 0
        await trio.sleep(2 * _INTERVAL_MS / 1_000)
    woke_ms = bench.began[0][1]
    per_second = Counter((at_ms - woke_ms) // 1_000 for _, at_ms in bench.began)
    usual = 1_000 * 1_000 / _INTERVAL_MS
    slack = limits.SLOT_LATE_MS_MAX / 1_000
    assert per_second[0] <= 1.6 * (1 + slack) * usual
    assert max(many for second, many in per_second.items() if second) <= 2 * usual
    assert len({target for target, _ in bench.began}) == 1_000
    assert SLOTS_MISSED._value.get() - missed > 1_000 * 118


@pytest.mark.trio
async def test_a_timeout_while_the_node_stood_still_is_not_the_targets_fault(
    mock_clock: trio.testing.MockClock,
) -> None:
    bench = Bench(hang)
    async with bench.running(check_of(timeout_ms=10_000)):
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(30)
        await trio.testing.wait_all_tasks_blocked()
    (run,) = bench.runs
    assert run.result.outcome == Outcome.ERROR
    assert run.result.detail == "this node stood still for 29900 ms while it waited for an answer"
    assert run.lateness_ms == 29_900


@pytest.mark.trio
async def test_a_result_taken_while_the_loop_was_late_says_so(mock_clock: trio.testing.MockClock) -> None:
    bench = Bench(taking(0.25))
    async with bench.running(check_of("web", interval_ms=1_000)):
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(0.5)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(20):
            mock_clock.jump(0.05)
            await trio.testing.wait_all_tasks_blocked()
    late, sound = bench.runs
    assert (late.result, late.lateness_ms) == (PASSED, 400)
    assert (sound.result, sound.lateness_ms) == (PASSED, 0)


@pytest.mark.trio
async def test_a_wall_clock_that_jumps_neither_skips_nor_doubles_a_run(autojump_clock: object) -> None:
    bench = Bench(at_once)
    async with bench.running(check_of(interval_ms=60_000)):
        for hours in (0, 9, -400, 3, 300_000, -300_000):
            bench.clock.wall_began_ms += hours * 3_600_000 + 17_000
            await trio.sleep(300)
    gaps_ms = [after - before for before, after in pairwise(bench.began_ms())]
    assert len(gaps_ms) >= 26
    assert 60_000 <= min(gaps_ms) <= max(gaps_ms) <= 67_500
