"""Blocking calls of probes, in threads that are left behind at the deadline.

Guarantees: the caller is never held up by a call that does not return; at most PROBE_THREADS_MAX threads are busy, those left
behind included, so what hangs for good costs a bounded number of them; they end with the process. A call that holds Python's
interpreter lock for long delays everything all the same: that cannot be prevented within one process.
"""

from collections.abc import Callable
from typing import TypeVar

import trio

from demesh import limits
from demesh.errors import DemeshError
from demesh.metrics import REFUSED

T = TypeVar("T")


class TooManyThreads(DemeshError):
    """All threads are busy, which hung calls must have brought about."""


class Threads:
    """The threads of one kind of probe."""

    def __init__(self, most: int = limits.PROBE_THREADS_MAX) -> None:
        self._limiter = trio.CapacityLimiter(most)

    async def run(self, call: Callable[[], T]) -> T:
        """What `call` returns or raises. When cancelled it goes on by itself and its answer is lost. Raises TooManyThreads."""
        if not self._limiter.available_tokens:
            REFUSED.labels("probes", "threads").inc()
            await trio.lowlevel.checkpoint()
            raise TooManyThreads(f"{self._limiter.total_tokens:.0f} earlier calls hang")
        return await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._limiter)
