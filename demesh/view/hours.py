"""The last 24 hours of a check, hour by hour: what a heartbeat bar is drawn from. Pure.

It is kept the way it is told, as columns and rounded: it is worked out once a look back, and told with every status.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from demesh.log.sums import HOUR_MS

_DIGITS = 4


class Observation(Protocol):
    """See `demesh.view.uptime.Observed`."""

    @property
    def up_ms(self) -> int: ...

    @property
    def down_ms(self) -> int: ...

    @property
    def seen_ms(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Hours:
    """The first begins at `first_ms` (Unix time); the last is not over. As in `demesh.view.uptime`, `up_ratio` is of what was
    observed, None where nothing was, and `coverage` is how much of the hour was, so far.
    """

    first_ms: int
    up_ratio: tuple[float | None, ...]
    coverage: tuple[float, ...]


def hours_of(observed: Sequence[Mapping[str, Observation]], first_ms: int, now_ms: int) -> dict[str, Hours]:
    """By check. `observed` is of the hours from `first_ms` on, by check each."""
    lengths_ms = [min(HOUR_MS, now_ms - first_ms - number * HOUR_MS) for number in range(len(observed))]
    found: dict[str, Hours] = {}
    for name in {name for hour in observed for name in hour}:
        of_check = [hour.get(name) for hour in observed]
        found[name] = Hours(
            first_ms,
            tuple(_ratio(each) if each else None for each in of_check),
            tuple(
                _told(each.seen_ms / length) if each else 0 for each, length in zip(of_check, lengths_ms, strict=True)
            ),
        )
    return found


def _ratio(observed: Observation) -> float | None:
    watched_ms = observed.up_ms + observed.down_ms
    return _told(observed.up_ms / watched_ms) if watched_ms else None


def _told(share: float) -> float:
    """Rounded, but never to all or nothing what is not: a bar shall show that something was."""
    if share <= 0 or share >= 1:
        return int(share > 0)  # as whole numbers: most are, and they are told in a fraction of the time
    return min(max(round(share, _DIGITS), 10**-_DIGITS), 1 - 10**-_DIGITS)
