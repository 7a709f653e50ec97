"""Virtual time for many machines in one trio process: one clock that jumps, a clock for each machine, and tasks that stand still.

Guarantees: time passes only when no task can go on, so a run depends on nothing but its seed; the tasks of a process that is
held do nothing at all until it is let go, as in a stopped process: what was due meanwhile is due then. Not the real thing: the
timers of a suspended machine go on, so on waking they are due at once, where in life they would wait for their rest.
"""

# pyright: reportPrivateUsage=false

import hashlib
import math
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, cast

import trio
from trio._core import _run as trio_run

_IDLE_SECONDS = 0.01
_IDLE_MAX = 500


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

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
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


def hold_back() -> None:
    """From now on, in this run of trio, `Holdable.held` counts."""
    runner = _runner()
    runner.runq = _RunQueue(runner.runq)


@contextmanager
def repeatable(seed: int) -> Generator[None]:
    """trio's order of tasks depends on `seed` alone."""
    before, trio_run._ALLOW_DETERMINISTIC_SCHEDULING = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, True
    state = trio_run._r.getstate()
    trio_run._r.seed(seed)
    try:
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
