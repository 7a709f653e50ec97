"""Blocking calls of probes, in threads that are left behind at the deadline.

Guarantees: the caller is never held up by a call that does not return; a call that was left behind is not made again before
it has ended, so what hangs for good costs one thread, however often it is asked for; at most PROBE_THREADS_MAX are busy,
those left behind included; they end with the process. Of these an eighth (UNPROVEN_SHARE) is kept for calls that returned
the last time, so that these go on however many others hang.

Not guaranteed: that a call is made for the first time when as many as the other seven eighths, 896, hang for good; it is refused
then. A call that holds Python's interpreter lock for long delays everything: that cannot be prevented within one process.
"""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

import trio

from demesh import limits
from demesh.errors import DemeshError
from demesh.metrics import REFUSED

T = TypeVar("T")


class NoThread(DemeshError):
    """A call was not made. The message is a phrase without a full stop."""


@dataclass(slots=True)
class _Call:
    begun: bool = False
    ended: bool = False


class Threads:
    """The threads of one kind of probe."""

    def __init__(self, most: int = limits.PROBE_THREADS_MAX) -> None:
        self._limiter = trio.CapacityLimiter(most)
        self._unproven_most = int(most * limits.UNPROVEN_SHARE)
        self._proven: set[Hashable] = set()
        self._lock = threading.Lock()
        self._left_behind: set[Hashable] = set()

    async def run(self, key: Hashable, function: Callable[[], T]) -> T:
        """What `function` returns or raises; `key` says which calls are the same. Raises NoThread.

        When cancelled it goes on by itself, and its answer is lost.
        """
        if key in self._left_behind:
            await _refuse("hanging", "an earlier run of it still hangs")
        most = self._limiter.total_tokens if key in self._proven else self._unproven_most
        if self._limiter.borrowed_tokens >= most:
            await _refuse("threads", "others that hang take up all threads there are")
        call = _Call()

        def in_thread() -> T:
            call.begun = True
            try:
                return function()
            finally:
                with self._lock:
                    call.ended = True
                    self._left_behind.discard(key)

        try:
            returned = await trio.to_thread.run_sync(in_thread, abandon_on_cancel=True, limiter=self._limiter)
        except trio.Cancelled:
            with self._lock:
                if call.begun and not call.ended:
                    self._left_behind.add(key)
            self._proven.discard(key)
            raise
        if len(self._proven) >= limits.CHECKS_MAX:  # checks come and go
            self._proven.clear()
        self._proven.add(key)
        return returned


async def _refuse(reason: str, phrase: str) -> None:
    REFUSED.labels("probes", reason).inc()
    await trio.lowlevel.checkpoint()
    raise NoThread(phrase)
