"""Incidents: something that is wrong, opened and closed by rule. Pure.

There is one open incident per (name, subject). Its labels name the subject and never the reporter or an error text, so
that every node that sees the same thing describes the same alert; whatever changes goes into the annotations.

    DemeshCheckDown   opens when a check's verdict is down; closes on evidence of recovery: a pass, and not enough
                      other vantages left that could make it down
    DemeshNodeSilent  opens when a member is silent; closes when it is heard again or has taken leave
    DemeshKeyShared   opens when two nodes write with one key; closes when only one of them goes on
    DemeshLogForked   opens when a member is proven to have signed two histories of a log; closes when it has gone on in
                      another that cites the proof, and the fork is a day old

What is unknown closes nothing. A check that no member's plan names any more takes its incident with it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from demesh import limits
from demesh.log.evidence import Fork
from demesh.view.checks import CheckView
from demesh.view.fold import View
from demesh.view.member import Member
from demesh.view.names import shown_names
from demesh.view.presence import Presence
from demesh.view.verdict import Verdict
from demesh.view.vote import Vote

Labels = tuple[tuple[str, str], ...]
# What Alertmanager accepts; others may write anything into their plans.
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Incident:
    """`onset_ms` is the earliest known wall time of what is wrong. `labels` and `annotations` are sorted pairs.

    `subject` is what it is called, `key` what it is: a member may come to share its name with another.
    """

    name: str
    key: str
    subject: str
    onset_ms: int
    labels: Labels
    annotations: Labels


@dataclass(frozen=True, slots=True)
class Seen:
    """What the view says now about one possible incident: wrong (with the incident), right, or neither."""

    name: str
    key: str
    wrong: Incident | None
    right: bool


@dataclass(frozen=True, slots=True)
class Opened:
    incident: Incident


@dataclass(frozen=True, slots=True)
class Closed:
    incident: Incident
    resolved_ms: int


class Incidents:
    """The open incidents of this node."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Incident] = {}

    def open(self) -> list[Incident]:
        return [self._open[key] for key in sorted(self._open)]

    def update(self, seen: Iterable[Seen], wall_ms: int) -> list[Opened | Closed]:
        """Take what the view says now; returns what that changed. An open incident keeps its earliest onset and its labels."""
        changes: list[Opened | Closed] = []
        gone = set(self._open)
        for each in seen:
            key = (each.name, each.key)
            gone.discard(key)
            known = self._open.get(key)
            if each.wrong is not None:
                if known is None:
                    changes.append(Opened(each.wrong))
                    self._open[key] = each.wrong
                else:
                    onset_ms = min(known.onset_ms, each.wrong.onset_ms)
                    self._open[key] = replace(known, onset_ms=onset_ms, annotations=each.wrong.annotations)
            elif each.right and known is not None:
                del self._open[key]
                changes.append(Closed(known, wall_ms))
        changes.extend(Closed(self._open.pop(key), wall_ms) for key in sorted(gone))
        return changes


def look(view: View, mesh: str, extra: Labels, now_ms: int, wall_ms: int) -> list[Seen]:
    """Everything that could be an incident, as the view has it at `now_ms`. `extra` are the configured labels."""
    members = view.members()
    names = shown_names(members)
    found = [_check(check, names, mesh, extra, wall_ms) for check in view.checks(now_ms)]
    found.extend(_node(view, member, names[member.public_key], mesh, extra, now_ms, wall_ms) for member in members)
    shared = view.shared(now_ms)
    found.extend(
        _key(member, member.public_key in shared, names[member.public_key], mesh, extra, wall_ms) for member in members
    )
    forks = view.forks()
    found.extend(
        _forks(member, forks.get(member.public_key, {}), names[member.public_key], mesh, extra, wall_ms)
        for member in view.members()
    )
    return found


def _check(check: CheckView, names: dict[bytes, str], mesh: str, extra: Labels, wall_ms: int) -> Seen:
    name, row = "DemeshCheckDown", check.row
    wrong = None
    if check.verdict == Verdict.DOWN:
        said_ms = check.since_ms
        onset_ms = said_ms if said_ms is not None and 0 < said_ms <= wall_ms else wall_ms
        labels = {
            **dict(extra),
            **{name: value for name, value in row.labels if _LABEL_NAME.fullmatch(name)},
            "alertname": name,
            "mesh": mesh,
            "check": row.name,
            "type": row.type,
            "severity": row.severity,
        }
        wrong = Incident(name, row.name, row.name, onset_ms, _pairs(labels), _check_annotations(check, names))
    return Seen(name, row.name, wrong, check.tally.proves_not_down)


