"""The history's store as the node's tasks use it: the same calls, but awaited; one thread at a time, in order."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TypeVar

import trio

from demesh.log.carry import CarriedRow
from demesh.pulse import Waiting
from demesh.view.history import History, Signed
from demesh.view.history_store import HistoryStore, make_anew
from demesh.view.record import Record
from demesh.view.uptime import OpenHistory, Past, look_back

_T = TypeVar("_T")


class ThreadHistoryStorage:
    """See `demesh.historian.HistoryStorage`."""

    def __init__(self, store: HistoryStore, waiting: Waiting = nullcontext) -> None:
        """`waiting` wraps each wait for the disk, its queue included."""
        self._store = store
        self._waiting = waiting
        self._one_at_a_time = trio.CapacityLimiter(1)

    async def save(
        self, history: History, signed: Sequence[Signed], dirty: Sequence[bytes], gone: Sequence[bytes]
    ) -> None:
        await self._run(partial(self._store.save, history, signed, dirty, gone))

    async def save_votes(self, rows: Sequence[tuple[bytes, int, bytes]]) -> None:
        await self._run(partial(self._store.save_votes, rows))

    async def look_back(self, open_: OpenHistory, now_ms: int) -> dict[str, Past]:
        return await self._run(partial(look_back, self._store, open_, now_ms))

    async def days_signed(self, first_ms: int, end_ms: int) -> set[tuple[bytes, str, int]]:
        return await self._run(partial(self._store.days_signed, first_ms, end_ms))

    async def records(self, now_ms: int) -> dict[str, dict[bytes, Record]]:
        return await self._run(partial(self._store.records, now_ms))

    async def days_in(self, logs: Sequence[bytes]) -> dict[bytes, list[CarriedRow]]:
        return await self._run(partial(self._store.days_in, logs))

    async def scrub(self, rows_max: int) -> bool:
        return await self._run(partial(self._store.scrub, rows_max))

    async def forget(self, hours_before_ms: int) -> None:
        await self._run(partial(self._store.forget, hours_before_ms))

    async def make_anew(self) -> None:
        await self._run(self._make_anew)

    def _make_anew(self) -> None:
        self._store.close()
        self._store = make_anew(self._store.path)

    async def _run(self, call: Callable[[], _T]) -> _T:
        with self._waiting():
            return await trio.to_thread.run_sync(call, limiter=self._one_at_a_time)
