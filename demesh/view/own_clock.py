"""How far this node's own wall clock is off, by its own NTP checks. Pure.

What counts is what the servers say that can be believed, whether or not the offset is what a check expects: it may be this node
that is wrong. The middle of all, so one server of three may lie. It is *proven* only by three servers or more of which most
agree: one or two may be what is wrong, and nobody is woken for their word.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from demesh.limits import CLOCK_SKEW_MS_MAX

_SERVERS_MIN = 3
_AGREE_MS = CLOCK_SKEW_MS_MAX / 2


@dataclass(frozen=True, slots=True)
class OwnClock:
    """`ahead_ms` is by how much it is ahead of the time that `checks` NTP checks tell, `agree` of them; negative: behind."""

    ahead_ms: float
    checks: int
    agree: int

    @property
    def is_proven(self) -> bool:
        return self.checks >= _SERVERS_MIN and 2 * self.agree > self.checks


def own_clock(offsets_us: Sequence[int]) -> OwnClock | None:
    """From how far each server is ahead of this node. None if there is none."""
    if not offsets_us:
        return None
    middle_us = median(offsets_us)
    agree = sum(abs(each - middle_us) <= 1_000 * _AGREE_MS for each in offsets_us)
    return OwnClock(-middle_us / 1_000, len(offsets_us), agree)
