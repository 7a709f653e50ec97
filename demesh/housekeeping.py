"""Housekeeping: sees to it that the store forgets in time (`demesh.log.retention`) and stays within its size.

Guarantees: results older than `raw_ms` are forgotten once a checkpoint of their author that covers them is held by three
living members, or by all of them, and at twice that age in any case; rollups at `hours_ms`; of logs that are gone as a whole,
everything. `size_max` always wins: when the store comes within a twentieth of it, the oldest results go first, wherever they
are from, then the oldest rollups. So it stays within its size if less than a twentieth of it comes in ten minutes. All in small
steps, so that nothing waits for long.

The date that all this is measured against moves no faster than time itself: a wall clock that jumps ahead while the node runs
makes it forget nothing, unless it stays there for an hour: then it was the clock before that was wrong. Not guaranteed: the
same for a clock that is ahead when the node starts.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import trio

from demesh import limits
from demesh.clock import Clock
from demesh.log.chain import Logs
from demesh.log.retention import Terms, halve, shorten, superseded
from demesh.log.state import LogState
from demesh.log.storage import Storage
from demesh.log.store import Store
from demesh.log.sums import DAY_MS
from demesh.metrics import STORE_FORGOTTEN
from demesh.view.history import Checkpointed

log = logging.getLogger(__name__)
_ROUND_SECONDS = 600
_FIRST_ROUND_SECONDS = 60
_WITNESSES = 3
_PRESSURE_BEGINS = 0.95  # so that what comes until the next round has room
_PRESSURE_GOAL = 0.9
_DRIFT_MS = 60_000
_CONFIRMED_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Retention:
    raw_ms: int = limits.STORE_RAW_DAYS_DEFAULT * DAY_MS
    hours_ms: int = limits.STORE_HOUR_DAYS_DEFAULT * DAY_MS
    size_max: int = limits.STORE_BYTES_DEFAULT
    """Bytes, of log.db and view.db together."""


class Books(Protocol):
    """What is asked of the historian; see `demesh.historian.Historian`."""

    def checkpoint(self, public_key: bytes) -> Checkpointed | None: ...

    async def forget(self, open_before_ms: int, hours_before_ms: int) -> None: ...


Holders = Callable[[bytes, int], tuple[int, int]]
"""(log, seq): how many living members hold that log up to there, and how many are living; this node counts in both."""


class Housekeeper:
    def __init__(
        self,
        retention: Retention,
        storage: Storage,
        logs: Logs,
        books: Books,
        clock: Clock,
        holders: Holders,
        history_bytes: Callable[[], int],
        warn: Callable[[str], Awaitable[None]],
    ) -> None:
        self._retention = retention
        self._storage = storage
        self._logs = logs
        self._books = books
        self._clock = clock
        self._holders = holders
        self._history_bytes = history_bytes
        self._warn = warn
        self._date_ms = clock.wall_ms()
        self._looked_ms = self._ahead_since_ms = clock.monotonic_ms()
        self._pressed = False

    async def run(self) -> None:
        """Tidy up now and then, until cancelled. Raises StoreError."""
        await trio.sleep(_FIRST_ROUND_SECONDS)
        while True:
            await self.tidy()
            await trio.sleep(_ROUND_SECONDS)

    async def tidy(self) -> None:
        """One round. Raises StoreError."""
        now_ms = self._date()
        rules = self._retention
        old = await self._superseded()
        for state in self._logs.states():
            before_ms = now_ms - (rules.raw_ms if self._is_summed(state, now_ms) else 2 * rules.raw_ms)
            if state.log in old:
                before_ms = max(before_ms, self._summed_until_ms(state))
            await self._shorten(state, Terms(before_ms, now_ms - rules.hours_ms))
        await self._books.forget(now_ms - 2 * rules.raw_ms, now_ms - rules.hours_ms)
        await self._clear()
        await self._press(now_ms)
        while await self._storage.call(lambda store: store.release(limits.RETENTION_PAGES_MAX)):
            pass

    async def _clear(self) -> None:
        """Remove what is left of logs that are gone as a whole."""
        while removed := await self._storage.call(lambda store: store.clear(limits.RETENTION_ROWS_MAX)):
            STORE_FORGOTTEN.inc(removed)

    async def _press(self, now_ms: int) -> None:
        """Forget more than age asks for, until the store is within its size."""
        size_max, size = self._retention.size_max, await self._size()
        pressed = size > size_max * _PRESSURE_BEGINS
        if pressed and not self._pressed:
            said = f"The store takes {size} bytes of at most {size_max}: what is oldest is forgotten early."
            log.warning("%s", said)
            await self._warn(said)
        self._pressed = pressed
        for raw_ms, hours_ms in self._shorter_times() if pressed else ():
            for state in self._logs.states():
                await self._shorten(state, Terms(now_ms - raw_ms, now_ms - hours_ms))
            await self._books.forget(now_ms - 2 * raw_ms, now_ms - hours_ms)
            size = await self._size()
            if size <= size_max * _PRESSURE_GOAL:
                return
        # What is left is dated ahead: of an author whose clock is wrong the older half goes, however old it says that it is.
        while size > size_max and (longest := max(self._logs.states(), key=_whole, default=None)) is not None:
            if _whole(longest) < limits.RETENTION_ENTRIES_MIN:
                break
            await self._forget_of(longest, lambda store, state=longest: halve(store, state))
            size = await self._size()
        if size > size_max:
            log.error("The store takes %d bytes, and there is nothing left to forget.", size)

    def _shorter_times(self) -> Iterator[tuple[int, int]]:
        """Pairs of times for results and for rollups: the results' shrinks first."""
        raw_ms, hours_ms = self._retention.raw_ms, self._retention.hours_ms
        while raw_ms > limits.RETENTION_RAW_MS_MIN:
            raw_ms = max(limits.RETENTION_RAW_MS_MIN, raw_ms * 4 // 5)
            yield raw_ms, hours_ms
        while hours_ms > DAY_MS:
            hours_ms = max(DAY_MS, hours_ms * 4 // 5)
            yield raw_ms, hours_ms

    async def _shorten(self, state: LogState, terms: Terms) -> None:
        await self._forget_of(state, lambda store: shorten(store, state, terms))

    async def _forget_of(self, state: LogState, forget: Callable[[Store], int]) -> None:
        """Call `forget` until it forgets nothing more of a log."""
        removed = 0
        while forgotten := await self._storage.call(forget):
            removed += forgotten
        if removed:
            pruned_to = await self._storage.call(lambda store: store.pruned_to(state.log))
            self._logs.shortened(state.log, pruned_to)
            STORE_FORGOTTEN.inc(removed)

    def _is_summed(self, state: LogState, now_ms: int) -> bool:
        """Whether enough living members hold a checkpoint of the log's owner that covers what is old enough to forget."""
        checkpoint = self._books.checkpoint(state.public_key)
        if checkpoint is None or checkpoint.day < (now_ms - self._retention.raw_ms) // DAY_MS:
            return False
        holding, living = self._holders(checkpoint.log, checkpoint.head.seq)
        return holding >= min(_WITNESSES, living)

    def _summed_until_ms(self, state: LogState) -> int:
        """Until when (Unix) the log's owner has summed all days, whichever of its logs they are in."""
        checkpoint = self._books.checkpoint(state.public_key)
        return (checkpoint.day + 1) * DAY_MS if checkpoint else 0

    async def _superseded(self) -> set[bytes]:
        states = self._logs.states()

        def dated(store: Store) -> list[tuple[LogState, int]]:
            return [(state, store.wall_ms_at(state.log, state.head.seq) or 0) for state in states]

        return superseded(await self._storage.call(dated))

    async def _size(self) -> int:
        return self._history_bytes() + await self._storage.call(lambda store: store.used_bytes())

    def _date(self) -> int:
        """The wall clock, but no further ahead of the last look than time has passed, until it has been so for an hour."""
        now_ms, wall_ms = self._clock.monotonic_ms(), self._clock.wall_ms()
        expected_ms = self._date_ms + (now_ms - self._looked_ms) + _DRIFT_MS
        if wall_ms <= expected_ms:
            self._ahead_since_ms = now_ms
        if now_ms - self._ahead_since_ms >= _CONFIRMED_MS:
            expected_ms = wall_ms
        self._date_ms, self._looked_ms = min(wall_ms, expected_ms), now_ms
        return self._date_ms


def _whole(state: LogState) -> int:
    """How many entries of a log are held without a gap."""
    return state.head.seq - state.pruned_to
