"""Why a check is as it is: its verdict replayed from the logs, each step with what it came to.

A pure function of the logs: time is what their authors signed (`demesh.view.timeline`), a vantage's presence is its own log held
against its own promises, and facts of all logs stand in one order, equal times by log id and sequence number. So whoever holds
the same entries is told the same steps, in whatever order they arrived.

What this cannot tell is what a node *knew* at a time: that depends on when entries reached it. It concludes what whoever had held
all logs at once would have. What a node made of it at the time is witnessed by what that node itself wrote then: the events
`notifying` and `notified` stand among the steps as their authors signed them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from demesh.identity import peer_id
from demesh.log.bye import LEFT
from demesh.log.event import FORGET
from demesh.log.plan import PlanRow
from demesh.outcome import Outcome
from demesh.view.checks import CANNOT_RUN, NEVER_ANSWERED
from demesh.view.concern import WITNESSED, Concern
from demesh.view.presence import HERE, Presence
from demesh.view.story import Began, Fact, Greeted, Heard, Lapsed, Missing, Moved, Planned, Ran, Repeated, Stood, Told
from demesh.view.verdict import Tally, Verdict, tally
from demesh.view.vote import Vote


@dataclass(frozen=True, slots=True)
class Ballot:
    """A vantage and its vote. `excluded` says why that is not counted; empty if it is."""

    public_key: bytes
    vote: Vote
    excluded: str
    because: Fact | None
    """The newest result that changed something, with the run that it belongs to."""

    @property
    def flaps(self) -> bool:
        said = self.because.said if self.because else None
        return isinstance(said, Ran) and said.after.flapping


@dataclass(frozen=True, slots=True)
class Standing:
    """What the mesh says at a time. `row` is the definition that counts; None where no plan has the check."""

    row: PlanRow | None = None
    ballots: tuple[Ballot, ...] = ()
    tally: Tally = field(default_factory=lambda: tally((), 0))
    parked: bool = False
    """Whether somebody lets it rest since it never answered."""

    @property
    def verdict(self) -> Verdict:
        if not self.ballots and self.row is not None and (self.row.paused or self.parked):
            return Verdict.PAUSED
        flaps = sum(each.flaps for each in self.ballots if not each.excluded) >= max(1, self.tally.quorum)
        return Verdict.FLAPPING if flaps and self.tally.verdict != Verdict.DOWN else self.tally.verdict

    @property
    def onset_ms(self) -> int | None:
        """When the first of the runs began that fail now, or the last of those that pass."""
        fails, passes = self._since(Vote.FAIL), self._since(Vote.PASS)
        return min(fails) if fails else max(passes, default=None)

    def _since(self, vote: Vote) -> list[int]:
        because = [
            each.because.said for each in self.ballots if not each.excluded and each.vote == vote and each.because
        ]
        return [said.since_ms for said in because if isinstance(said, Ran)]


@dataclass(frozen=True, slots=True)
class Step:
    """A fact, and what followed from it: `now` where the count of votes changed, `before` where the verdict did, too."""

    fact: Fact
    now: Standing | None = None
    before: Verdict | None = None
    counted: bool = True
    """Whether the definition that its author ran is the one that counts."""


@dataclass(frozen=True, slots=True)
class Spell:
    """For so long the verdict was the same. `known` if the replay saw it begin."""

    verdict: Verdict
    from_ms: int
    onset_ms: int
    known: bool
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """The opening step is what was so at the beginning of the window."""

    opening: Standing
    steps: tuple[Step, ...]
    spells: tuple[Spell, ...]
    closing: Standing


@dataclass(slots=True)
class _Vantage:
    log: bytes = b""
    row: PlanRow | None = None
    presence: Presence = Presence.SILENT
    runs: dict[bytes, Fact] = field(default_factory=dict[bytes, Fact])
    """By definition: the newest result that changed something, while the vote behind it counts."""
    erring: set[bytes] = field(default_factory=set[bytes])
    """The definitions of which the newest result is an error."""
    answered: set[bytes] = field(default_factory=set[bytes])
    """The definitions that have passed once."""
    whole: bool = True
    """Whether the log was told of from its beginning: else what has never passed might have."""

    def has_answered(self, definition: bytes) -> bool:
        return not self.whole or definition in self.answered


class Replay:
    """Follows the facts of all logs in their order, and judges after each."""

    def __init__(self, concern: Concern, since_ms: int) -> None:
        self._concern = concern
        self._since_ms = since_ms
        self._vantages: dict[bytes, _Vantage] = {}
        self._standing = Standing()
        self._spells: list[Spell] = []
        self._whole = True  # whether all logs so far were told of from their beginning
        self._was_up = False

    def trace(self, facts: Iterable[Fact], until_ms: int) -> Trace:
        opening: Standing | None = None
        steps: list[Step] = []
        for fact in sorted(facts, key=lambda fact: fact.place):
            if fact.wall_ms > until_ms:
                break
            if opening is None and fact.wall_ms >= self._since_ms:
                opening = self._standing
            step = self._follow(fact)
            if opening is not None and step is not None:
                steps.append(step)
        spells = [each for each in self._spells if each.until_ms is None or each.until_ms >= self._since_ms]
        return Trace(opening or self._standing, tuple(steps), tuple(spells), self._standing)

    def _follow(self, fact: Fact) -> Step | None:
        vantage = self._vantages.setdefault(fact.public_key, _Vantage())
        ran_before = vantage.row is not None and vantage.row.runs
        if isinstance(fact.said, Told):
            tells = self._hear(fact.said)
        elif isinstance(fact.said, Began):
            tells = self._begin(vantage, fact, fact.said) and ran_before
        elif vantage.log == fact.log:
            tells = self._change(vantage, fact)
        else:
            return None  # of an epoch that is over
        before, self._standing = self._standing, self._judge()
        now = self._standing
        turned = now.verdict != before.verdict
        if turned:
            self._note_spell(fact.wall_ms)
        changed = now.tally != before.tally
        if not (tells or changed):
            return None
        of_it = not isinstance(fact.said, Ran) or (
            now.row is not None and fact.said.row.definition == now.row.definition
        )
        return Step(fact, now if changed else None, before.verdict if turned else None, of_it)

    def _hear(self, said: Told) -> bool:
        if said.event.type == FORGET:
            for key, vantage in self._vantages.items():
                if peer_id(key) == said.event.subject:
                    vantage.presence = Presence.LEFT
        return self._concern.has(said.event)

    def _begin(self, vantage: _Vantage, fact: Fact, said: Began) -> bool:
        """A log begins, or the part of it that is told of; returns whether a member goes on in another."""
        is_other = vantage.log != b""
        vantage.log, vantage.row, vantage.presence = fact.log, said.row, Presence.ALIVE
        vantage.runs.clear()
        vantage.erring.clear()
        vantage.answered.clear()
        vantage.whole = said.of_log
        self._whole = self._whole and said.of_log
        return is_other

    def _change(self, vantage: _Vantage, fact: Fact) -> bool:
        """Take a fact in; returns whether it is told of by itself."""
        said, runs = fact.said, vantage.row is not None and vantage.row.runs
        match said:
            case Ran():
                vantage.runs[said.row.definition] = fact
                if said.after.tries is None:
                    vantage.answered.add(said.row.definition)
                if said.result.outcome == Outcome.ERROR:
                    vantage.erring.add(said.row.definition)
                else:
                    vantage.erring.discard(said.row.definition)
                return True
            case Repeated() | Moved():
                return runs
            case Lapsed():
                held = vantage.runs.pop(said.row.definition, None)
                is_current = vantage.row is not None and vantage.row.definition == said.row.definition
                return held is not None and is_current and runs and vantage.presence in HERE
            case Planned():
                vantage.row = said.row
                return True
            case Stood():
                is_gone = said.bye is not None and said.bye.reason == LEFT
                vantage.presence = Presence.LEFT if is_gone else said.presence
                return runs
            case Heard():
                vantage.presence = Presence.ALIVE
                return runs
            case Missing():
                vantage.runs.clear()
                vantage.erring.clear()
                vantage.whole = False
                vantage.presence = Presence.ALIVE
                return runs
            case Greeted() | Began() | Told():
                return False

    def _judge(self) -> Standing:
        """As `demesh.view.checks` does: the definition that most living members hold, and the votes of those that run it."""
        holders: dict[bytes, list[tuple[bytes, PlanRow]]] = {}
        for key in sorted(self._vantages):
            row = self._vantages[key].row
            if row is not None and self._vantages[key].presence != Presence.LEFT:
                holders.setdefault(row.definition, []).append((key, row))
        if not holders:
            return Standing()

        def weight(definition: bytes) -> tuple[int, bytes]:
            return sum(self._vantages[key].presence == Presence.ALIVE for key, _ in holders[definition]), definition

        chosen = holders[max(holders, key=weight)]
        row = chosen[0][1]
        answered = not row.listed or any(
            held.answered or self._vantages[key].has_answered(row.definition) for key, held in chosen
        )
        ballots = tuple(self._ballot(key, held, answered=answered) for key, held in chosen if held.runs)
        parked = any(held.parked for _, held in chosen)
        return Standing(row, ballots, count(ballots, row.quorum), parked)

    def _ballot(self, key: bytes, row: PlanRow, *, answered: bool) -> Ballot:
        vantage = self._vantages[key]
        because = vantage.runs.get(row.definition)
        vote = because.said.after.vote if because is not None and isinstance(because.said, Ran) else Vote.UNSEEN
        excluded = "" if vantage.presence in HERE else str(vantage.presence)
        if not excluded and vote == Vote.UNSEEN and row.definition in vantage.erring:
            excluded = CANNOT_RUN
        if not excluded and vote == Vote.FAIL and not answered:
            excluded = NEVER_ANSWERED
        return Ballot(key, vote, excluded, because)

    def _note_spell(self, at_ms: int) -> None:
        now = self._standing
        if self._spells:
            last = self._spells[-1]
            self._spells[-1] = Spell(last.verdict, last.from_ms, last.onset_ms, last.known, at_ms)
        self._was_up = self._was_up or now.verdict == Verdict.UP
        onset_ms = now.onset_ms if now.verdict in (Verdict.DOWN, Verdict.PARTIAL) else None
        known = self._was_up or self._whole
        self._spells.append(Spell(now.verdict, at_ms, at_ms if onset_ms is None else onset_ms, known))


def count(ballots: Sequence[Ballot], quorum: int) -> Tally:
    """The one place where votes are counted: those of the ballots that nothing excludes."""
    return tally([each.vote for each in ballots if not each.excluded], quorum)


def told(trace: Trace, spell: Spell) -> list[Fact]:
    """The `notifying` and `notified` events about the check that may be of a spell.

    Of one in which it was down: all from its onset to the onset of the next; of another: those that are dated in it.
    """
    from_ms, until_ms = spell.from_ms, spell.until_ms
    if spell.verdict == Verdict.DOWN:
        later = [each.onset_ms for each in trace.spells if each.verdict == Verdict.DOWN and each.from_ms > from_ms]
        from_ms, until_ms = spell.onset_ms, later[0] if later else None
    return [
        step.fact
        for step in trace.steps
        if isinstance(step.fact.said, Told)
        and step.fact.said.event.type in WITNESSED
        and from_ms <= step.fact.wall_ms
        and (until_ms is None or step.fact.wall_ms < until_ms)
    ]
