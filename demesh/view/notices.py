"""What members are told by Alertmanagers: the newest of each log. Pure.

As with decisions (`demesh.view.decisions`), nothing here depends on the order in which logs arrived, and a start knows
what a node that runs does: of each log no more than its newest NOTICES_AT_START_MAX notices count.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from demesh import limits
from demesh.log.decision import Place
from demesh.log.entry import Entry
from demesh.log.event import read_event
from demesh.log.notice import ForeignAlert, PathAlive, PathEnd, read_notice
from demesh.view.decisions import Window


@dataclass(frozen=True, slots=True)
class AlertTold:
    """What a log said last of an alert, and when by its author's wall clock."""

    seq: int
    wall_ms: int
    alert: ForeignAlert

    @property
    def rank(self) -> tuple[int, bool]:
        """What is told of a later firing, or of its end, goes before what was told earlier, whoever told it."""
        return self.alert.starts_ms, self.alert.resolved


@dataclass(frozen=True, slots=True)
class PathTold:
    """Where a log said last that a node's watchdog came back, when on its author's clocks, and by which receiver."""

    seq: int
    wall_ms: int
    boot8: bytes
    up_ms: int
    receiver: str


@dataclass(slots=True)
class Notices:
    """Of one log: alerts by fingerprint, paths by the name of the sending node, and which paths are over."""

    alerts: dict[str, AlertTold] = field(default_factory=dict[str, AlertTold])
    paths: dict[str, PathTold] = field(default_factory=dict[str, PathTold])
    ends: dict[tuple[str, bytes], tuple[int, int]] = field(default_factory=dict[tuple[str, bytes], tuple[int, int]])
    """By name and log: up to which entry, and where that is said."""
    window: Window = field(default_factory=lambda: Window(limits.NOTICES_AT_START_MAX))


def fold_notice(known: Notices, entry: Entry) -> None:
    """Take in an entry of the kind `notice`. Raises EntryError if it cannot be read."""
    if not known.window.takes(entry.seq):
        return
    if (dropped := known.window.dropped()) is not None:
        _drop(known, dropped)
    said = read_notice(read_event(entry.payload))
    match said:
        case ForeignAlert():
            before = known.alerts.get(said.fingerprint)
            if before is None or before.seq < entry.seq:
                known.alerts[said.fingerprint] = AlertTold(entry.seq, entry.wall_ms, said)
                if len(known.alerts) > limits.ALERTS_PER_LOG_MAX:
                    del known.alerts[min(known.alerts, key=lambda each: known.alerts[each].seq)]
        case PathAlive():
            for name in said.nodes:
                told = known.paths.get(name)
                if told is None or told.seq < entry.seq:
                    known.paths[name] = PathTold(entry.seq, entry.wall_ms, entry.boot8, entry.up_ms, said.receiver)
            while len(known.paths) > limits.ALERT_PATHS_PER_LOG_MAX:
                del known.paths[min(known.paths, key=lambda each: (known.paths[each].seq, each))]
        case PathEnd():
            key = (said.node, said.place[0])
            if known.ends.get(key, (-1, -1)) < (said.place[1], entry.seq):
                known.ends[key] = (said.place[1], entry.seq)
        case None:
            pass


def alerts_told(logs: Iterable[Notices]) -> list[AlertTold]:
    """What is known of each alert, by its labels: of all logs the one that knows of its latest turn."""
    found: dict[str, AlertTold] = {}
    for log in logs:
        for fingerprint, told in log.alerts.items():
            known = found.get(fingerprint)
            if known is None or (told.rank, told.wall_ms) > (known.rank, known.wall_ms):
                found[fingerprint] = told
    return sorted(found.values(), key=lambda each: (each.alert.labels, each.alert.fingerprint))


def path_ends(logs: Iterable[Notices]) -> dict[tuple[str, bytes], int]:
    """Up to which entry of a log nothing counts any more that it says of a node's path, by the node's name and the log."""
    found: dict[tuple[str, bytes], int] = {}
    for log in logs:
        for key, (seq, _) in log.ends.items():
            found[key] = max(seq, found.get(key, -1))
    return found


def path_of(place: Place, node: str, ends: dict[tuple[str, bytes], int]) -> bool:
    """Whether what stands at `place` of a node's path still counts."""
    return place[1] > ends.get((node, place[0]), -1)


def _drop(known: Notices, seq: int) -> None:
    for table in (known.alerts, known.paths):
        for key in [key for key, told in table.items() if told.seq == seq]:
            del table[key]
    for key in [key for key, (_, said_seq) in known.ends.items() if said_seq == seq]:
        del known.ends[key]
