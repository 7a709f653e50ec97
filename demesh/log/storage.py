"""The store as the node's tasks use it: the same calls, but awaited.

`ThreadStorage` keeps disk waits off the event loop: one thread at a time, in order. A simulation brings a `Storage` of its
own. Part of the store, so the one place in this package besides it that may know trio.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import trio

from demesh.log.entry import BadRow, Entry
from demesh.log.store import Store


class Storage(Protocol):
    """See `demesh.log.store.Store` for what each call promises and raises."""

    async def commit(
        self, entries: Sequence[Entry], *, public_keys: Mapping[bytes, bytes], received_ms: int, own: bool
    ) -> None: ...

    async def read(self, log: bytes, first: int, last: int, bytes_max: int) -> tuple[list[Entry], list[BadRow]]: ...

    async def read_on(self, log: bytes, first: int, bytes_max: int) -> list[Entry]: ...


class ThreadStorage:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._one_at_a_time = trio.CapacityLimiter(1)

    async def commit(
        self, entries: Sequence[Entry], *, public_keys: Mapping[bytes, bytes], received_ms: int, own: bool
    ) -> None:
        def call() -> None:
            self._store.commit(entries, public_keys=public_keys, received_ms=received_ms, own=own)

        # A commit whose waiter was cancelled goes on to its end: what it leaves behind is never half a transaction.
        await trio.to_thread.run_sync(call, limiter=self._one_at_a_time)

    async def read(self, log: bytes, first: int, last: int, bytes_max: int) -> tuple[list[Entry], list[BadRow]]:
        def call() -> tuple[list[Entry], list[BadRow]]:
            return self._store.read(log, first, last, bytes_max=bytes_max)

        return await trio.to_thread.run_sync(call, limiter=self._one_at_a_time)

    async def read_on(self, log: bytes, first: int, bytes_max: int) -> list[Entry]:
        def call() -> list[Entry]:
            return self._store.read_on(log, first, bytes_max=bytes_max)

        return await trio.to_thread.run_sync(call, limiter=self._one_at_a_time)
