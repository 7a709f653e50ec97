"""Checks that only one vantage sees fail: told one by one, or as one outage of its targets. Pure; times are monotonic.

    down, by one vantage's word    held for min(interval, 30 s): others of its checks may follow
    held long enough               if most of what it ran since this one failed, three at least, fails: grouped;
                                   else free: an incident of its own
    grouped                        until it is down no more, or others see it fail too

Nobody contradicts the vantage, so nothing says that it is the one that is broken: the targets are named, but once. What fails
by itself while a group lasts, and what is more severe than the group, is told by itself. What more than one vantage sees fail
is free at once.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from demesh import limits
from demesh.alerts.scene import rank
from demesh.outcome import Outcome
from demesh.view.checks import CheckView, Vantage
from demesh.view.verdict import Verdict
from demesh.view.vote import Vote


class Place(StrEnum):
    HELD = "held"
    FREE = "free"
    GROUPED = "grouped"


@dataclass(frozen=True, slots=True)
class Group:
    """The checks that are down by the word of one vantage alone, and told together, with the severity of its worst."""

    vantage: bytes
    checks: frozenset[str]
    severity: str


class Grouping:
    def __init__(self) -> None:
        self._down_ms: dict[str, int] = {}
        self._groups: dict[bytes, Group] = {}

    @property
    def groups(self) -> list[Group]:
        return [self._groups[vantage] for vantage in sorted(self._groups)]

    def restore(self, groups: Iterable[Group]) -> None:
        """What was grouped before a restart."""
        self._groups.update((each.vantage, each) for each in groups)

    def look(self, checks: Sequence[CheckView], opened: Collection[str], now_ms: int) -> Mapping[str, Place]:
        """Where each check that is down belongs. `opened` are those that have an incident of their own."""
        failing = [each for each in checks if each.verdict == Verdict.DOWN]
        alone = {each.row.name: (each, lone) for each in failing if (lone := _lone(each)) is not None}
        down = {each.row.name for each in failing}
        restless = {each.row.name for each in checks if each.flapping} & self._down_ms.keys()
        self._down_ms = {name: self._down_ms.get(name, now_ms) for name in alone.keys() | restless}
        if self._groups:
            recovered = {each.row.name for each in checks if each.recovered and not each.flapping}
            there = {each.row.name for each in checks if each.vantages}
            self._groups = {
                vantage: replace(group, checks=kept)
                for vantage, group in self._groups.items()
                if (kept := frozenset((group.checks & there) - recovered - (down - alone.keys())))
            }
        places = dict.fromkeys(down, Place.FREE)
        by_severity = sorted(alone.items(), key=lambda item: (rank(item[1][0].row.severity), item[0]))
        for name, (check, lone) in by_severity:
            if name not in opened:
                places[name] = self._place(name, check, lone, checks, now_ms)
        return places

    def _place(self, name: str, check: CheckView, lone: Vantage, checks: Sequence[CheckView], now_ms: int) -> Place:
        key, severity = lone.member.public_key, check.row.severity
        group = self._groups.get(key)
        if group is not None and name in group.checks:
            return Place.GROUPED
        waits = now_ms - self._down_ms[name] < min(check.row.interval_ms, limits.LONE_PAGE_HELD_MS)
        joins = group is not None and rank(severity) >= rank(group.severity)
        if waits and not joins:
            return Place.HELD
        if not _is_widespread(key, checks, lone.failing_since_ms):
            return Place.HELD if waits else Place.FREE
        if group is not None and not joins:
            return Place.FREE
        known = group or Group(key, frozenset(), severity)
        self._groups[key] = replace(known, checks=known.checks | {name})
        return Place.GROUPED


def _lone(check: CheckView) -> Vantage | None:
    """The one vantage by whose word alone a check that is down is so."""
    if check.tally.fails > 1:
        return None
    return next(each for each in check.vantages if each.assigned and each.vote == Vote.FAIL)


def _is_widespread(key: bytes, checks: Iterable[CheckView], since_ms: int | None) -> bool:
    """Whether most of what the vantage ran since then fails."""
    own = [each for check in checks for each in check.vantages if each.member.public_key == key and each.assigned]
    ran = [blames for each in own for blames in _ran_since(each, since_ms or 0)]
    return sum(ran) >= limits.GROUPED_CHECKS_MIN and 2 * sum(ran) > len(ran)


def _ran_since(vantage: Vantage, since_ms: int) -> Iterator[bool]:
    """Whether the newest result blames the target, if it was made since then."""
    last, clock = vantage.state.last, vantage.member.current.clock
    at_ms = clock.local_ms(last.boot8, last.result.up_ms) if last else None
    if last and at_ms is not None and at_ms >= since_ms and last.result.outcome != Outcome.ERROR:
        yield last.result.outcome.blames_target
