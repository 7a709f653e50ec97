"""What a member's silence means, on the observer's monotonic clock.

    heard ──next_ms──> suspect ──10 s──> silent          a live entry ends either
    bye   ──back_by──> silent                            until then: away
    roaming members are away, not silent, for 7 days
    left: it said so, was forgotten, or was silent for LEFT_AFTER_MS (`demesh.view.fold`)

An entry promises that the next one will exist within `next_ms`; the promise starts when the entry was made, not when it
arrived, so a late delivery buys no time. An observer that is itself not well waits longer: it multiplies what was promised by
its `patience`. An observer that is late hears late, and would find everybody else late.
"""

from dataclasses import dataclass
from enum import StrEnum

from demesh import limits


class Presence(StrEnum):
    ALIVE = "alive"
    SUSPECT = "suspect"
    SILENT = "silent"
    AWAY = "away"
    LEFT = "left"


HERE = frozenset((Presence.ALIVE, Presence.SUSPECT))
"""Who is held to be there."""

_ROAMING_AWAY_MS = 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class LastSign:
    """A member's last sign of life: when (monotonic), what it promised, and whether it took leave."""

    at_ms: int
    next_ms: int
    back_by_ms: int | None = None
    roaming: bool = False


def presence(sign: LastSign, now_ms: int, patience: float = 1) -> Presence:
    """The presence at `now_ms` of a member whose last sign of life was `sign`."""
    quiet_ms = now_ms - sign.at_ms
    if sign.back_by_ms is not None:
        away_ms = max(sign.back_by_ms, _ROAMING_AWAY_MS) if sign.roaming else sign.back_by_ms
        return Presence.AWAY if quiet_ms <= away_ms else Presence.SILENT
    promised_ms = round(sign.next_ms * patience)
    if quiet_ms <= promised_ms:
        return Presence.ALIVE
    if quiet_ms <= promised_ms + limits.SILENT_AFTER_SUSPECT_MS:
        return Presence.SUSPECT
    return Presence.AWAY if sign.roaming and quiet_ms <= _ROAMING_AWAY_MS else Presence.SILENT


def patience(late_p99_ms: int) -> float:
    """How patient an observer must be whose own event loop is late by so much: 1, 1.5 or 2."""
    return 1 if late_p99_ms < limits.LATE_OBSERVER_MS else 1.5 if late_p99_ms < limits.VERY_LATE_OBSERVER_MS else 2
