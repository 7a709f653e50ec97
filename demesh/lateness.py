"""How late this process is: what it measures on itself to know whether its results can be believed.

A task sleeps for a short while again and again and notes by how much it overslept. That is what every probe waits for too:
a blocked event loop, a busy machine, a stopped process.
"""

from collections import deque

import trio

from demesh import limits
from demesh.clock import Clock
from demesh.metrics import LATENESS

_SLEEP_MS = 500  # to wake a process that slept costs it a millisecond


class Lateness:
    """The newest LATENESS_SAMPLES_MAX measurements: five minutes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._samples_ms: deque[int] = deque(maxlen=limits.LATENESS_SAMPLES_MAX)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            now_ms = self._clock.monotonic_ms()
            due_ms = (now_ms // _SLEEP_MS + 1) * _SLEEP_MS  # at a multiple, where the runner's ticks are too
            await trio.sleep((due_ms - now_ms) / 1_000)
            self.note(max(0, self._clock.monotonic_ms() - due_ms))

    def note(self, late_ms: int) -> None:
        self._samples_ms.append(late_ms)
        LATENESS.observe(late_ms / 1_000)

    def p99_ms(self) -> int:
        """Ninety-nine of a hundred were at most so late; 0 before the first."""
        ordered = sorted(self._samples_ms)
        return ordered[len(ordered) * 99 // 100] if ordered else 0
