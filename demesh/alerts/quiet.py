"""What keeps an open incident from being notified: a silence, maintenance, what it depends on, an acknowledgement.
Pure.

Three rules hold for whoever notifies:

- what is muted is recorded and shown as ever; only notifications are kept back;
- a mute keeps back that something is wrong, never that it is over, where anybody was told that it is wrong;
- a mute that ends while the incident is open lets it be notified then.

Wall clocks decide when silences and maintenance begin and end, and nothing else. A dependency counts by how it is now:
a check is muted while something that it depends on is down and that is told. Through a dependency that is not, the way
goes on to what that depends on, but not through one that is up: then what lies behind it is not the reason. What depends
on the check itself, as two nodes' plans together may say, does not mute it: one of the two must be told.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from demesh import limits
from demesh.alerts.incident import Incident
from demesh.alerts.on_checks import DOWN
from demesh.config.when import active_until, parse_when
from demesh.errors import UsageError
from demesh.log.decision import Acknowledgement, Maintenance, Silence
from demesh.log.matcher import matches_all
from demesh.view.checks import CheckView
from demesh.view.decisions import Decisions, Made
from demesh.view.verdict import Verdict

_NO_NEWS = ("info", "none")


class MuteKind(StrEnum):
    SILENCE = "silence"
    MAINTENANCE = "maintenance"
    DEPENDS_ON = "depends_on"
    ACKNOWLEDGEMENT = "acknowledgement"


@dataclass(frozen=True, slots=True)
class Mute:
    """Why an incident is kept back. `by` is who said so, the maintenance's name, or the check that it depends on;
    `author` the key of the member whose log says so, empty for a dependency. `until_ms` (Unix) is None where nobody
    knows.
    """

    kind: MuteKind
    by: str
    until_ms: int | None = None
    comment: str = ""
    author: bytes = b""

    @property
    def holds_back(self) -> bool:
        """Whether the first notification waits, too. What was acknowledged was notified: there it is only not repeated
        to people.
        """
        return self.kind != MuteKind.ACKNOWLEDGEMENT


@dataclass(frozen=True, slots=True)
class Dependency:
    """A check as something that others depend on: whether it is down and somebody is told of that, or else whether it is up."""

    depends_on: tuple[str, ...]
    gone: bool
    up: bool


def mute_of(
    incident: Incident, decisions: Decisions, dependencies: Mapping[str, Dependency], wall_ms: int
) -> Mute | None:
    """What mutes an incident at `wall_ms`: of several what holds back before what does not, then what lasts longest."""
    labels = dict(incident.labels)
    found = [
        *_silences(labels, decisions, wall_ms),
        *_maintenance(labels, decisions, wall_ms),
        *_dependencies(labels.get("check"), dependencies),
    ]
    if found:
        return max(found, key=lambda mute: (mute.until_ms or 0, mute.kind != MuteKind.DEPENDS_ON, mute.by))
    said = acknowledged(incident, decisions)
    return None if said is None else _by(MuteKind.ACKNOWLEDGEMENT, said, said.decision.by, None)


def acknowledged(incident: Incident, decisions: Decisions) -> Made[Acknowledgement] | None:
    """The newest acknowledgement of this very incident: it was open when that was made."""
    covering = (
        each
        for each in decisions.acknowledgements
        if (each.decision.name, each.decision.key) == (incident.name, incident.key)
        and incident.onset_ms <= max(each.decision.onset_ms, each.wall_ms) + limits.ACKNOWLEDGED_SLACK_MS
    )
    return max(covering, key=lambda each: (each.wall_ms, each.place), default=None)


def dependencies_of(checks: Iterable[CheckView], was_down: Iterable[Incident] = ()) -> dict[str, Dependency]:
    """What the mesh says now of every check, as a dependency. `was_down`: incidents of which nobody knows yet whether they
    are over.
    """
    found: dict[str, Dependency] = {}
    for each in checks:
        tells = each.row.notify and each.row.severity not in _NO_NEWS
        found[each.row.name] = Dependency(
            each.row.depends_on, tells and each.verdict == Verdict.DOWN, each.verdict == Verdict.UP
        )
    for incident in was_down:
        if incident.name == DOWN and incident.notify and dict(incident.labels).get("severity") not in _NO_NEWS:
            for name in found.keys() & {incident.key, *incident.about}:
                found[name] = replace(found[name], gone=True, up=False)
    return found


def maintenance_until(maintenance: Maintenance, wall_ms: int) -> int | None:
    """When (Unix) maintenance that is going on at `wall_ms` ends; None if none is, or this machine does not know its
    time zone.
    """
    if not maintenance.when:
        return maintenance.ends_ms if maintenance.starts_ms <= wall_ms < maintenance.ends_ms else None
    try:
        return active_until(parse_when(maintenance.when), wall_ms)
    except UsageError:
        return None


def is_meant(maintenance: Maintenance, labels: Mapping[str, str]) -> bool:
    """Whether what has these labels is maintained."""
    named = bool(maintenance.checks or maintenance.nodes)
    if named and labels.get("check") not in maintenance.checks and labels.get("node") not in maintenance.nodes:
        return False
    return matches_all(maintenance.matchers, labels)


def _silences(labels: Mapping[str, str], decisions: Decisions, wall_ms: int) -> Iterator[Mute]:
    for each in decisions.silences:
        silence = each.decision
        if silence.starts_ms <= wall_ms < silence.ends_ms and matches_all(silence.matchers, labels):
            yield _by(MuteKind.SILENCE, each, silence.by, silence.ends_ms)


def _maintenance(labels: Mapping[str, str], decisions: Decisions, wall_ms: int) -> Iterator[Mute]:
    for each in decisions.maintenance:
        until_ms = maintenance_until(each.decision, wall_ms)
        if until_ms is not None and is_meant(each.decision, labels):
            yield _by(MuteKind.MAINTENANCE, each, each.decision.name, until_ms)


def _dependencies(check: str | None, dependencies: Mapping[str, Dependency]) -> Iterator[Mute]:
    """The nearest thing that is gone on each way from `check`."""
    known = dependencies.get(check) if check is not None else None
    seen, waiting = {check}, list(known.depends_on) if known else []
    while waiting:
        name = waiting.pop(0)
        each = dependencies.get(name)
        if name in seen or each is None:
            continue
        seen.add(name)
        if each.gone and not _leads_to(name, check, dependencies):
            yield Mute(MuteKind.DEPENDS_ON, name)
        elif not each.up:
            waiting += each.depends_on


def _leads_to(name: str, check: str | None, dependencies: Mapping[str, Dependency]) -> bool:
    """Whether a check depends on `check`, over however many others."""
    seen, waiting = set[str](), [name]
    while waiting:
        each = dependencies.get(waiting.pop())
        for other in each.depends_on if each else ():
            if other == check:
                return True
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return False


def _by(
    kind: MuteKind, made: Made[Silence] | Made[Maintenance] | Made[Acknowledgement], by: str, until_ms: int | None
) -> Mute:
    return Mute(kind, by, until_ms, made.decision.comment, made.author)
