"""What one log tells that bears on a question, dated: the results of one check that changed something, votes that lapsed, its
author's silences against its own promises, leaves, boots, plans and events. Pure.

`Story.take` wants the entries of a log in order. What is told stands under the rules that the mesh goes by at the time
(`demesh.view.vote`, `demesh.view.presence`), with the author's clocks in place of an observer's.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from demesh import limits
from demesh.errors import EntryError
from demesh.log.bye import Bye
from demesh.log.entry import Entry, Kind
from demesh.log.event import Event, read_event
from demesh.log.hello import Hello, PresenceProfile
from demesh.log.plan import Plan, PlanRow
from demesh.log.results import Result, read_results
from demesh.outcome import Outcome
from demesh.view.fold_entry import fold_entry
from demesh.view.member import LogView
from demesh.view.presence import LastSign, Presence, presence
from demesh.view.timeline import Moment, Timeline
from demesh.view.vote import Observation, Vote, VoteState, advance, fresh_ms
from demesh.view.whereabouts import Change, Whereabouts


@dataclass(frozen=True, slots=True)
class Began:
    """The first entry that is told of. `row` is what the log said of the check before; `of_log` if it is the log's very first."""

    row: PlanRow | None
    of_log: bool


@dataclass(frozen=True, slots=True)
class Ran:
    """A result that changed something. `since_ms` is when the run began that led to the vote in `after`."""

    row: PlanRow
    result: Result
    before: VoteState
    after: VoteState
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Moved:
    """The target was found at another address than before."""

    row: PlanRow
    change: Change


@dataclass(frozen=True, slots=True)
class Repeated:
    """What changed nothing, from entry `first_seq` on: how many of which outcome, or how many entries."""

    counts: tuple[tuple[str, int], ...]
    first_seq: int


@dataclass(frozen=True, slots=True)
class Lapsed:
    """A vote that no result stands behind any more: the newest is too old, or of an earlier boot."""

    row: PlanRow
    rebooted: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan says something else of the check, or, where no check is asked about, has other checks."""

    row: PlanRow | None
    before: PlanRow | None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stood:
    """The author's presence by its own promises: `next_ms` was the last one. `bye` if it took leave."""

    presence: Presence
    next_ms: int
    bye: Bye | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """It wrote again, after `quiet_ms` in which there is no entry, or in another boot."""

    before: Presence
    quiet_ms: int
    rebooted: bool


@dataclass(frozen=True, slots=True)
class Greeted:
    hello: Hello
    before: Hello | None


@dataclass(frozen=True, slots=True)
class Missing:
    """From here on entries are not held, `first_seq` being the first: forgotten, or not exported. Nothing follows from that."""

    first_seq: int


@dataclass(frozen=True, slots=True)
class Told:
    event: Event


