"""Whose wall clock is off, judged by the others' and not by one's own. Pure.

A living member's entry says when it was written by two clocks of its author; as the one is known on our monotonic clock
(`demesh.view.freshness`), the other's distance from it can be compared between members. Off is who is away from the middle of
all. Of two nobody knows which one is wrong: they are off together. A member seems behind by the time of the fastest delivery.
"""

from collections.abc import Mapping
from statistics import median

_JUDGES_MIN = 3


def deviations_ms(offsets_ms: Mapping[bytes, int]) -> dict[bytes, int]:
    """By how much each member's wall clock is ahead of the middle of all; of two, of the other's. Empty for fewer.

    `offsets_ms` are wall time less monotonic time, for each member that is alive, this node included.
    """
    if len(offsets_ms) < _JUDGES_MIN - 1:
        return {}
    if len(offsets_ms) < _JUDGES_MIN:
        (one, one_ms), (other, other_ms) = offsets_ms.items()
        return {one: one_ms - other_ms, other: other_ms - one_ms}
    middle_ms = round(median(offsets_ms.values()))
    return {key: ms - middle_ms for key, ms in offsets_ms.items()}


def can_tell_who(deviations: Mapping[bytes, int]) -> bool:
    """Whether it is known which of them is wrong."""
    return len(deviations) >= _JUDGES_MIN
