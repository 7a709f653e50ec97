"""A view, and what one node concludes from it, for tests of the rules of incidents."""

from dataclasses import dataclass, field

from demesh.alerts.conclusions import Conclusions
from demesh.alerts.incident import Incident
from demesh.log.entry import Entry
from demesh.outcome import Outcome
from demesh.view.fold import View
from tests.view.build import OWN, WALL_MS, MemberLog, deliver, new_view, result


@dataclass
class Watch:
    """A view and the incidents that follow from it. `now_ms` is also every author's up time."""

    view: View = field(default_factory=new_view)
    extra: tuple[tuple[str, str], ...] = ()
    now_ms: int = 0

    def __post_init__(self) -> None:
        self.conclusions = Conclusions(self.view, OWN.key, "0a1b2c3d")
        self.conclusions.labels = self.extra

    def hear(self, author: MemberLog, *entries: Entry) -> None:
        deliver(self.view, author, entries, self.now_ms)

    def say(self, outcome: Outcome, *authors: MemberLog, times: int = 2) -> None:
        for author in authors:
            self.hear(author, author.outcomes(self.now_ms, *[outcome] * times))

    def look(self, now_ms: int | None = None) -> list[tuple[str, str, str]]:
        """What opens and closes now, as (opened or closed, name, subject)."""
        self.now_ms = self.now_ms if now_ms is None else now_ms
        self.view.tick(self.now_ms)
        changes = self.conclusions.conclude(self.now_ms, WALL_MS + self.now_ms)
        return [(type(each).__name__.lower(), each.incident.name, each.incident.subject) for each in changes]

    def open(self) -> Incident:
        (incident,) = self.conclusions.open()
        return incident

    def named(self) -> list[tuple[str, str]]:
        """The open ones, by name and subject."""
        return [(each.name, each.subject) for each in self.conclusions.open()]

    def live(
        self, until_ms: int, *authors: MemberLog, outcomes: tuple[Outcome, ...] = (), checks: int = 1
    ) -> list[tuple[str, str, str]]:
        """Let time pass in steps of ten seconds, in which `authors` write `outcomes` of each check; returns what that changes."""
        changes: list[tuple[str, str, str]] = []
        while self.now_ms < until_ms:
            self.now_ms += 10_000
            for author in authors:
                found = (result(each, self.now_ms, check) for check in range(checks) for each in outcomes)
                self.hear(author, author.results(self.now_ms, *found))
            changes += self.look()
        return changes
