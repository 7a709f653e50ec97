"""What was muted before a restart is muted after it; what was told goes on being told."""

from demesh.alerts.kept import decode_incidents
from demesh.log.decision import Silence, silence_event
from demesh.log.entry import Entry, Kind
from demesh.log.matcher import parse_matcher
from tests.alerts.watch import Watch
from tests.view.build import FAIL, PASS, WALL_MS, MemberLog, result, row

_ROWS = row("gw", interval_ms=20_000), row("web", interval_ms=20_000, depends_on=("gw",))
_HOUR_MS = 3_600_000


class _Node:
    """One that hears three members look at `gw`, and at `web` behind it, and that can be started anew."""

    def __init__(self) -> None:
        self.watch = Watch()
        self._members = [MemberLog(name) for name in "abc"]
        self._stored: dict[MemberLog, list[Entry]] = {member: [] for member in self._members}
        for member in self._members:
            self._hear(member, *member.start(0, *_ROWS))

    def live(self, seconds: int, gw: bool, web: bool) -> None:
        """Let time pass, in which these fail or not."""
        for _ in range(seconds // 10):
            self.watch.now_ms += 10_000
            now_ms = self.watch.now_ms
            for member in self._members:
                found = [result(FAIL if fails else PASS, now_ms, check) for check, fails in ((0, gw), (1, web))]
                self._hear(member, member.results(now_ms, *found, *found))
            self.watch.look()

    def say(self, silence: Silence) -> None:
        member = self._members[0]
        self._hear(member, member.entry(Kind.EVENT, silence_event(silence).payload(), self.watch.now_ms))

    def restart(self) -> None:
        before, self.watch = self.watch, Watch(now_ms=self.watch.now_ms)
        for member, entries in self._stored.items():
            self.watch.view.load(member.key, entries)
        kept = decode_incidents(before.conclusions.kept())
        self.watch.conclusions.restore(kept, self.watch.now_ms, WALL_MS + self.watch.now_ms)
        self.watch.look()

    def told(self) -> list[str]:
        """Whom an Alertmanager hears of as firing."""
        wall_ms = WALL_MS + self.watch.now_ms
        outgoing = self.watch.conclusions.outgoing(self.watch.now_ms, wall_ms)
        return sorted(each.incident.subject for each in outgoing if each.ends_ms > wall_ms)

    def _hear(self, member: MemberLog, *entries: Entry) -> None:
        self._stored[member] += entries
        self.watch.hear(member, *entries)


def test_what_its_dependency_holds_back_is_held_back_after_a_restart() -> None:
    node = _Node()
    node.live(120, gw=True, web=True)
    assert node.told() == ["gw"]
    node.restart()
    for _ in range(15):
        node.live(10, gw=True, web=True)
        assert node.told() == ["gw"]
    node.live(40, gw=False, web=True)
    assert node.told() == ["web"], "it is down by itself"


def test_what_was_told_before_its_dependency_failed_goes_on_being_told_after_a_restart() -> None:
    node = _Node()
    node.live(60, gw=False, web=True)
    node.live(60, gw=True, web=True)
    assert node.told() == ["gw", "web"]
    node.restart()
    node.live(60, gw=True, web=True)
    assert node.told() == ["gw", "web"]


def test_a_silence_that_came_before_the_incident_opened_holds_after_a_restart() -> None:
    node = _Node()
    node.live(30, gw=False, web=False)
    first_failure_ms = WALL_MS + node.watch.now_ms + 10_000
    node.say(Silence((parse_matcher("check=web"),), first_failure_ms + 5_000, first_failure_ms + _HOUR_MS, "", "ann"))
    node.watch.now_ms += 10_000
    node.live(60, gw=False, web=True)
    assert node.told() == []
    node.restart()
    node.live(60, gw=False, web=True)
    assert node.told() == []
