"""What the mesh says of each check now: the votes of those that run it, and what they come to.

Guarantees: what `Checks.at` says depends on the members, their `Standing`s and the time alone. It keeps what it said of a check
for as long as nothing that this was made of has changed and no result in it has become too old: in a mesh where little happens,
asking again costs little.

A vantage counts unless it is `excluded`: away or silent, broken (`demesh.view.blame`), cut off (`demesh.view.isolation`), or
unable to run this check. Who has just vanished together with others counts as one that has seen nothing.

A server of a list is a *candidate* until it has passed once with anybody: that it fails says nothing yet, and counts nowhere.
It is *parked* where it was tried in vain for long enough (`demesh.checks.parking`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from demesh import limits
from demesh.log.plan import Plan, PlanRow
from demesh.outcome import Outcome
from demesh.view.blame import Asked, Broken, Said, asked, broken, concerned, is_over_ipv6
from demesh.view.freshness import Distance
from demesh.view.member import LogView, Member
from demesh.view.presence import HERE, Presence
from demesh.view.verdict import Tally, Verdict, tally
from demesh.view.vote import Observation, Vote, VoteState, fresh_ms

CANNOT_RUN = "unable to run this check"
"""Why a vantage does not count whose vote has lapsed, and that can tell of nothing but errors."""
NEVER_ANSWERED = "it never answered"
"""Why a vantage does not count that sees a candidate fail."""
_NOTHING_SEEN = VoteState()
_NEVER_MS, _FOREVER_MS = -(2**63), 2**63


@dataclass(frozen=True, slots=True)
class Vantage:
    """One member's part in a check: its own row of it, its vote now, and the machine behind that.

    `excluded` says why its vote does not count; empty if it does. `failing_since_ms` (monotonic) began the run that led to its
    vote to fail; `told_ms` is when it saw the target last. `told`: its newest result is fresh. `stalled`: it is there and runs
    the check, and no result comes.
    """

    member: Member
    row: PlanRow
    presence: Presence
    vote: Vote
    state: VoteState
    excluded: str = ""
    broken: bool = False
    failing_since_ms: int | None = None
    told_ms: int | None = None
    told: bool = False
    stalled: bool = False

    @property
    def assigned(self) -> bool:
        return not self.excluded

    @property
    def error(self) -> str:
        """What kept it from running the check the last time; empty if nothing did."""
        last = self.state.last
        return (last.result.detail or "it could not be run") if last and last.result.outcome == Outcome.ERROR else ""


@dataclass(frozen=True, slots=True)
class CheckView:
    """What the mesh says of a check now. `row` is the definition that most live members hold."""

    row: PlanRow
    vantages: tuple[Vantage, ...]
    tally: Tally
    definitions: int = 1
    """How many there are of this name."""
    flapping: bool = False
    """Whether as many vantages see it go back and forth as would have to see it fail."""
    recovered: bool = False
    """Whether it is proven not to be down: it passes, and not enough others might see it fail. Nor would they if those were back
    that have seen it fail: who cannot tell of it any more though it is there, and who went away while what it saw is fresh.
    """
    candidate: bool = False
    """Whether it is a server of a list that has not passed yet with anybody."""
    parked: tuple[Member, ...] = ()
    """Who lets it rest since it never answered."""

    @property
    def verdict(self) -> Verdict:
        if not self.vantages and (self.row.paused or self.parked):
            return Verdict.PAUSED
        said = self.tally.verdict
        return Verdict.FLAPPING if self.flapping and said != Verdict.DOWN else said

    @property
    def since_ms(self) -> int | None:
        """Since when, by the vantages' wall clocks: the first failure of those that fail, else the last to pass."""
        fails = [each.state.since.wall_ms for each in self._counted(Vote.FAIL) if each.state.since]
        if fails:
            return min(fails)
        return max((each.state.since.wall_ms for each in self._counted(Vote.PASS) if each.state.since), default=None)

    @property
    def failing_since_ms(self) -> int | None:
        """The same of the first failure, on our monotonic clock."""
        known = (each.failing_since_ms for each in self._counted(Vote.FAIL))
        return min((ms for ms in known if ms is not None), default=None)

    def _counted(self, vote: Vote | None) -> Iterator[Vantage]:
        return (each for each in self.vantages if each.assigned and vote in (None, each.vote))


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """What a member's checks are judged by besides its votes. `distance` is its log's; None while that is not live.

    `here_since_ms`: since when it can be expected to give results, which come with its entries, `next_ms` apart at most.
    `vanished`: it is silent, and counts as having seen nothing.
    """

    current: LogView
    plan: Plan | None
    presence: Presence
    distance: Distance | None
    here_since_ms: int
    next_ms: int
    excluded: str = ""
    vanished: bool = False

    def holds_as(self, other: "Standing") -> bool:
        """Whether the same checks are held."""
        return self.current is other.current and self.plan is other.plan

    def counts_as(self, other: "Standing") -> bool:
        mine = (self.presence, self.distance, self.here_since_ms, self.next_ms, self.excluded, self.vanished)
        theirs = (other.presence, other.distance, other.here_since_ms, other.next_ms, other.excluded, other.vanished)
        return mine == theirs


