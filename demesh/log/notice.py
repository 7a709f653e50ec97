"""The payload `notice`: news that is of no use once it is old, and so forgotten as results are. The same shape as an `event`.

    alert           subject: the fingerprint of an alert that an Alertmanager told the author of; `status` is `firing` or
                    `resolved`, `starts_ms` when it began, `label.NAME` its labels, cut short
    alert_path      subject: the receiver, as Alertmanager calls it; `node1` … are the names of the nodes whose watchdog came back
    alert_path_end  subject: the name of a node whose watchdog is not sent any more; what the log `log` (hex) says of its path up
                    to entry `seq` is over

A notice of a type that is not known is passed over.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from demesh import limits
from demesh.errors import EntryError
from demesh.log.decision import Place
from demesh.log.event import Event

ALERT, ALERT_PATH, ALERT_PATH_END = "alert", "alert_path", "alert_path_end"
NODES_PER_PATH_MAX = limits.LABELS_MAX
_LABEL = "label."


@dataclass(frozen=True, slots=True)
class ForeignAlert:
    """An alert as an Alertmanager tells of it."""

    fingerprint: str
    resolved: bool
    starts_ms: int
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PathAlive:
    """The watchdogs of `nodes` came back to the author."""

    receiver: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PathEnd:
    """What was told of the path of `node` up to `place` is over."""

    node: str
    place: Place


Notice = ForeignAlert | PathAlive | PathEnd


def alert_notice(alert: ForeignAlert) -> Event:
    labels = bounded_labels(alert.labels)
    details = {"status": "resolved" if alert.resolved else "firing", "starts_ms": str(alert.starts_ms)}
    return Event(ALERT, alert.fingerprint, {**details, **{f"{_LABEL}{name}": value for name, value in labels}})


def bounded_labels(labels: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """As many, and as much of each, as one notice holds; `alertname` first."""
    first = sorted(labels, key=lambda pair: (pair[0] != "alertname", pair))[: limits.NOTICE_LABELS_MAX]
    return tuple(
        sorted((name[: limits.NAME_CHARS_MAX], value[: limits.NOTICE_LABEL_CHARS_MAX]) for name, value in first)
    )


def path_notice(path: PathAlive) -> Event:
    nodes = {f"node{number}": name for number, name in enumerate(path.nodes[:NODES_PER_PATH_MAX], 1)}
    return Event(ALERT_PATH, path.receiver[: limits.NAME_CHARS_MAX], nodes)


def path_end_notice(end: PathEnd) -> Event:
    log, seq = end.place
    return Event(ALERT_PATH_END, end.node, {"log": log.hex(), "seq": str(seq)})


def read_notice(notice: Event) -> Notice | None:
    """What a notice says; None for one of another type. Raises EntryError("shape")."""
    details = notice.details
    match notice.type:
        case "alert":
            labels = [(key.removeprefix(_LABEL), value) for key, value in details.items() if key.startswith(_LABEL)]
            status = details.get("status")
            if status not in ("firing", "resolved") or not 1 <= len(notice.subject) <= limits.NAME_CHARS_MAX:
                raise EntryError("shape", "the alert: its status or its fingerprint is none")
            resolved = status == "resolved"
            return ForeignAlert(notice.subject, resolved, _number(details, "starts_ms"), tuple(sorted(labels)))
        case "alert_path":
            names = [value for key, value in sorted(details.items()) if re.fullmatch(r"node[0-9]+", key, re.ASCII)]
            return PathAlive(notice.subject, tuple(name[: limits.NAME_CHARS_MAX] for name in names))
        case "alert_path_end":
            log = details.get("log", "")
            if not re.fullmatch(r"[0-9a-f]{32}", log, re.ASCII):
                raise EntryError("shape", "the end of an alert path: it names no log")
            return PathEnd(notice.subject, (bytes.fromhex(log), _number(details, "seq")))
        case _:
            return None


def _number(details: Mapping[str, str], key: str) -> int:
    text = details.get(key, "")
    if not re.fullmatch(r"[0-9]{1,16}", text, re.ASCII) or int(text) > limits.TIME_MS_MAX:
        raise EntryError("shape", f"the notice: {key} is no number")
    return int(text)
