"""What the members say of sinks: who has told them what, and who is about to. Pure.

Of each log the newest telling of each kind is kept for each incident and sink, TELLINGS_PER_LOG_MAX of them; when there are more,
the oldest go, those first that say that something is over. What is forgotten may be told twice.

What a sink was told last is the greatest step in any log. A lease counts on the observer's monotonic clock: the log's clock
turns its author's up time into that. Of a lease from an earlier boot, or from before we listened, it is not known when it was:
it has no time, and whoever reads it takes it for over.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from demesh import limits
from demesh.log.entry import Entry
from demesh.log.event import Event
from demesh.log.telling import Step, Telling, read_telling
from demesh.view.freshness import LogClock

TellingKey = tuple[str, str, bytes]
"""An incident's name and key, and the digest of a sink."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A telling, where it stands in its log, and when it was written on its author's clock."""

    telling: Telling
    seq: int
    boot8: bytes
    up_ms: int


@dataclass(frozen=True, slots=True)
class Told:
    """What a sink was told last, by which member, and when on the observer's monotonic clock, if that is known."""

    step: Step
    by: bytes
    at_ms: int | None
    telling: Telling


@dataclass(frozen=True, slots=True)
class Lease:
    """That `holder` is about to tell a sink of `step`; since when, on the observer's monotonic clock, if that is known."""

    holder: bytes
    step: Step
    number: int
    at_ms: int | None


@dataclass(frozen=True, slots=True)
class Tellings:
    """Of one incident and sink. `opened` is the newest telling that it opened: it has the labels."""

    told: Told | None = None
    opened: Telling | None = None
    leases: tuple[Lease, ...] = ()


class LogTellings:
    """Those of one log."""

    __slots__ = ("leases", "opened", "told")

    def __init__(self) -> None:
        self.told: OrderedDict[TellingKey, Noted] = OrderedDict()
        self.opened: OrderedDict[TellingKey, Noted] = OrderedDict()
        self.leases: OrderedDict[TellingKey, Noted] = OrderedDict()

    def add(self, entry: Entry, event: Event) -> None:
        """Take in what an entry of the kind `event` says, whatever the order. Raises EntryError("shape")."""
        telling = read_telling(event)
        if telling is not None:
            self.note(Noted(telling, entry.seq, entry.boot8, entry.up_ms))

    def note(self, noted: Noted) -> None:
        telling = noted.telling
        if telling.lease is not None:
            _keep(self.leases, noted)
            return
        _keep(self.told, noted)
        if telling.step.opens and telling.step.reminder == 0:
            _keep(self.opened, noted)


def gather(logs: Iterable[tuple[bytes, LogTellings, LogClock]]) -> dict[TellingKey, Tellings]:
    """What all logs, each with its owner's key, say together."""
    told: dict[TellingKey, Told] = {}
    opened: dict[TellingKey, Telling] = {}
    leases: dict[TellingKey, list[Lease]] = {}
    for owner, tellings, clock in logs:
        for key, noted in tellings.told.items():
            if key not in told or told[key].step < noted.telling.step:
                told[key] = Told(noted.telling.step, owner, clock.local_ms(noted.boot8, noted.up_ms), noted.telling)
        for key, noted in tellings.opened.items():
            if key not in opened or opened[key].step < noted.telling.step:
                opened[key] = noted.telling
        for key, noted in tellings.leases.items():
            number, at_ms = noted.telling.lease, clock.local_ms(noted.boot8, noted.up_ms)
            assert number is not None
            leases.setdefault(key, []).append(Lease(owner, noted.telling.step, number, at_ms))
    return {
        key: Tellings(told.get(key), opened.get(key), tuple(leases.get(key, ()))) for key in told.keys() | leases.keys()
    }


def _keep(kept: OrderedDict[TellingKey, Noted], noted: Noted) -> None:
    telling = noted.telling
    key = (telling.name, telling.key, telling.sink)
    known = kept.get(key)
    if known is not None and _order(known) >= _order(noted):
        return
    kept[key] = noted
    kept.move_to_end(key)
    if len(kept) > limits.TELLINGS_PER_LOG_MAX:
        over = (old for old, each in kept.items() if not each.telling.step.opens)
        del kept[next(over, next(iter(kept)))]


def _order(noted: Noted) -> tuple[Step, int, int]:
    return noted.telling.step, noted.telling.lease or 0, noted.seq
