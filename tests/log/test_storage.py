import threading
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from demesh.log.storage import ThreadStorage
from demesh.log.store import Carried, Store
from tests.log.builders import MESH, log_of, owners

_ANN = log_of("ann", 5)
_LOG = _ANN[0].log


class _SlowStore(Store):
    """Holds each commit up until it is let go, and notes the threads that come by."""

    def __init__(self) -> None:
        super().__init__(Path(":memory:"), mesh_id=MESH)
        self.let_go = threading.Event()
        self.threads: set[int] = set()

    def commit(self, *entries: Any, **details: Any) -> Carried:
        self.threads.add(threading.get_ident())
        assert self.let_go.wait(10)
        return super().commit(*entries, **details)


async def _commit(storage: ThreadStorage, first: int, last: int) -> None:
    await storage.commit(_ANN[first : last + 1], public_keys=owners(_ANN), own=True)


@pytest.mark.trio
async def test_disk_waits_do_not_stop_the_event_loop_and_calls_keep_their_order() -> None:
    store = _SlowStore()
    storage = ThreadStorage(store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_commit, storage, 0, 2)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(_commit, storage, 3, 4)
        await trio.testing.wait_all_tasks_blocked()
        store.let_go.set()
        found, bad = await storage.read(_LOG, 0, 99, 2**40)
    assert (found, bad) == (_ANN, [])
    assert threading.get_ident() not in store.threads


@pytest.mark.trio
async def test_commit_whose_waiter_is_cancelled_goes_on_to_its_end() -> None:
    store = _SlowStore()
    storage = ThreadStorage(store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_commit, storage, 0, 4)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        store.let_go.set()
    assert store.read(_LOG, 0, 99)[0] == _ANN
