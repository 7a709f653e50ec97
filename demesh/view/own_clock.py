"""How far this node's own wall clock is off, by its own NTP checks. Pure.

What counts is what the servers say that can be believed, whether or not the offset is what a check expects: it may be this node
that is wrong. The middle of all, so one server of three may lie.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class OwnClock:
    """`ahead_ms` is by how much it is ahead of the time that `checks` NTP checks tell; negative: behind."""

    ahead_ms: float
    checks: int


def own_clock(offsets_us: Sequence[int]) -> OwnClock | None:
    """From how far each server is ahead of this node. None if there is none."""
    return OwnClock(-median(offsets_us) / 1_000, len(offsets_us)) if offsets_us else None
