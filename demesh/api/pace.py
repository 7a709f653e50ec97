"""Turns: so many a second, whoever takes them; who comes sooner waits."""

import math

import trio


class Pace:
    """`burst` turns may be taken at once after a while without any."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._gap_seconds = 1 / per_second
        self._burst = burst
        self._next = -math.inf

    async def turn(self) -> None:
        """Wait for a turn, in the order of coming."""
        now = trio.current_time()
        at = max(self._next, now - (self._burst - 1) * self._gap_seconds)
        self._next = at + self._gap_seconds
        if at > now:
            await trio.sleep_until(at)
        else:
            await trio.lowlevel.checkpoint()
