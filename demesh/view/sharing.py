"""Whether a member's key is in use on two machines at once: a disk that was copied and now runs twice.

A node that restarts ends one log before it begins the next. Two logs of one key that both *go on*, side by side, are written
by two nodes. Here that is: each has shown at least two signs of life, the spans of their signs overlap by more than clocks and
deliveries may blur, and neither has fallen silent since. Pure; times are monotonic milliseconds of the observer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from demesh import limits

_BLUR_MS = 2_000


@dataclass(frozen=True, slots=True)
class Span:
    """From the first to the last sign of life that one log gave since we listen, and the promise in the last."""

    first_ms: int
    last_ms: int
    next_ms: int

    def grown(self, at_ms: int, next_ms: int) -> "Span":
        return Span(self.first_ms, at_ms, next_ms) if at_ms >= self.last_ms else self

    def goes_on(self, now_ms: int) -> bool:
        return now_ms - self.last_ms <= self.next_ms + limits.SILENT_AFTER_SUSPECT_MS


def is_shared(spans: Iterable[Span], now_ms: int) -> bool:
    """Whether two of one key's logs, by the spans of their signs, are written by two nodes."""
    going: Sequence[Span] = [each for each in spans if each.goes_on(now_ms) and each.last_ms - each.first_ms > _BLUR_MS]
    return any(
        min(one.last_ms, other.last_ms) - max(one.first_ms, other.first_ms) > _BLUR_MS
        for one, other in combinations(going, 2)
    )
