"""What to tell a sink that keeps alerts alive by repetition, and when. Pure; times are monotonic and wall milliseconds.

Open incidents are sent at once and then every ALERT_RESEND_MS; closed ones are sent as resolved for another
ALERT_RESOLVED_RESEND_MS, so that a sink that was away hears of both. The whole set is sent each time: nothing has to be
remembered of what got through. What is muted from when it opened is not sent, nor that it closed, until that ends; what
was sent before goes on, so that nobody takes it for resolved.

That something closed is repeated only while this node still has proof of it: others may see it wrong again, and for an
Alertmanager who spoke last is right.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from demesh import limits
from demesh.alerts.incident import Closed, Incident, Key, Opened


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One alert to send: firing until `ends_ms`, or resolved at it. Both are wall time."""

    incident: Incident
    starts_ms: int
    ends_ms: int


class Outbox:
    """The alerts of one node, for any number of sinks that all get the same."""

    def __init__(self) -> None:
        self._open: tuple[Incident, ...] = ()
        self._resolved: dict[Key, tuple[Closed, int]] = {}
        self._untold: set[Key] = set()
        self._doubtful: frozenset[Key] = frozenset()
        self.watchdog: Incident | None = None
        """What is sent besides, always."""

    def update(
        self,
        open_incidents: Iterable[Incident],
        changes: Sequence[Opened | Closed],
        now_ms: int,
        held: Collection[Key] = (),
        doubtful: frozenset[Key] = frozenset(),
    ) -> bool:
        """`held` are the open incidents, by name and key, that are not to be notified now; `doubtful` those of which nothing
        proves that they are over. Returns whether one is no more held that was.
        """
        self._doubtful = doubtful
        self._forget_old(now_ms)
        self._open = tuple(open_incidents)
        for change in changes:
            key = (change.incident.name, change.incident.key)
            if isinstance(change, Opened):
                self._resolved.pop(key, None)
                if key in held:
                    self._untold.add(key)
            elif key in self._untold:
                self._untold.discard(key)
            else:
                self._resolved[key] = (change, now_ms)
        let_out = not self._untold.issubset(held)
        self._untold.intersection_update(held)
        return let_out

    def untold(self) -> frozenset[Key]:
        """The open ones that were muted ever since they opened."""
        return frozenset(self._untold)

    def outgoing(self, now_ms: int, wall_ms: int) -> list[Outgoing]:
        """Everything to send now."""
        self._forget_old(now_ms)
        open_ = [each for each in self._open if (each.name, each.key) not in self._untold]
        firing = [
            Outgoing(each, min(each.onset_ms, wall_ms), wall_ms + 4 * limits.ALERT_RESEND_MS)
            for each in (*open_, *([self.watchdog] if self.watchdog else ()))
        ]
        # By how long ago that was: a date of a wall clock that was set back since would still lie ahead, and fire.
        ended = [
            (each.incident, wall_ms - (now_ms - closed_ms))
            for key, (each, closed_ms) in self._resolved.items()
            if key not in self._doubtful
        ]
        resolved = [Outgoing(incident, min(incident.onset_ms, ends_ms), ends_ms) for incident, ends_ms in ended]
        return firing + resolved

    def _forget_old(self, now_ms: int) -> None:
        for key, (_, closed_ms) in list(self._resolved.items()):
            if now_ms - closed_ms > limits.ALERT_RESOLVED_RESEND_MS:
                del self._resolved[key]
