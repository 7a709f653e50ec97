"""Whether a member's key is in use on two machines at once: a disk that was copied and now runs twice.

A node that restarts ends one log before it begins the next, and never comes back to it. Two signs tell of two nodes:

- two logs of one key *go on*, side by side: each has shown at least two signs of life, the spans of their signs overlap by
  more than clocks and deliveries may blur, and neither has fallen silent since (`is_shared`);
- a peer says that it writes one log, then another, then the first again (`Greetings`). Of two nodes with one key a third one
  hears only through the connection of one of them, but both greet it.

Pure; times are monotonic milliseconds of the observer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Greeter:
    logs: list[bytes] = field(default_factory=list[bytes])
    """The last few that it said it writes, in the order in which it last said so."""
    came_back_ms: int | None = None


class Greetings:
    """What peers said, each over its own connection, of the log that they were writing."""

    def __init__(self) -> None:
        self._greeters: dict[bytes, _Greeter] = {}

    def note(self, public_key: bytes, log: bytes, now_ms: int) -> None:
        greeter = self._greeters.setdefault(public_key, _Greeter())
        if log in greeter.logs[:-1]:
            greeter.came_back_ms = now_ms
        others = [each for each in greeter.logs if each != log]
        greeter.logs = [*others[1 - limits.GREETED_LOGS_MAX :], log]
        while len(self._greeters) > limits.LOGS_MAX:
            del self._greeters[next(iter(self._greeters))]

    def shared(self, now_ms: int) -> set[bytes]:
        """The keys of those that came back to an earlier log in the last GREETED_SHARED_MS."""
        return {
            key
            for key, greeter in self._greeters.items()
            if greeter.came_back_ms is not None and now_ms - greeter.came_back_ms <= limits.GREETED_SHARED_MS
        }
