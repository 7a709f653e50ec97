"""What the members say of sinks: who has told them what, and who is about to. Pure.

Of each log the newest notice of each kind is kept for each incident and sink, NOTICES_PER_LOG_MAX of them; when there are more,
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
from demesh.log.notice import Notice, Step, read_notice
from demesh.view.freshness import LogClock

NoticeKey = tuple[str, str, bytes]
"""An incident's name and key, and the digest of a sink."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A notice, where it stands in its log, and when it was written on its author's clock."""

    notice: Notice
    seq: int
    boot8: bytes
    up_ms: int


@dataclass(frozen=True, slots=True)
class Told:
    """What a sink was told last, by which member, and when on the observer's monotonic clock, if that is known."""

    step: Step
    by: bytes
    at_ms: int | None
    notice: Notice


@dataclass(frozen=True, slots=True)
class Lease:
    """That `holder` is about to tell a sink of `step`; since when, on the observer's monotonic clock, if that is known."""

    holder: bytes
    step: Step
    number: int
    at_ms: int | None


@dataclass(frozen=True, slots=True)
class Notices:
    """Of one incident and sink. `opened` is the newest notice that it opened: it has the labels."""

    told: Told | None = None
    opened: Notice | None = None
    leases: tuple[Lease, ...] = ()


class LogNotices:
    """Those of one log."""

    __slots__ = ("leases", "opened", "told")

    def __init__(self) -> None:
        self.told: OrderedDict[NoticeKey, Noted] = OrderedDict()
        self.opened: OrderedDict[NoticeKey, Noted] = OrderedDict()
        self.leases: OrderedDict[NoticeKey, Noted] = OrderedDict()

    def add(self, entry: Entry, event: Event) -> None:
        """Take in what an entry of the kind `event` says, whatever the order. Raises EntryError("shape")."""
        notice = read_notice(event)
        if notice is not None:
            self.note(Noted(notice, entry.seq, entry.boot8, entry.up_ms))

    def note(self, noted: Noted) -> None:
        notice = noted.notice
        if notice.lease is not None:
            _keep(self.leases, noted)
            return
        _keep(self.told, noted)
        if notice.step.opens and notice.step.reminder == 0:
            _keep(self.opened, noted)


def gather(logs: Iterable[tuple[bytes, LogNotices, LogClock]]) -> dict[NoticeKey, Notices]:
    """What all logs, each with its owner's key, say together."""
    told: dict[NoticeKey, Told] = {}
    opened: dict[NoticeKey, Notice] = {}
    leases: dict[NoticeKey, list[Lease]] = {}
    for owner, notices, clock in logs:
        for key, noted in notices.told.items():
            if key not in told or told[key].step < noted.notice.step:
                told[key] = Told(noted.notice.step, owner, clock.local_ms(noted.boot8, noted.up_ms), noted.notice)
        for key, noted in notices.opened.items():
            if key not in opened or opened[key].step < noted.notice.step:
                opened[key] = noted.notice
        for key, noted in notices.leases.items():
            number, at_ms = noted.notice.lease, clock.local_ms(noted.boot8, noted.up_ms)
            assert number is not None
            leases.setdefault(key, []).append(Lease(owner, noted.notice.step, number, at_ms))
    return {
        key: Notices(told.get(key), opened.get(key), tuple(leases.get(key, ()))) for key in told.keys() | leases.keys()
    }


def _keep(kept: OrderedDict[NoticeKey, Noted], noted: Noted) -> None:
    notice = noted.notice
    key = (notice.name, notice.key, notice.sink)
    known = kept.get(key)
    if known is not None and _order(known) >= _order(noted):
        return
    kept[key] = noted
    kept.move_to_end(key)
    if len(kept) > limits.NOTICES_PER_LOG_MAX:
        over = (old for old, each in kept.items() if not each.notice.step.opens)
        del kept[next(over, next(iter(kept)))]


def _order(noted: Noted) -> tuple[Step, int, int]:
    return noted.notice.step, noted.notice.lease or 0, noted.seq
