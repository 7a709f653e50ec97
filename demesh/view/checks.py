"""What the mesh says of each check now: the votes of those that run it, and what they come to.

Guarantees: what `Checks.at` says depends on the members and the time alone. It keeps what it said of a check for as long
as nothing that this was made of has changed and no result in it has become too old: in a mesh where little happens,
asking again costs little.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from demesh.log.plan import Plan, PlanRow
from demesh.view.freshness import Distance
from demesh.view.member import LogView, Member
from demesh.view.presence import Presence
from demesh.view.verdict import Tally, Verdict, tally
from demesh.view.vote import Vote, VoteState, fresh_ms

_NOTHING_SEEN = VoteState()
_NEVER_MS, _FOREVER_MS = -(2**63), 2**63


@dataclass(frozen=True, slots=True)
class Vantage:
    """One member's part in a check: its own row of it, its vote now, and the machine behind that."""

    member: Member
    row: PlanRow
    presence: Presence
    vote: Vote
    state: VoteState

    @property
    def assigned(self) -> bool:
        return self.presence in (Presence.ALIVE, Presence.SUSPECT)


@dataclass(frozen=True, slots=True)
class CheckView:
    """What the mesh says of a check now. `row` is the definition that most live members hold."""

    row: PlanRow
    vantages: tuple[Vantage, ...]
    tally: Tally

    @property
    def verdict(self) -> Verdict:
        return self.tally.verdict

    @property
    def since_ms(self) -> int | None:
        """Since when, by the vantages' wall clocks: the first failure of those that fail, else the last to pass."""
        fails = list(self._since(Vote.FAIL))
        if fails:
            return min(fails)
        return max(self._since(Vote.PASS), default=None)

    def _since(self, vote: Vote) -> Iterator[int]:
        for vantage in self.vantages:
            if vantage.assigned and vantage.vote == vote and vantage.state.since:
                yield vantage.state.since.wall_ms


@dataclass(frozen=True, slots=True, eq=False)
class _Standing:
    """What a member's checks are judged by besides its votes. `distance` is its log's; None while that is not live."""

    current: LogView
    plan: Plan | None
    presence: Presence
    distance: Distance | None

    def holds_as(self, other: "_Standing") -> bool:
        """Whether the same checks are held."""
        return self.current is other.current and self.plan is other.plan

    def counts_as(self, other: "_Standing") -> bool:
        return self.presence == other.presence and self.distance == other.distance


_Holders = dict[bytes, list[tuple[Member, PlanRow]]]
"""By definition: the members that hold a check, each with its row, in order of their keys."""


@dataclass(frozen=True, slots=True, eq=False)
class _Said:
    """What was said of a check at `from_ms`, and until when it holds if no standing of a holder and no vote changes."""

    check: CheckView
    from_ms: int
    until_ms: int


@dataclass(slots=True, eq=False)
class _Held:
    """A check, by whom it is held, and what was said of it last."""

    definitions: _Holders
    members: frozenset[bytes]
    said: _Said | None = None


class Checks:
    """`presence` says what a member's silence means at a time (monotonic, as all times here)."""

    def __init__(self, presence: Callable[[Member, int], Presence]) -> None:
        self._presence = presence
        self._standings: dict[bytes, _Standing] = {}
        self._held: list[_Held] = []

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
        return [self._check(held, changed, now_ms) for held in self._held]

    def _standing(self, member: Member, now_ms: int) -> _Standing:
        current = member.current
        distance = current.clock.distance if current.clock.live else None
        return _Standing(current, current.plan, self._presence(member, now_ms), distance)

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

    def _check(self, held: _Held, changed: set[bytes], now_ms: int) -> CheckView:
        said = held.said
        if (
            said is None
            or not said.from_ms <= now_ms <= said.until_ms
            or not changed.isdisjoint(held.members)
            or any(_state(each.member, each.row) is not each.state for each in said.check.vantages)
        ):
            said = held.said = self._judge(held.definitions, now_ms)
        return said.check

    def _judge(self, definitions: _Holders, now_ms: int) -> _Said:
        def weight(item: tuple[bytes, Sequence[tuple[Member, PlanRow]]]) -> tuple[int, bytes]:
            alive = (self._standings[member.public_key].presence == Presence.ALIVE for member, _ in item[1])
            return sum(alive), item[0]

        _, holders = max(definitions.items(), key=weight)
        vantages: list[Vantage] = []
        until_ms = _FOREVER_MS
        for member, row in holders:
            if not row.runs:
                continue
            state, standing = _state(member, row), self._standings[member.public_key]
            counts_until_ms = _counts_until_ms(state, standing.distance, row.interval_ms)
            vote = state.vote if now_ms <= counts_until_ms else Vote.UNSEEN
            if now_ms <= counts_until_ms:
                until_ms = min(until_ms, counts_until_ms)
            vantages.append(Vantage(member, row, standing.presence, vote, state))
        row = holders[0][1]
        tally_now = tally([each.vote for each in vantages if each.assigned], row.quorum)
        return _Said(CheckView(row, tuple(vantages), tally_now), now_ms, until_ms)


def _state(member: Member, row: PlanRow) -> VoteState:
    return member.current.votes.get((row.name, row.definition), _NOTHING_SEEN)


def _counts_until_ms(state: VoteState, distance: Distance | None, interval_ms: int) -> int:
    """When the newest result that counts will be too old to, on our own clock."""
    seen = state.counted
    if seen is None or distance is None or seen.boot8 != distance[0]:
        return _NEVER_MS
    return seen.result.up_ms + distance[1] + fresh_ms(interval_ms)
