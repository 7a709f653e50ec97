"""The store as the node's tasks use it: the same calls, but awaited.

`ThreadStorage` keeps disk waits off the event loop: one thread at a time, in order. A simulation brings a `Storage` of its
own. Part of the store, so the one place in this package besides it that may know trio.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Protocol, TypeVar

import trio

from demesh.log.entry import BadRow, Entry
from demesh.log.store import Carried, Store
from demesh.pulse import Waiting

_T = TypeVar("_T")


class Storage(Protocol):
    """See `demesh.log.store.Store` for what each call promises and raises."""

    async def commit(self, entries: Sequence[Entry], *, public_keys: Mapping[bytes, bytes], own: bool) -> Carried: ...

    async def read(self, log: bytes, first: int, last: int, bytes_max: int) -> tuple[list[Entry], list[BadRow]]: ...

    async def read_on(self, log: bytes, first: int, bytes_max: int) -> list[Entry]: ...

    async def call(self, call: Callable[[Store], _T]) -> _T:
        """What is done rarely needs no method of its own here. `call` gets the store to itself while it runs."""
        ...


class ThreadStorage:
    def __init__(self, store: Store, waiting: Waiting = nullcontext) -> None:
        """`waiting` wraps each wait for the disk, its queue included."""
        self._store = store
        self._waiting = waiting
        self._one_at_a_time = trio.CapacityLimiter(1)

    async def commit(self, entries: Sequence[Entry], *, public_keys: Mapping[bytes, bytes], own: bool) -> Carried:
        # A commit whose waiter was cancelled goes on to its end: what it leaves behind is never half a transaction.
        return await self.call(lambda store: store.commit(entries, public_keys=public_keys, own=own))

    async def read(self, log: bytes, first: int, last: int, bytes_max: int) -> tuple[list[Entry], list[BadRow]]:
        return await self.call(lambda store: store.read(log, first, last, bytes_max=bytes_max))

    async def read_on(self, log: bytes, first: int, bytes_max: int) -> list[Entry]:
        return await self.call(lambda store: store.read_on(log, first, bytes_max=bytes_max))

    async def call(self, call: Callable[[Store], _T]) -> _T:
        with self._waiting():
            return await trio.to_thread.run_sync(call, self._store, limiter=self._one_at_a_time)
