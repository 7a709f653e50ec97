"""The ranking of public servers (`demesh.view.ranking`) for whoever asks this node.

Guarantees: it is worked out off the event loop, by one task at a time, and again only when it is SERVERS_RANKED_AGAIN_MS old:
many readers cost as much as one. What it says of now is as old as that.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from demesh import limits
from demesh.clock import Clock
from demesh.log.sums import HOUR_MS
from demesh.view.fold import View
from demesh.view.names import shown_names
from demesh.view.ranking import Records, Server, rank
from demesh.view.servers import SERVER_TYPES


@dataclass(frozen=True, slots=True)
class Ranked:
    """The servers, best first, as of `wall_ms` (Unix time)."""

    servers: Sequence[Server]
    wall_ms: int


class Ranking:
    def __init__(self, view: View, records: Callable[[int], Awaitable[Records]], clock: Clock) -> None:
        """`records` gives what vantages recorded, as of a time (Unix), off the event loop."""
        self._view = view
        self._records = records
        self._clock = clock
        self._one_at_a_time = trio.Lock()
        self._ranked: Ranked | None = None
        self._due_ms = 0

    async def ranked(self) -> Ranked:
        async with self._one_at_a_time:
            if self._ranked is None or self._clock.monotonic_ms() >= self._due_ms:
                self._ranked = await self._rank()
                self._due_ms = self._clock.monotonic_ms() + limits.SERVERS_RANKED_AGAIN_MS
            return self._ranked

    async def _rank(self) -> Ranked:
        wall_ms = self._clock.wall_ms()
        checks = [each for each in self._view.checks(self._clock.monotonic_ms()) if each.row.type in SERVER_TYPES]
        if not checks:
            return Ranked((), wall_ms)
        names = shown_names(self._view.members())
        # What signed sums, of whole hours, still count is told as of an hour too: scores stand still where nothing happens.
        records = await self._records(wall_ms - wall_ms % HOUR_MS)
        return Ranked(await trio.to_thread.run_sync(rank, checks, records, names), wall_ms)
