"""When results become an entry: after the flush interval, when a full entry's worth is waiting, or at once on a change.

Pure: time comes in as monotonic milliseconds.
"""

from demesh import limits
from demesh.log.results import Result


def promise_ms(flush_interval_ms: int) -> int:
    """What an entry may promise: the next one will exist within this time."""
    return 2 * flush_interval_ms + 5_000


class Batch:
    """Results that wait for the next entry, and when that is due."""

    def __init__(self, flush_interval_ms: int, now_ms: int) -> None:
        self._flush_interval_ms = flush_interval_ms
        self._waiting: list[Result] = []
        self._urgent = 0  # so many of those that wait, from the oldest on, must not wait longer
        self._due_ms = now_ms + flush_interval_ms

    @property
    def due_ms(self) -> int:
        """When the next entry must be written, even if only as a heartbeat."""
        return self._due_ms

    @property
    def promise_ms(self) -> int:
        """What an entry written now may promise."""
        return promise_ms(self._flush_interval_ms)

    def add(self, result: Result, now_ms: int, *, urgent: bool) -> None:
        self._waiting.append(result)
        if urgent:
            self._urgent = len(self._waiting)
        if urgent or len(self._waiting) >= limits.RESULTS_PER_FLUSH_MAX:
            self._due_ms = now_ms

    def take(self, now_ms: int) -> tuple[Result, ...]:
        """What the entry written now shall hold, the oldest first. More may be waiting: look at `due_ms` again."""
        taken, self._waiting = (
            self._waiting[: limits.RESULTS_PER_FLUSH_MAX],
            self._waiting[limits.RESULTS_PER_FLUSH_MAX :],
        )
        self._urgent = max(0, self._urgent - len(taken))
        again = self._urgent or len(self._waiting) >= limits.RESULTS_PER_FLUSH_MAX
        self._due_ms = now_ms if again else now_ms + self._flush_interval_ms
        return tuple(taken)
