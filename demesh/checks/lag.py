"""How late the node's own event loop was, so that a result taken meanwhile can be told from a sound one.

While anything is watched, a heartbeat asks to be woken every 100 ms and notes how much later it was. A loop that stood still
for D ms is found out with at least D − 100 ms. Pauses of the whole process (a stopped one, a stalled machine) count too, as
far as the monotonic clock goes on during them. While nothing is watched, nothing wakes.
"""

from collections import deque
from typing import Self

import trio

from demesh import limits
from demesh.clock import Clock

_BEAT_MS = 100


class LoopLag:
    """`watch` must be running for pauses to be noted. Times are monotonic milliseconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watched = 0
        self._wake = trio.Event()
        self._beat_due_ms: int | None = None
        self._late: deque[tuple[int, int]] = deque(maxlen=limits.LOOP_PAUSES_KEPT_MAX)

    def watched(self) -> Self:
        """A context: watch the loop meanwhile. Several may overlap."""
        return self

    def __enter__(self) -> None:
        self._watched += 1
        if self._beat_due_ms is None:
            self._beat_due_ms = _next_beat_ms(self._clock.monotonic_ms())
            self._wake.set()

    def __exit__(self, *_: object) -> None:
        self._watched -= 1

    def worst_since_ms(self, since_ms: int) -> int:
        """The longest lateness that reached into the time from `since_ms` until now."""
        now_ms = self._clock.monotonic_ms()
        # The beat may be due and be woken after whoever asks.
        overdue_ms = now_ms - self._beat_due_ms if self._beat_due_ms is not None else 0
        return max(0, overdue_ms, *(late_ms for ended_ms, late_ms in self._late if ended_ms > since_ms))

    async def watch(self) -> None:
        """Beat until cancelled."""
        while True:
            if not self._watched or self._beat_due_ms is None:
                self._beat_due_ms = None
                self._wake = trio.Event()
                await self._wake.wait()
                continue
            await trio.sleep(max(0, self._beat_due_ms - self._clock.monotonic_ms()) / 1_000)
            now_ms = self._clock.monotonic_ms()
            if now_ms - self._beat_due_ms >= limits.LATENESS_NOTED_MS:
                self._late.append((now_ms, now_ms - self._beat_due_ms))
            self._beat_due_ms = _next_beat_ms(now_ms)


def _next_beat_ms(now_ms: int) -> int:
    """At a multiple, where the runner's ticks are too: waking for both at once costs half."""
    return (now_ms // _BEAT_MS + 1) * _BEAT_MS
