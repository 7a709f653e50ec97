"""The entries of one log on a line of time, by their author's own clocks.

Within a boot the up clock says how far entries are apart; where that boot lies among all times is the median of what the wall
clock said in it. So a wall clock that is stepped within a boot, or starts in 1970, moves nothing, and never turns the order of a
log around. Boots follow each other: one whose clock was so wrong that it would overlap its neighbour is moved up to it, seen from
the boot with most entries.

Guarantees: the same dates from the same entries, on any machine. Not told: by how much an author's clock was wrong all the time.
"""

from array import array
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Boot:
    first_up_ms: int
    last_up_ms: int
    distances_ms: "array[int]" = field(default_factory=lambda: array("q"))


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in a log: the number of the boot, counted from the first one noted, and the up time in it."""

    boot: int
    up_ms: int

    def later(self, ms: int) -> "Moment":
        return Moment(self.boot, self.up_ms + ms)


class Timeline:
    """Note the entries of a log in order, then ask for dates."""

    def __init__(self) -> None:
        self._boots: list[_Boot] = []
        self._boot8: bytes | None = None
        self._origins_ms: list[int] = []

    def note(self, boot8: bytes, up_ms: int, wall_ms: int) -> Moment:
        if boot8 != self._boot8:
            self._boot8 = boot8
            self._boots.append(_Boot(up_ms, up_ms))
        boot = self._boots[-1]
        boot.last_up_ms = max(boot.last_up_ms, up_ms)
        boot.distances_ms.append(wall_ms - up_ms)
        self._origins_ms = []
        return Moment(len(self._boots) - 1, up_ms)

    def wall_ms(self, moment: Moment) -> int:
        """Unix time."""
        if not self._origins_ms:
            self._origins_ms = self._place()
        return self._origins_ms[moment.boot] + moment.up_ms

    def _place(self) -> list[int]:
        boots = self._boots
        origins = [sorted(boot.distances_ms)[len(boot.distances_ms) // 2] for boot in boots]
        surest = max(range(len(boots)), key=lambda index: (len(boots[index].distances_ms), -index))
        for index in range(surest + 1, len(boots)):
            ended_ms = origins[index - 1] + boots[index - 1].last_up_ms
            origins[index] = max(origins[index], ended_ms - boots[index].first_up_ms)
        for index in range(surest - 1, -1, -1):
            began_ms = origins[index + 1] + boots[index + 1].first_up_ms
            origins[index] = min(origins[index], began_ms - boots[index].last_up_ms)
        return origins