_Holders = dict[bytes, list[tuple[Member, PlanRow]]]
"""By definition: the members that hold a check, each with its row, in order of their keys."""


@dataclass(frozen=True, slots=True, eq=False)
class _Votes:
    """The votes on a check at `from_ms`, and until when they hold if no standing of a holder and no state changes."""

    row: PlanRow
    vantages: tuple[Vantage, ...]
    asked: Asked
    from_ms: int
    until_ms: int
    candidate: bool = False
    idle: tuple[tuple[Member, PlanRow], ...] = ()
    """The holders that do not run it."""


@dataclass(slots=True, eq=False)
class _Held:
    """A check, by whom it is held, and what was said of it last."""

    definitions: _Holders
    members: frozenset[bytes]
    votes: _Votes | None = None
    reasons: Mapping[bytes, Broken] | None = None
    check: CheckView | None = None


def _has_moved(vantages: Sequence[Vantage]) -> bool:
    """Whether a state is another now. A plain loop over `_state`, which is asked of every vantage at every look: three times as
    fast as with `any`.
    """
    for each in vantages:
        row = each.row
        if each.member.current.votes.get((row.name, row.definition), _NOTHING_SEEN) is not each.state:
            return True
    return False


class Checks:
    """`standing` says how a member stands at a time (monotonic, as all times here)."""

    def __init__(self, standing: Callable[[Member, int], Standing]) -> None:
        self._standing = standing
        self._standings: dict[bytes, Standing] = {}
        self._held: list[_Held] = []
        self.broken: Mapping[bytes, Broken] = {}
        """The vantages that did not count when it was asked last, with the reason."""

    def at(self, members: Sequence[Member], now_ms: int) -> list[CheckView]:
        """Every check that the current plan of one of `members` (in order of their keys) names, by name."""
        before, self._standings = self._standings, {each.public_key: self._standing(each, now_ms) for each in members}
        changed: set[bytes] = set()
        if before.keys() != self._standings.keys() or not all(
            standing.holds_as(before[key]) for key, standing in self._standings.items()
        ):
            self._hold(members)
        else:
            changed = {key for key, standing in self._standings.items() if not standing.counts_as(before[key])}
        votes = [self._votes(held, changed, now_ms) for held in self._held]
        found = broken([each.asked for each in votes])
        if found != self.broken:
            self.broken = found
        return [self._check(held) for held in self._held]

    def _hold(self, members: Sequence[Member]) -> None:
        by_name: dict[str, _Holders] = {}
        for member in members:
            plan = self._standings[member.public_key].plan
            for row in plan.rows if plan else ():
                by_name.setdefault(row.name, {}).setdefault(row.definition, []).append((member, row))
        self._held = [
            _Held(definitions, frozenset(member.public_key for each in definitions.values() for member, _ in each))
            for _, definitions in sorted(by_name.items())
        ]

    def _votes(self, held: _Held, changed: set[bytes], now_ms: int) -> _Votes:
        votes = held.votes
        if (
            votes is None
            or not votes.from_ms <= now_ms <= votes.until_ms
            or not changed.isdisjoint(held.members)
            or _has_moved(votes.vantages)
            or (votes.candidate and any(has_answered(*each) for each in votes.idle))
        ):
            votes = held.votes = self._count(held.definitions, now_ms)
            held.check = None
        return votes

    def _count(self, definitions: _Holders, now_ms: int) -> _Votes:
        def weight(item: tuple[bytes, Sequence[tuple[Member, PlanRow]]]) -> tuple[int, bytes]:
            here = (self._standings[member.public_key].presence in HERE for member, _ in item[1])
            return sum(here), item[0]

        _, holders = max(definitions.items(), key=weight)
        candidate = holders[0][1].listed and not any(has_answered(*each) for each in holders)
        vantages: list[Vantage] = []
        until_ms = _FOREVER_MS
        for member, row in holders:
            if row.runs:
                vantage, holds_until_ms = _vantage(member, row, self._standings[member.public_key], now_ms)
                if candidate and vantage.vote == Vote.FAIL and not vantage.excluded:
                    vantage = replace(vantage, excluded=NEVER_ANSWERED)
                vantages.append(vantage)
                until_ms = min(until_ms, holds_until_ms)
        here = [row for member, row in holders if self._standings[member.public_key].presence in HERE]
        row = _agreed(here or [row for _, row in holders])
        addresses = [each.state.address for each in vantages]
        # Lists name servers of both families to everybody: a node without IPv6 is not broken for that.
        blameable = ("",) if row.listed and is_over_ipv6(row, addresses) else ("", CANNOT_RUN)
        said = [_said(each) for each in vantages if each.excluded in blameable]
        idle = tuple(each for each in holders if not each[1].runs)
        return _Votes(row, tuple(vantages), asked(row, said, addresses), now_ms, until_ms, candidate, idle)

    def _check(self, held: _Held) -> CheckView:
        if held.check is not None and held.reasons is self.broken:
            return held.check
        votes = held.votes
        assert votes is not None
        vantages = votes.vantages
        if self.broken:
            vantages = tuple(_as_broken(each, self.broken, votes.asked.kind) for each in vantages)
        held.reasons = self.broken
        held.check = _judged(votes, vantages, len(held.definitions))
        return held.check