def _check_annotations(check: CheckView, names: dict[bytes, str]) -> Labels:
    failing = [each for each in check.vantages if each.assigned and each.vote == Vote.FAIL]
    assigned = sum(each.assigned for each in check.vantages)
    details = "; ".join(
        f"{names[each.member.public_key]}: {each.state.counted.result.detail}" for each in failing if each.state.counted
    )
    return _pairs(
        {
            "summary": f"{check.row.name} is down: {len(failing)} of {assigned} vantages agree",
            "description": f"{check.row.target} — {details}",
        }
    )


def _node(view: View, member: Member, subject: str, mesh: str, extra: Labels, now_ms: int, wall_ms: int) -> Seen:
    name, key = "DemeshNodeSilent", member.public_key.hex()
    state = view.presence(member, now_ms)
    wrong = None
    if state == Presence.SILENT:
        quiet_ms = now_ms - member.sign.at_ms
        labels = {**dict(extra), "alertname": name, "mesh": mesh, "node": subject, "severity": "critical"}
        annotations = {
            "summary": f"node {subject} is silent",
            "description": f"Nothing was heard of {subject} for {quiet_ms // 1_000} s; it had promised an entry every "
            f"{member.sign.next_ms // 1_000} s.",
        }
        wrong = Incident(name, key, subject, wall_ms - quiet_ms, _pairs(labels), _pairs(annotations))
    return Seen(name, key, wrong, state in (Presence.ALIVE, Presence.AWAY))


def _key(member: Member, shared: bool, subject: str, mesh: str, extra: Labels, wall_ms: int) -> Seen:
    name, key = "DemeshKeyShared", member.public_key.hex()
    wrong = None
    if shared:
        labels = {**dict(extra), "alertname": name, "mesh": mesh, "node": subject, "severity": "critical"}
        annotations = {
            "summary": f"two nodes run as {subject}",
            "description": f"Two logs signed with the key of {subject} go on side by side: its disk was copied, and both copies "
            "run. They are one member to the mesh, so neither's silence would be noticed. Stop one of them, move its node.key "
            "and log.db away, and start it again as a node of its own.",
        }
        wrong = Incident(name, key, subject, wall_ms, _pairs(labels), _pairs(annotations))
    return Seen(name, key, wrong, not shared)


def _forks(member: Member, forks: Mapping[bytes, Fork], subject: str, mesh: str, extra: Labels, wall_ms: int) -> Seen:
    name, key, current = "DemeshLogForked", member.public_key.hex(), member.current
    cited = current.hello.fork_proofs if current.hello and current.fork is None else ()
    open_ = [
        (fork, log)
        for log, fork in sorted(forks.items(), key=lambda each: (each[1].dated_ms, each[1].id))[
            -limits.FORK_PROOFS_CITED_MAX :
        ]
        if fork.id not in cited or abs(wall_ms - fork.dated_ms) < limits.FORK_TOLD_MS
    ]
    wrong = None
    if open_:
        fork, log = max(open_, key=lambda each: (each[0].dated_ms, each[1]))
        goes_on = (
            f"{subject} has gone on in a new log." if fork.id in cited else f"{subject} has not begun a new log yet."
        )
        labels = {**dict(extra), "alertname": name, "mesh": mesh, "node": subject, "severity": "critical"}
        annotations = {
            "summary": f"{subject} has signed two histories",
            "description": f"Two different entries stand in place {fork.seq} of log {log.hex()[:8]}, both signed with the key of "
            f"{subject}: its machine was set back to an earlier state, or its disk was copied, and both went on; or somebody "
            f"else has its key. What this log says from entry {fork.end} on counts no more, on any node. {goes_on}",
        }
        onset_ms = min(wall_ms, *(fork.dated_ms for fork, _ in open_))
        wrong = Incident(name, key, subject, onset_ms, _pairs(labels), _pairs(annotations))
    return Seen(name, key, wrong, not open_)


def _pairs(labels: dict[str, str]) -> Labels:
    return tuple(sorted(labels.items()))