Said = Missing | Began | Ran | Moved | Repeated | Lapsed | Planned | Stood | Heard | Greeted | Told


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a log says, or that follows from it alone, at a time. `seq` is the entry behind it."""

    wall_ms: int
    log: bytes
    public_key: bytes
    seq: int
    index: int
    said: Said

    @property
    def place(self) -> tuple[int, bytes, int, int]:
        """By which facts of all logs stand in one order."""
        return self.wall_ms, self.log, self.seq, self.index


@dataclass(frozen=True, slots=True)
class _Sign:
    seq: int
    at: Moment
    next_ms: int
    bye: Bye | None
    roaming: bool


@dataclass(frozen=True, slots=True)
class _Counted:
    """The newest result that counts of a definition."""

    seq: int
    at: Moment
    row: PlanRow


_Noted = tuple[int, int, Moment, Said]
_OF_NOBODY = "dns:///"  # the address is that of whichever of the node's own resolvers answered


class Story:
    """Of one log. `check` is the check that is asked about; without one, entries and plans as a whole are told of.

    What is dated before `since_ms` only prepares: the numbers of what changed nothing begin there.
    """

    def __init__(self, log: bytes, public_key: bytes, since_ms: int, check: str | None) -> None:
        self.log, self.public_key = log, public_key
        self._since_ms, self._check = since_ms, check
        self._view = LogView(log, public_key, voted_seq=limits.SEQ_MAX)  # its results are followed here
        self._timeline = Timeline()
        self._states: dict[bytes, VoteState] = {}
        self._counted: dict[bytes, _Counted] = {}
        self._whereabouts: dict[bytes, Whereabouts] = {}
        self._noted: list[_Noted] = []
        self._breaks: list[tuple[_Sign, _Sign | None]] = []
        self._pauses: list[tuple[_Counted, tuple[int, Moment] | None]] = []
        self._last: _Sign | None = None
        self._counts: Counter[str] = Counter()
        self._counts_first = self._counts_last = (0, Moment(0, 0))
        self._counting = False
        self._index = 0

    @property
    def hello(self) -> Hello | None:
        return self._view.hello

    @property
    def plan(self) -> Plan | None:
        return self._view.plan

    def build_on(self, entry: Entry) -> None:
        """Take in what later entries build on; nothing is told of it."""
        with suppress(EntryError):
            fold_entry(self._view, entry)

    def take(self, entry: Entry) -> None:
        """The next entry."""
        view = self._view
        hello, plan = view.hello, view.plan
        at = self._timeline.note(entry.boot8, entry.up_ms, entry.wall_ms)
        row = _row(plan, self._check)
        with suppress(EntryError):  # what means nothing is a sign of life all the same
            fold_entry(view, entry)
        self._take_sign(entry, at, row)
        match entry.kind:
            case Kind.HELLO if view.hello is not hello and view.hello is not None:
                self._note(entry.seq, at, Greeted(view.hello, hello))
            case Kind.EVENT:
                self._take_event(entry, at)
            case Kind.RESULTS if self._check is not None:
                self._take_results(entry, at)
            case Kind.RESULTS:
                self._count("entries", entry.seq, at, entry.wall_ms)
            case _:
                pass
        if view.plan is not plan:
            self._take_plan(entry.seq, at, plan)

    def facts(self) -> Iterator[Fact]:
        """All that is told, in no order. To be asked for once, after the last entry."""
        self._note_counts()
        if self._last is not None:
            self._breaks.append((self._last, None))
        self._pauses.extend((counted, None) for counted in self._counted.values())
        for seq, index, at, said in self._noted:
            if isinstance(said, Ran) and said.after.since is not None:
                since = Moment(at.boot, said.after.since.result.up_ms)  # a vote does not outlive a boot
                said = replace(said, since_ms=self._timeline.wall_ms(since))
            yield self._fact(self._timeline.wall_ms(at), seq, index, said)
        for before, after in self._breaks:
            yield from self._silence(before, after)
        for counted, after in self._pauses:
            yield from self._lapse(counted, after)

    def _take_sign(self, entry: Entry, at: Moment, row: PlanRow | None) -> None:
        view = self._view
        roaming = view.hello is not None and view.hello.presence == PresenceProfile.ROAMING
        sign, last = _Sign(entry.seq, at, entry.next_ms, view.bye, roaming), self._last
        self._last = sign
        if last is None:
            self._note(entry.seq, at, Began(row, entry.seq == 0))
            return
        rebooted = last.at.boot != at.boot
        if entry.seq != last.seq + 1:
            self._states.clear()
            self._counted.clear()
            self._whereabouts.clear()
            self._note(entry.seq - 1, last.at, Missing(last.seq + 1))
            return
        if rebooted:
            self._pauses.extend((counted, (entry.seq, at)) for counted in self._counted.values())
            self._states.clear()
            self._counted.clear()
        if rebooted or last.bye or at.up_ms - last.at.up_ms > last.next_ms + limits.SILENT_AFTER_SUSPECT_MS:
            self._note_counts()
            self._breaks.append((last, sign))

    def _take_plan(self, seq: int, at: Moment, before: Plan | None) -> None:
        plan, check = self._view.plan, self._check
        if check is None:
            old, new = _names(before), _names(plan)
            if old != new:
                self._note(seq, at, Planned(None, None, tuple(sorted(new - old)), tuple(sorted(old - new))))
            return
        row, row_before = _row(plan, check), _row(before, check)
        if row != row_before:
            self._note(seq, at, Planned(row, row_before))
        if row is None or not row.runs:
            self._states.clear()
            self._counted.clear()

    def _take_event(self, entry: Entry, at: Moment) -> None:
        with suppress(EntryError):
            self._note(entry.seq, at, Told(read_event(entry.payload)))

    def _take_results(self, entry: Entry, at: Moment) -> None:
        try:
            results = read_results(entry.payload, entry.up_ms)
        except EntryError:
            return
        plan = self._view.plans.get(results.plan_seq)
        if plan is None:
            return
        for result in results.results:
            row = plan.rows[result.check] if result.check < len(plan.rows) else None
            if row is not None and row.name == self._check:
                moment = Moment(at.boot, result.up_ms)
                self._take_result(entry, moment, row, result)

    def _take_result(self, entry: Entry, at: Moment, row: PlanRow, result: Result) -> None:
        wall_ms = entry.wall_ms - (entry.up_ms - result.up_ms)
        self._take_address(entry.seq, at, wall_ms, row, result)
        before = self._states.get(row.definition, VoteState())
        counted = self._counted.get(row.definition)
        if counted is not None and at.up_ms - counted.at.up_ms > fresh_ms(row.interval_ms):
            self._note_counts()
            self._pauses.append((counted, (entry.seq, at)))
            del self._counted[row.definition]
            before = VoteState()
        after = advance(
            before,
            Observation(result, entry.boot8, wall_ms),
            interval_ms=row.interval_ms,
            fail_after=row.fail_after,
            recover_after=row.recover_after,
        )
        self._states[row.definition] = after
        if result.outcome != Outcome.ERROR:
            self._counted[row.definition] = _Counted(entry.seq, at, row)
        if _tells(result, before, after):
            self._note(entry.seq, at, Ran(row, result, before, after))
        else:
            self._count(result.outcome.name.lower(), entry.seq, at, wall_ms)

    def _take_address(self, seq: int, at: Moment, wall_ms: int, row: PlanRow, result: Result) -> None:
        if row.target.startswith(_OF_NOBODY):
            return
        whereabouts = self._whereabouts.setdefault(row.definition, Whereabouts())
        change = whereabouts.look(result.address, tells=wall_ms >= self._since_ms)
        if change is not None:
            self._note(seq, at, Moved(row, change))

    def _count(self, what: str, seq: int, at: Moment, wall_ms: int) -> None:
        if not self._counting and wall_ms >= self._since_ms:
            self._counting = True
            self._counts.clear()
        if not self._counts:
            self._counts_first = seq, at
        self._counts[what] += 1
        self._counts_last = seq, at

    def _note_counts(self) -> None:
        if self._counts:
            seq, at = self._counts_last
            said = Repeated(tuple(sorted(self._counts.items())), self._counts_first[0])
            self._noted.append((seq, self._index, at, said))
            self._index += 1
            self._counts.clear()

    def _note(self, seq: int, at: Moment, said: Said) -> None:
        self._note_counts()
        self._noted.append((seq, self._index, at, said))
        self._index += 1

    def _silence(self, before: _Sign, after: _Sign | None) -> Iterator[Fact]:
        """What the author's presence was between two signs of life, by the rule that others go by."""
        from_ms = self._timeline.wall_ms(before.at)
        to_ms = None if after is None else self._timeline.wall_ms(after.at)
        sign = LastSign(from_ms, before.next_ms, before.bye.back_by_ms if before.bye else None, before.roaming)
        was = Presence.ALIVE
        for at_ms in _turns(sign):
            now = presence(sign, at_ms)
            if now in (was, Presence.SUSPECT) or (to_ms is not None and at_ms >= to_ms):
                continue
            was = now
            yield self._fact(at_ms, before.seq, self._index, Stood(now, before.next_ms, before.bye))
        if after is not None and to_ms is not None:
            rebooted = before.at.boot != after.at.boot
            if rebooted or was != Presence.ALIVE:
                # In front of whatever that entry says.
                yield self._fact(to_ms, after.seq, -1, Heard(was, to_ms - from_ms, rebooted))

    def _lapse(self, counted: _Counted, after: tuple[int, Moment] | None) -> Iterator[Fact]:
        """When a vote lapsed: as its newest result had become too old, or another boot began before that."""
        at_ms = self._timeline.wall_ms(counted.at.later(fresh_ms(counted.row.interval_ms) + 1))
        rebooted = False
        if after is not None and after[1].boot != counted.at.boot:
            next_ms = self._timeline.wall_ms(after[1])
            rebooted = next_ms < at_ms
            at_ms = min(at_ms, next_ms)
        yield self._fact(at_ms, counted.seq, self._index, Lapsed(counted.row, rebooted))

    def _fact(self, wall_ms: int, seq: int, index: int, said: Said) -> Fact:
        return Fact(wall_ms, self.log, self.public_key, seq, index, said)


