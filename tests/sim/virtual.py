"""Virtual time for many machines in one trio process: one clock that jumps, a clock for each machine, and tasks that stand still.

Guarantees: time passes only when no task can go on, so a run depends on nothing but its seed; the tasks of a process that is
held do nothing at all until it is let go, as in a stopped process: what was due meanwhile is due then. Not the real thing: the
timers of a suspended machine go on, so on waking they are due at once, where in life they would wait for their rest.

Most of what a simulation does is to sleep and to ask the kernel for news that cannot come: both are made cheap here. A task
sleeps on a heap of the clock's, and wakes in the very turn in which a deadline of trio's own would have woken it.
"""

# pyright: reportPrivateUsage=false

import hashlib
import heapq
import math
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any, Protocol, cast
from unittest.mock import patch

import trio
from trio._core import _run as trio_run

_IDLE_SECONDS = 0.01
_IDLE_MAX = 500
_TURNS_BETWEEN_POLLS = 256  # a keyboard interrupt comes through there


class Holdable(Protocol):
    held: list[trio.lowlevel.Task] | None
    """The tasks that would have gone on since the process is held; None while it is not."""


PROCESS: ContextVar[Holdable | None] = ContextVar("process", default=None)
"""The process that a task belongs to."""


class JumpingClock(trio.abc.Clock):
    """Stands still while anything can run, then jumps to the next deadline."""

    def __init__(self) -> None:
        self._now = 0.0
        self._idle = 0
        self._sleeping: list[tuple[float, int, list[trio.lowlevel.Task]]] = []
        """Until when who sleeps; whoever was woken by something else leaves an empty list."""
        self._serial = count()

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        """trio.sleep, without the scope that this makes."""
        if not 0 < seconds < math.inf or (until := self._now + seconds) == self._now:
            await _TRIO_SLEEP(seconds)
            return
        await self.sleep_until(until, [])

    async def sleep_until(self, until: float, sleeper: list[trio.lowlevel.Task], *, shielded: bool = False) -> None:
        """`until` lies ahead. `wake` may end it sooner; `shielded`: what is cancelled notices it afterwards."""
        sleeper.append(trio.lowlevel.current_task())
        heapq.heappush(self._sleeping, (until, next(self._serial), sleeper))

        def cancelled(_: object) -> trio.lowlevel.Abort:
            if shielded:
                return trio.lowlevel.Abort.FAILED
            sleeper.clear()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(cancelled)

    def wake(self, sleeper: list[trio.lowlevel.Task]) -> None:
        """End a sleep before its time, if it goes on."""
        for task in sleeper:
            _runner().reschedule(task)
        sleeper.clear()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        sleeping = self._sleeping
        while sleeping and not sleeping[0][2]:
            heapq.heappop(sleeping)
        if sleeping and sleeping[0][0] <= deadline:
            deadline = sleeping[0][0]
            while sleeping and sleeping[0][0] <= deadline:
                self.wake(heapq.heappop(sleeping)[2])
        if deadline == math.inf:
            # Only trio's own tasks are left, which wake each other through a socket; else nothing will ever happen again.
            self._idle += 1
            assert self._idle < _IDLE_MAX, "every task waits for another: the simulation stands still"
            return _IDLE_SECONDS
        self._idle = 0
        self._now = max(self._now, deadline)
        return 0


class _RunQueue(deque[trio.lowlevel.Task]):
    """trio's queue of tasks that can go on, without those of held processes."""

    def append(self, task: trio.lowlevel.Task, /) -> None:
        process = task.context.get(PROCESS)
        if process is not None and process.held is not None:
            process.held.append(task)
        else:
            super().append(task)


def _runner() -> Any:
    return cast(Any, trio_run.GLOBAL_RUN_CONTEXT).runner


def let_go(process: Holdable) -> None:
    """Let the tasks of a held process go on."""
    held, process.held = process.held or [], None
    _runner().runq.extend(held)


class _RareIO:
    """trio's way to ask for news of files and sockets, which asks only now and then while there is something else to do."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._turns = 0

    def get_events(self, timeout: float) -> Any:
        self._turns += 1
        if timeout or self._turns % _TURNS_BETWEEN_POLLS == 0:
            return self._manager.get_events(timeout)
        return ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)


def hold_back() -> None:
    """From now on, in this run of trio, `Holdable.held` counts, and nothing is expected from outside."""
    runner = _runner()
    runner.runq = _RunQueue(runner.runq)
    runner.io_manager = _RareIO(runner.io_manager)


_TRIO_SLEEP = trio.sleep


@contextmanager
def repeatable(seed: int, clock: JumpingClock) -> Generator[None]:
    """trio's order of tasks depends on `seed` alone, and time is that of `clock`."""
    before, trio_run._ALLOW_DETERMINISTIC_SCHEDULING = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, True
    state = trio_run._r.getstate()
    trio_run._r.seed(seed)
    try:
        with patch.object(trio, "sleep", clock.sleep):
            yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = before
        trio_run._r.setstate(state)


class MachineClock:
    """A machine's three clocks (see `demesh.clock`). True time is trio's, in seconds."""

    def __init__(self, name: str, wall_ms: int, rate: float) -> None:
        """`wall_ms` is the wall clock at the true time 0, before anybody sets it; `rate` how fast all three go."""
        self._name = name
        self._wall_ms = wall_ms
        self._rate = rate
        self._boots = 0
        self.ahead_ms = 0
        """How far somebody has set the wall clock forward."""
        self._wall_frozen_ms: int | None = None
        self.boot()

    def boot(self) -> None:
        self._boots += 1
        self.boot8 = hashlib.blake2b(f"{self._name}/{self._boots}".encode(), digest_size=8).digest()
        self._booted_at = trio.current_time() - 20  # what the machine needs until a process runs
        self._asleep_seconds = 0.0
        self._asleep_since: float | None = None

    def suspend(self) -> None:
        self._asleep_since = trio.current_time()

    def resume(self) -> None:
        if self._asleep_since is not None:
            self._asleep_seconds += trio.current_time() - self._asleep_since
            self._asleep_since = None

    def freeze_wall(self) -> None:
        self._wall_frozen_ms = self.wall_ms()

    def thaw_wall(self) -> None:
        if self._wall_frozen_ms is not None:
            frozen_ms, self._wall_frozen_ms = self._wall_frozen_ms, None
            self.ahead_ms += frozen_ms - self.wall_ms()  # it goes on from where it stood

    def monotonic_ms(self) -> int:
        now = self._asleep_since if self._asleep_since is not None else trio.current_time()
        return round((now - self._booted_at - self._asleep_seconds) * 1_000 * self._rate)

    def up_ms(self) -> int:
        return round((trio.current_time() - self._booted_at) * 1_000 * self._rate)

    def wall_ms(self) -> int:
        if self._wall_frozen_ms is not None:
            return self._wall_frozen_ms
        return max(0, self._wall_ms + self.ahead_ms + round(trio.current_time() * 1_000 * self._rate))
