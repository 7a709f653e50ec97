"""Incidents: something that is wrong, opened and closed by rule. Pure. The rules are in `demesh.alerts.look` and what it calls.

There is one open incident per (name, subject). Its labels name the subject and never the reporter or an error text, so
that every node that sees the same thing describes the same alert; whatever changes goes into the annotations.

    none      wrong                      pending, for as long as its rule wants to be sure; then open
    pending   not wrong                  none
    open      right, or its subject      none: closed
              is not there any more
    open      neither                    open: what is unknown closes nothing

What was open before a restart is open after it, *unjudged* until its rule has said something; that is told to nobody for
UNJUDGED_HELD_MS, since it may have ended meanwhile, and then told again, so that it does not end for want of a word.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from demesh import limits

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, str]
"""An incident's name, and the key of what it is of."""


@dataclass(frozen=True, slots=True)
class Incident:
    """`onset_ms` is the earliest known wall time of what is wrong. `labels` and `annotations` are sorted pairs.

    `subject` is what it is called, `key` what it is: a member may come to share its name with another. `about` are the names or
    keys of what it speaks of, where that is more than one. `notify`: whether anybody is to be notified.
    """

    name: str
    key: str
    subject: str
    onset_ms: int
    labels: Labels
    annotations: Labels
    about: tuple[str, ...] = ()
    notify: bool = True


@dataclass(frozen=True, slots=True)
class Seen:
    """What the view says now about one possible incident: wrong (with the incident), right, or neither.

    `sure_after_ms`: for how long it has to be wrong. `epilogue` are annotations for its end.
    """

    name: str
    key: str
    wrong: Incident | None
    right: bool
    sure_after_ms: int = 0
    epilogue: Labels = ()


@dataclass(frozen=True, slots=True)
class Opened:
    incident: Incident


@dataclass(frozen=True, slots=True)
class Closed:
    incident: Incident
    resolved_ms: int


class Incidents:
    """The open incidents of this node. Times are monotonic milliseconds, dates Unix time."""

    def __init__(self) -> None:
        self._open: dict[Key, Incident] = {}
        self._pending_ms: dict[Key, int] = {}
        self._unjudged_ms: dict[Key, int] = {}

    def open(self) -> list[Incident]:
        return [self._open[key] for key in sorted(self._open)]

    def told(self, now_ms: int) -> list[Incident]:
        """Those of which others may hear."""
        unjudged = self.unjudged(now_ms)
        return [self._open[key] for key in sorted(self._open) if key not in unjudged]

    def unjudged(self, now_ms: int) -> set[Key]:
        """Those that were open before a restart, of which nothing was seen since, for as long as that may be waited for."""
        return {key for key, ms in self._unjudged_ms.items() if now_ms - ms < limits.UNJUDGED_HELD_MS}

    def keys(self, name: str) -> set[str]:
        """Of what the open incidents of a name are."""
        return {key for each, key in self._open if each == name}

    def restore(self, incidents: Iterable[Incident], now_ms: int) -> None:
        """What was open before a restart."""
        for each in incidents:
            self._open[each.name, each.key] = each
            self._unjudged_ms[each.name, each.key] = now_ms

    def update(self, seen: Iterable[Seen], now_ms: int, wall_ms: int) -> Sequence[Opened | Closed]:
        """Take what the view says now, of all that there is; returns what that changed. An open incident keeps its earliest onset
        and its labels.
        """
        changes: list[Opened | Closed] = []
        gone, pending_ms = set(self._open), self._pending_ms
        self._pending_ms = {}
        for each in seen:
            key = (each.name, each.key)
            gone.discard(key)
            known = self._open.get(key)
            if each.wrong is not None:
                self._unjudged_ms.pop(key, None)
                if known is not None:
                    onset_ms = min(known.onset_ms, each.wrong.onset_ms)
                    subject = each.wrong.subject if each.wrong.about else known.subject
                    self._open[key] = replace(each.wrong, subject=subject, onset_ms=onset_ms, labels=known.labels)
                    continue
                since_ms = pending_ms.get(key, now_ms)
                if now_ms - since_ms < each.sure_after_ms:
                    self._pending_ms[key] = since_ms
                else:
                    changes.append(Opened(each.wrong))
                    self._open[key] = each.wrong
            elif each.right and known is not None:
                changes.append(self._close(key, wall_ms, each.epilogue))
        changes.extend(self._close(key, wall_ms) for key in sorted(gone))
        return changes

    def _close(self, key: Key, wall_ms: int, epilogue: Labels = ()) -> Closed:
        self._unjudged_ms.pop(key, None)
        known = self._open.pop(key)
        annotations = tuple(sorted({**dict(known.annotations), **dict(epilogue)}.items()))
        return Closed(replace(known, annotations=annotations), wall_ms)