def _tells(result: Result, before: VoteState, after: VoteState) -> bool:
    """Whether a result changed more than a number."""
    if result.outcome == Outcome.ERROR:
        return before.last is None or before.last.result.outcome != Outcome.ERROR
    if after.vote != before.vote or not before.run_length or after.flapping != before.flapping:
        return True
    if before.last is not None and before.last.result.outcome == Outcome.ERROR:
        return True
    if result.outcome.blames_target:
        of_another_kind = before.counted is None or before.counted.result.outcome != result.outcome
        return after.vote != Vote.FAIL or of_another_kind
    return before.run_blames or after.vote == Vote.FAIL


def _turns(sign: LastSign) -> Iterator[int]:
    """When the presence of who gave this sign, and no other, may change."""
    if sign.back_by_ms is not None:
        yield sign.at_ms
        yield sign.at_ms + sign.back_by_ms + 1
    else:
        yield sign.at_ms + sign.next_ms + limits.SILENT_AFTER_SUSPECT_MS + 1
        yield sign.at_ms + limits.LEFT_AFTER_MS + 1  # so long is who roams away


def _row(plan: Plan | None, check: str | None) -> PlanRow | None:
    return next((row for row in plan.rows if row.name == check), None) if plan else None


def _names(plan: Plan | None) -> frozenset[str]:
    return frozenset(row.name for row in plan.rows) if plan else frozenset()
