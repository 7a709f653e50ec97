"""When a loop that a node lives by hangs, and when it only takes as long as it may. Virtual time."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio

from demesh import limits
from demesh.checks.runner import Runner
from demesh.errors import NetworkError
from demesh.mesh.supervisor import Supervisor
from demesh.outcome import ProbeResult
from demesh.probes.base import ProbeSpec
from demesh.pulse import LOOPS, NETWORK, SCHEDULER, Pulse
from tests.checks.bench import VirtualClock, check_of

HOUR = 3_600
LATE = limits.PULSE_LATE_MS_MAX


def test_a_loop_hangs_once_it_is_later_than_it_may_be() -> None:
    pulse = Pulse()
    _turn_all(pulse, 60_000)
    pulse.of(SCHEDULER)(5_000)
    assert pulse.hanging(5_000 + LATE) == []
    assert pulse.hanging(5_001 + LATE) == [SCHEDULER]
    _turn_all(pulse, 70_000, but=NETWORK)
    assert pulse.hanging(60_001 + LATE) == [NETWORK]


def test_a_loop_that_never_turned_hangs() -> None:
    pulse = Pulse()
    assert pulse.hanging(0) == list(LOOPS)
    pulse.of(NETWORK)(1_000)
    assert pulse.hanging(0) == [loop for loop in LOOPS if loop != NETWORK]


def test_time_in_which_the_disk_is_waited_for_does_not_count() -> None:
    now_ms = 0
    pulse = Pulse()
    _turn_all(pulse, 1_000)
    waiting = pulse.disk(lambda: now_ms)
    with waiting():
        now_ms = 50_000
        with waiting():  # at the same time: it is waited for once
            now_ms = 100_000
            assert pulse.hanging(now_ms) == []
        now_ms = 3_600_000
        assert pulse.hanging(now_ms) == []
    assert pulse.hanging(3_600_000 + LATE) == [], "it answers again"
    assert pulse.hanging(3_600_000 + 1_001 + LATE) == list(LOOPS), "and yet nothing turns"
    _turn_all(pulse, 3_700_000)
    assert pulse.hanging(3_700_001 + LATE) == list(LOOPS), "what was waited for before does not count now"


def _turn_all(pulse: Pulse, again_by_ms: int, but: str = "") -> None:
    for loop in LOOPS:
        if loop != but:
            pulse.of(loop)(again_by_ms)


class _Network:
    """Lives and dies as `life` says, which is called with what tells that it listens."""

    def __init__(self, life: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        self._life = life
        self.dead = False

    async def run(self, _: object, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await self._life(task_status.started)

    async def examine(self) -> None:
        if self.dead:
            raise NetworkError("It accepts no connections.")


@asynccontextmanager
async def _supervised(network: _Network) -> AsyncGenerator[Callable[[], list[str]]]:
    """The network is supervised; gives what says of its supervisor whether it hangs."""
    pulse, clock = Pulse(), VirtualClock()
    supervisor = Supervisor(cast(Any, network), clock, random.Random(1), turned=pulse.of(NETWORK))

    def hanging() -> list[str]:
        _turn_all(pulse, clock.monotonic_ms(), but=NETWORK)
        return pulse.hanging(clock.monotonic_ms())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run, cast(Any, None))
        yield hanging
        nursery.cancel_scope.cancel()


async def _ever(hanging: Callable[[], list[str]], seconds: float) -> bool:
    """Whether anything hung within that time, looked at every second."""
    deadline = trio.current_time() + seconds
    while trio.current_time() < deadline:
        await trio.sleep(1)
        if hanging():
            return True
    return False


@pytest.mark.trio
async def test_a_network_that_is_well_does_not_hang(autojump_clock: object) -> None:
    async def live(listens: Callable[[], None]) -> None:
        listens()
        await trio.sleep_forever()

    async with _supervised(_Network(live)) as hanging:
        assert not await _ever(hanging, HOUR)


@pytest.mark.trio
@pytest.mark.parametrize("building_seconds", [0, limits.NETWORK_BUILD_SECONDS_MAX])
async def test_a_network_that_dies_again_and_again_for_hours_is_no_hang(
    building_seconds: float, autojump_clock: object
) -> None:
    lives = 0

    async def live(listens: Callable[[], None]) -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            listens()
        await trio.sleep(building_seconds)
        raise NetworkError("The port is taken.")

    async with _supervised(_Network(live)) as hanging:
        assert not await _ever(hanging, 6 * HOUR)
    assert lives > 100


@pytest.mark.trio
async def test_building_a_network_without_end_is_a_hang(autojump_clock: object) -> None:
    lives = 0

    async def live(listens: Callable[[], None]) -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            listens()
            raise NetworkError("It died.")
        await trio.sleep_forever()

    async with _supervised(_Network(live)) as hanging:
        assert await _ever(hanging, limits.NETWORK_BUILD_SECONDS_MAX + LATE / 1_000 + 3)


@pytest.mark.trio
async def test_a_dead_network_that_cannot_be_taken_apart_is_a_hang(autojump_clock: object) -> None:
    released = trio.Event()

    async def live(listens: Callable[[], None]) -> None:
        listens()
        with trio.CancelScope(shield=True):
            await released.wait()

    network = _Network(live)
    async with _supervised(network) as hanging:
        try:
            assert not await _ever(hanging, HOUR), "it lives"
            network.dead = True
            seconds = (limits.NETWORK_EXAMINATIONS_FAILED_MAX + 1) * limits.NETWORK_EXAMINE_SECONDS
            assert await _ever(hanging, seconds + limits.NETWORK_EXAMINE_SECONDS_MAX + LATE / 1_000)
        finally:
            released.set()


@asynccontextmanager
async def _scheduling(checks: int) -> AsyncGenerator[tuple[trio.CancelScope, Callable[[], list[str]]]]:
    """A runner whose probes refuse to end; gives what ends its task, and what says whether it hangs."""
    pulse, clock, released = Pulse(), VirtualClock(), trio.Event()

    async def probe(_: ProbeSpec) -> ProbeResult:
        with trio.CancelScope(shield=True):
            await released.wait()
        raise AssertionError

    runner = Runner({"fake": probe}, clock, lambda _: False, turned=pulse.of(SCHEDULER))
    runner.set_checks({each: check_of(f"web{each}", interval_ms=HOUR * 1_000) for each in range(checks)})

    def hanging() -> list[str]:
        _turn_all(pulse, clock.monotonic_ms(), but=SCHEDULER)
        return pulse.hanging(clock.monotonic_ms())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(runner.run)
        await trio.testing.wait_all_tasks_blocked()
        assert runner._nursery is not None
        try:
            yield runner._nursery.cancel_scope, hanging
        finally:
            released.set()
            nursery.cancel_scope.cancel()


@pytest.mark.trio
@pytest.mark.parametrize("checks", [0, 3])
async def test_a_scheduler_with_nothing_to_do_or_with_hanging_checks_only_does_not_hang(
    checks: int, autojump_clock: object
) -> None:
    async with _scheduling(checks) as (_, hanging):
        assert not await _ever(hanging, 3 * HOUR)


@pytest.mark.trio
async def test_a_scheduler_whose_task_has_ended_hangs(autojump_clock: object) -> None:
    async with _scheduling(0) as (end, hanging):
        assert not await _ever(hanging, 60)
        end.cancel()
        assert await _ever(hanging, (limits.RUNNER_TURN_MS_MAX + LATE) / 1_000 + 2)