def _judged(votes: _Votes, vantages: tuple[Vantage, ...], definitions: int) -> CheckView:
    """What these votes come to with `vantages`, of which some may be broken."""
    row = votes.row
    counted = [each for each in vantages if not each.excluded]
    found = tally([each.vote for each in counted], row.quorum)
    mute = [Vote.FAIL for each in vantages if each.excluded and _may_still_fail(each)]
    with_them = tally([*(each.vote for each in counted), *mute], row.quorum)
    return CheckView(
        row,
        vantages,
        found,
        definitions,
        flapping=sum(each.state.flapping and each.vote != Vote.UNSEEN for each in counted) >= found.quorum,
        recovered=found.proves_not_down and with_them.proves_not_down,
        candidate=votes.candidate,
        parked=tuple(member for member, row in votes.idle if row.parked),
    )


def _may_still_fail(vantage: Vantage) -> bool:
    """Of one whose vote does not count. Who is away may be back in a moment, as after a restart, but need not."""
    if vantage.presence in HERE:
        return vantage.state.vote == Vote.FAIL and vantage.vote != Vote.PASS
    return vantage.vote == Vote.FAIL


def _vantage(member: Member, row: PlanRow, standing: Standing, now_ms: int) -> tuple[Vantage, int]:
    """A member's part in a check, and until when it stays so by itself."""
    state, distance = _state(member, row), standing.distance
    counts_until_ms = _fresh_until_ms(state.counted, distance, row.interval_ms)
    fresh = now_ms <= counts_until_ms
    vote = state.vote if fresh and not standing.vanished else Vote.UNSEEN
    excluded = standing.excluded
    if not excluded and distance and vote == Vote.UNSEEN and state.last and state.last.result.outcome == Outcome.ERROR:
        excluded = CANNOT_RUN
    told_until_ms = _fresh_until_ms(state.last, distance, row.interval_ms)
    expected_ms = max(standing.here_since_ms + fresh_ms(row.interval_ms), told_until_ms) + standing.next_ms
    told, here = now_ms <= told_until_ms, standing.presence in HERE and not standing.vanished
    failing_since_ms = None
    if vote == Vote.FAIL and state.since and distance and state.since.boot8 == distance[0]:
        failing_since_ms = state.since.result.up_ms + distance[1]
    vantage = Vantage(
        member=member,
        row=row,
        presence=standing.presence,
        vote=vote,
        state=state,
        excluded=excluded,
        failing_since_ms=failing_since_ms,
        told_ms=None if counts_until_ms == _NEVER_MS else counts_until_ms - fresh_ms(row.interval_ms),
        told=told,
        stalled=here and now_ms > expected_ms,
    )
    changes_ms = (ms for ms in (counts_until_ms, told_until_ms, expected_ms) if ms >= now_ms)
    return vantage, min(changes_ms, default=_FOREVER_MS)


def _as_broken(vantage: Vantage, reasons: Mapping[bytes, Broken], kind: str) -> Vantage:
    why = concerned(reasons, vantage.member.public_key, kind)
    return replace(vantage, excluded=why, broken=True) if why and not vantage.excluded else vantage


def _agreed(rows: Sequence[PlanRow]) -> PlanRow:
    """Of rows of one definition, which differ in what is made of the votes: the one that most agree with."""

    def rest(row: PlanRow) -> tuple[object, ...]:
        return (row.quorum, row.severity, row.notify, row.labels, row.depends_on, row.runbook, row.anchor, row.paused)

    said = [rest(row) for row in rows]
    return max(enumerate(rows), key=lambda each: (said.count(said[each[0]]), -each[0]))[1]


def _said(vantage: Vantage) -> Said:
    return Said(
        vantage=vantage.member.public_key,
        vote=vantage.vote,
        error=vantage.error,
        late=_is_late(vantage),
        failing_since_ms=vantage.failing_since_ms,
        told_ms=vantage.told_ms,
    )


def _is_late(vantage: Vantage) -> bool:
    last = vantage.state.last
    return vantage.vote != Vote.UNSEEN and last is not None and last.result.lateness_ms >= limits.OVERLOADED_LATE_MS


def has_answered(member: Member, row: PlanRow) -> bool:
    """Whether a check has passed once with this member, or any whom it knew, as far as its present log tells."""
    return row.answered or _state(member, row).tries is None


def _state(member: Member, row: PlanRow) -> VoteState:
    return member.current.votes.get((row.name, row.definition), _NOTHING_SEEN)


def _fresh_until_ms(seen: Observation | None, distance: Distance | None, interval_ms: int) -> int:
    """When a result will be too old to count, on our own clock."""
    if seen is None or distance is None or seen.boot8 != distance[0]:
        return _NEVER_MS
    return seen.result.up_ms + distance[1] + fresh_ms(interval_ms)
