"""The age of what a log says, without trusting any wall clock.

An entry carries its author's up time. For one boot of the author, the smallest (time of arrival on our monotonic clock −
up time) seen lately is the best guess of the distance between the two clocks; it is too large by the fastest delivery, so
ages come out too small by at most that. With it, every up time of that boot becomes a time on our own clock. "Lately" is
the last ten to twenty minutes: clocks drift apart, and a machine that was paused stays behind for good.

A log is *live* once an entry of it came over its author's own connection, or once it advanced twice, at about its own
pace, since we began to listen. What arrives within a second of the last advance is none: entries that were made close
together, as the first ones of every log, also arrive together when they are history. Only a live log gives signs of life:
history that arrives late never looks fresh.

Even on that connection last words may come long after their author's end, where the way was slow. So an entry that is ten
seconds older than the comparison of clocks from before the silence has it does not make the log live by itself; the next
one does, for its author may have been paused.
"""

Distance = tuple[bytes, int]
"""A boot, and what must be added to its up times to get ours, in milliseconds."""

_PACE_SLACK_MS = 2_000
_ADVANCES_TO_LIVE = 2
_ADVANCE_MS_MIN = 1_000
_WINDOW_MS = 600_000
_LATE_MS = 10_000


class LogClock:
    """Turns the up times of one log into times on the observer's monotonic clock."""

    __slots__ = ("_advances", "_before_ms", "_boot8", "_former_ms", "_last", "_lately_ms", "_window_ends_ms", "live")

    def __init__(self) -> None:
        self.live = False
        self._boot8 = b""
        self._lately_ms: int | None = None  # the least distance in the running window, and in the one before it
        self._before_ms: int | None = None
        self._former_ms: int | None = None  # the distance, of this boot, from before the log was lost
        self._window_ends_ms = 0
        self._last: tuple[int, int] | None = None
        self._advances = 0

    def observe(self, boot8: bytes, up_ms: int, received_ms: int, *, first_hand: bool) -> None:
        """Take note of a new entry that arrived at `received_ms` (monotonic). `first_hand`: over its author's connection."""
        if boot8 != self._boot8:
            self._boot8 = boot8
            self.lose()
            self._former_ms = None
        if received_ms >= self._window_ends_ms:
            self._before_ms, self._lately_ms = self._lately_ms, None
            self._window_ends_ms = received_ms + _WINDOW_MS
        distance_ms = received_ms - up_ms
        self._lately_ms = distance_ms if self._lately_ms is None else min(self._lately_ms, distance_ms)
        if first_hand and (self._former_ms is None or distance_ms - self._former_ms <= _LATE_MS):
            self.live = True
        if self._last is not None:
            last_up_ms, last_received_ms = self._last
            passed_ms = received_ms - last_received_ms
            at_pace = 2 * (up_ms - last_up_ms) <= 3 * passed_ms + 2 * _PACE_SLACK_MS
            if at_pace and passed_ms < _ADVANCE_MS_MIN:
                return
            self._advances = self._advances + 1 if at_pace else 0
            self.live = self.live or self._advances >= (1 if first_hand else _ADVANCES_TO_LIVE)
        self._last = (up_ms, received_ms)

    def lose(self) -> None:
        """The log has been silent, or we did not listen: it must prove anew that it is live, and the clocks be compared."""
        self.live = False
        if (distance := self.distance) is not None:
            self._former_ms = distance[1]
        self._last = self._lately_ms = self._before_ms = None
        self._advances = 0

    @property
    def distance(self) -> Distance | None:
        """None when nothing has arrived while we listened."""
        if self._lately_ms is None:
            return None
        return self._boot8, self._lately_ms if self._before_ms is None else min(self._lately_ms, self._before_ms)

    def local_ms(self, boot8: bytes, up_ms: int) -> int | None:
        """`up_ms` on the observer's monotonic clock; None when nothing of that boot has arrived while we listened."""
        distance = self.distance
        return up_ms + distance[1] if distance and distance[0] == boot8 else None
