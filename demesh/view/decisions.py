"""What is decided about alerts: the decisions of each log, and what those of all logs come to. Pure.

Guarantees: what `decided` gives depends on the logs and on whom one heeds, not on the order in which anything arrived.
A decision is in force from when its entry is held until an end of it is; an end counts whoever of those that are heeded
says so. Of each log the newest DECISIONS_PER_LOG_MAX decisions and ends count, and none that lie before its newest
EVENTS_AT_START_MAX events: a start reads no more, so a node that has just started knows the same.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from demesh import limits
from demesh.log.decision import Acknowledgement, Decision, End, Maintenance, Place, Silence, read_decision
from demesh.log.entry import Entry
from demesh.log.event import read_event

T = TypeVar("T", bound=Decision, covariant=True)


@dataclass(frozen=True, slots=True)
class Made(Generic[T]):
    """A decision: where it stands, whose it is, and when it was made by its author's wall clock."""

    place: Place
    author: bytes
    wall_ms: int
    decision: T


@dataclass(frozen=True, slots=True)
class Decisions:
    """What is in force, each kind in order of place. Whether its time has come is for `demesh.alerts.quiet` to say."""

    silences: tuple[Made[Silence], ...] = ()
    maintenance: tuple[Made[Maintenance], ...] = ()
    acknowledgements: tuple[Made[Acknowledgement], ...] = ()

    def without(self, over: Collection[Place]) -> "Decisions":
        """Without the acknowledgements in `over`."""
        left = tuple(each for each in self.acknowledgements if each.place not in over)
        return Decisions(self.silences, self.maintenance, left)

    def at(self, wall_ms: int) -> "Decisions":
        """Without the silences whose time that is not: most of those that are held are over."""
        now = tuple(each for each in self.silences if each.decision.starts_ms <= wall_ms < each.decision.ends_ms)
        return Decisions(now, self.maintenance, self.acknowledgements)


@dataclass(slots=True)
class Window:
    """The sequence numbers of the newest entries of one kind in a log, in order."""

    length: int
    seqs: list[int] = field(default_factory=list[int])

    def takes(self, seq: int) -> bool:
        """Whether an entry counts that was not taken before."""
        at = bisect_left(self.seqs, seq)
        if self.seqs[at : at + 1] == [seq] or (at == 0 and len(self.seqs) >= self.length):
            return False
        self.seqs.insert(at, seq)
        return True

    def dropped(self) -> int | None:
        """The entry that has to make room for one that was taken, if any has to."""
        return self.seqs.pop(0) if len(self.seqs) > self.length else None


@dataclass(slots=True)
class Decided:
    """What one log decides, by the sequence number of the entry that says so."""

    said: dict[int, tuple[int, Decision | End]] = field(default_factory=dict[int, tuple[int, Decision | End]])
    window: Window = field(default_factory=lambda: Window(limits.EVENTS_AT_START_MAX))
    version: int = 0
    """Changes whenever an event of the log was folded."""


def fold_decision(decided: Decided, entry: Entry) -> None:
    """Take in an entry of the kind `event`. Raises EntryError if it decides something in a way that cannot be read."""
    if not decided.window.takes(entry.seq):
        return
    if (dropped := decided.window.dropped()) is not None:
        decided.said.pop(dropped, None)
    decision = read_decision(read_event(entry.payload))
    if decision is not None:
        decided.said[entry.seq] = (entry.wall_ms, decision)
        if len(decided.said) > limits.DECISIONS_PER_LOG_MAX:
            del decided.said[min(decided.said)]


def decided(logs: Iterable[tuple[bytes, bytes, Decided]], heeds: Callable[[bytes], bool]) -> Decisions:
    """What the logs, each with its id and the key of its owner, come to, of those owners whom one heeds."""
    heeded = sorted((each for each in logs if each[2].said and heeds(each[1])), key=lambda each: each[0])
    over = {said.place for _, _, log in heeded for _, said in log.said.values() if isinstance(said, End)}
    silences: list[Made[Silence]] = []
    maintenance: list[Made[Maintenance]] = []
    acknowledgements: list[Made[Acknowledgement]] = []
    for log, author, found in heeded:
        for seq, (wall_ms, said) in sorted(found.said.items()):
            place = (log, seq)
            if place in over:
                continue
            match said:
                case Silence():
                    silences.append(Made(place, author, wall_ms, said))
                case Maintenance():
                    maintenance.append(Made(place, author, wall_ms, said))
                case Acknowledgement():
                    acknowledgements.append(Made(place, author, wall_ms, said))
                case End():
                    pass
    return Decisions(tuple(silences), tuple(maintenance), tuple(acknowledgements))
