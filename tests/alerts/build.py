"""Incidents for tests of delivery."""

from demesh.alerts.incident import Closed, Incident, Opened
from demesh.alerts.outbox import Outbox
from tests.log.builders import FakeClock

WALL_MS = 1_700_000_000_000


def incident(subject: str = "web", onset_ms: int = WALL_MS) -> Incident:
    labels = (("alertname", "DemeshCheckDown"), ("check", subject))
    return Incident("DemeshCheckDown", subject, subject, onset_ms, labels, (("summary", f"{subject} is down"),))


class Story:
    """An outbox that is told what opens and closes; `now_ms` counts from WALL_MS on both clocks."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self._open: dict[str, Incident] = {}

    def open(self, now_ms: int, *incidents: Incident) -> None:
        self._open.update((each.subject, each) for each in incidents)
        self.outbox.update(self._open.values(), [Opened(each) for each in incidents], now_ms)

    def close(self, now_ms: int, subject: str = "web") -> None:
        closed = Closed(self._open.pop(subject), WALL_MS + now_ms)
        self.outbox.update(self._open.values(), [closed], now_ms)

    def told(self, now_ms: int) -> list[tuple[str, int, int]]:
        """What would be sent now, as (subject, startsAt, endsAt) from WALL_MS."""
        outgoing = self.outbox.outgoing(now_ms, WALL_MS + now_ms)
        return [(each.incident.subject, each.starts_ms - WALL_MS, each.ends_ms - WALL_MS) for each in outgoing]


class StillClock(FakeClock):
    """Time stands still, at WALL_MS, until it is changed."""

    def wall_ms(self) -> int:
        return WALL_MS + self.ahead_ms + self.now_ms
