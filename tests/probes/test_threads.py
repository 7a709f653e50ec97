"""Threads that hang for good cost those that return nothing. In real time: a thread knows no other."""

import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from demesh.probes.threads import NoThread, Threads

pytestmark = pytest.mark.trio
_MOST = 16
_SHARE = 14  # of those that did not return the last time


@asynccontextmanager
async def _left_behind(threads: Threads, count: int) -> AsyncGenerator[None]:
    """So many calls that hang until the end of the block."""
    released, begun = threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        begun.release()
        released.wait()

    async with trio.open_nursery() as nursery:
        for n in range(count):
            nursery.start_soon(threads.run, f"hung {n}", hang)
        with trio.fail_after(10):
            for _ in range(count):
                await trio.to_thread.run_sync(begun.acquire)
        nursery.cancel_scope.cancel()
    try:
        yield
    finally:
        released.set()


async def test_what_returned_the_last_time_has_threads_however_many_others_hang_for_good() -> None:
    threads = Threads(_MOST)
    assert await threads.run("quick", lambda: 1) == 1
    async with _left_behind(threads, _SHARE):
        with trio.fail_after(10):
            assert await threads.run("quick", lambda: 2) == 2
            assert await threads.run("quick", lambda: 3) == 3
        with pytest.raises(NoThread, match="take up all threads"):
            await threads.run("new", lambda: 1)


async def test_a_first_call_has_a_thread_until_seven_eighths_hang() -> None:
    threads = Threads(_MOST)
    async with _left_behind(threads, _SHARE - 1):
        assert await threads.run("new", lambda: 1) == 1


async def test_what_hangs_takes_one_thread_however_often_it_is_asked_for() -> None:
    threads = Threads(_MOST)
    async with _left_behind(threads, 1):
        for _ in range(2 * _MOST):
            with pytest.raises(NoThread, match="still hangs"):
                await threads.run("hung 0", lambda: 1)
        assert await threads.run("new", lambda: 1) == 1
