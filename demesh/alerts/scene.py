"""What the rules of incidents look at: the view at one moment, and how an incident is described. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from demesh.alerts.incident import Incident, Labels
from demesh.log.plan import PlanRow
from demesh.view.checks import CheckView, Vantage
from demesh.view.fold import View
from demesh.view.member import Member
from demesh.view.names import shown_names

# What Alertmanager accepts; others may write anything into their plans.
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NAMED_MAX = 30
_SEVERITIES = ("critical", "warning", "info", "none")


@dataclass(frozen=True, slots=True)
class Scene:
    """`extra` are the configured labels, `mesh` is what the mesh is called; `now_ms` is monotonic, `wall_ms` Unix time."""

    view: View
    own_key: bytes
    mesh: str
    extra: Labels
    now_ms: int
    wall_ms: int
    members: Sequence[Member] = field(default_factory=list[Member])
    names: Mapping[bytes, str] = field(default_factory=dict[bytes, str])
    checks: Sequence[CheckView] = field(default_factory=list[CheckView])

    @classmethod
    def of(cls, view: View, own_key: bytes, mesh: str, extra: Labels, now_ms: int, wall_ms: int) -> "Scene":
        members = view.members()
        return cls(view, own_key, mesh, extra, now_ms, wall_ms, members, shown_names(members), view.checks(now_ms))

    def past(self, ms: int | None) -> int:
        """A date that others have told, as far as it can be one of the past; else now."""
        return ms if ms is not None and 0 < ms <= self.wall_ms else self.wall_ms

    def named(self, vantages: Sequence[Vantage]) -> str:
        return ", ".join(sorted(self.names[each.member.public_key] for each in vantages))

    def of_node(
        self,
        name: str,
        member: Member,
        onset_ms: int,
        *,
        severity: str,
        summary: str,
        description: str,
        about: tuple[str, ...] = (),
    ) -> Incident:
        """An incident whose subject is a member."""
        subject, key = self.names[member.public_key], member.public_key.hex()
        labels = {**dict(self.extra), "alertname": name, "mesh": self.mesh, "node": subject, "severity": severity}
        annotations = {"summary": summary, "description": description}
        return Incident(name, key, subject, max(0, onset_ms), pairs(labels), pairs(annotations), about)

    def of_check(
        self, name: str, row: PlanRow, onset_ms: int, annotations: Mapping[str, str], *, severity: str = ""
    ) -> Incident:
        """An incident whose subject is a check."""
        labels = {
            **dict(self.extra),
            **{name: value for name, value in row.labels if _LABEL_NAME.fullmatch(name)},
            "alertname": name,
            "mesh": self.mesh,
            "check": row.name,
            "type": row.type,
            "severity": severity or row.severity,
        }
        told = {**annotations, **({"runbook": row.runbook} if row.runbook else {})}
        return Incident(name, row.name, row.name, onset_ms, pairs(labels), pairs(told), notify=row.notify)


def pairs(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def listed(names: Sequence[str]) -> str:
    """`names` as far as they fit into a sentence."""
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return f"{', '.join(names[:_NAMED_MAX])}{more}"


def lasted(ms: int) -> str:
    """A length of time, roughly: `50 s`, `12 min`, `3 h`."""
    seconds = ms // 1_000
    for unit_seconds, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit_seconds:
            return f"{seconds // unit_seconds} {unit}"
    return f"{seconds} s"


def rank(severity: str) -> int:
    """How severe: 0 is worst; so is what nobody knows."""
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else 0
