"""History: what the logs amount to over time, as sums per hour and day (`demesh.log.sums`). A pure fold.

Each log is folded on its own, entry by entry in order, so history is a function of the logs alone, in whatever order they
arrive and wherever they are cut off by retention:

    results  ─> open hours of that log ─ rollup of the same log ─> signed hours ─ checkpoint of the same key ─> signed days
                                                                                       carry in a later log ─> instead of all

A rollup of an hour takes the place of the results that it sums. A signed day stands beside its hours: who reads long periods
takes the day where there is one (`demesh.view.uptime`). A carry takes the place of whole logs: all that they contributed goes
as its days come, in one step. So history is a function of the logs that are held and not carried, whenever those arrived.

A result speaks for the time since the one before it in the same boot, but for no more than interval + timeout of its check:
what was missed is nobody's. Time is dated by the author's wall clock as it was when the result was written.

What is signed leaves this module through `take_signed` and is kept elsewhere (`demesh.view.history_store`); what is open, and
how far each log has been folded, is `LogHistory`, which can be saved and loaded again.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from demesh.errors import EntryError
from demesh.log.carry import Carry, CarryReader
from demesh.log.checkpoint import CheckpointPart, read_checkpoint_part
from demesh.log.entry import Entry, Kind
from demesh.log.head import Head
from demesh.log.plan import Plan, PlanReader, PlanRow
from demesh.log.results import Result, read_results
from demesh.log.rollup import read_rollup
from demesh.log.state import LogState
from demesh.log.sums import DAY_MS, HOUR_MS, Sums
from demesh.outcome import Outcome

SLOT_MS = 300_000
SLOTS_KEPT = HOUR_MS // SLOT_MS + 1
_PLANS_KEPT = 2


class Signed(NamedTuple):
    """Sums that `log` vouches for. `period_ms` is HOUR_MS or DAY_MS, `start_ms` a multiple of it, Unix time."""

    public_key: bytes
    log: bytes
    name: str
    period_ms: int
    start_ms: int
    sums: Sums


class Checkpointed(NamedTuple):
    """The newest checkpoint of a key: the day it sums, and its first entry."""

    day: int
    log: bytes
    head: Head


class Moment(NamedTuple):
    """When a result of a check ended, on its author's clock."""

    boot8: bytes
    up_ms: int


@dataclass(slots=True)
class LogHistory:
    """What is open of one log: everything up to and including entry `applied_seq` is folded."""

    public_key: bytes
    applied_seq: int = -1
    open: dict[int, dict[str, Sums]] = field(default_factory=dict[int, dict[str, Sums]])
    """By hour since 1970, then by check."""
    last: dict[str, Moment] = field(default_factory=dict[str, Moment])
    slots: dict[int, dict[str, list[int]]] = field(default_factory=dict[int, dict[str, list[int]]])
    """The last hour in steps of SLOT_MS: by slot since 1970, then by check: [up_ms, down_ms]."""
    slots_kept_for: int | None = None
    """The newest slot when the old ones were dropped last; None if it is not known."""
    undayed: dict[int, dict[str, Sums]] = field(default_factory=dict[int, dict[str, Sums]])
    """Of a log of this node's own, by day and check: hours that it signed and no later checkpoint in it has summed."""
    plans: dict[int, Plan] = field(default_factory=dict[int, Plan])
    running: frozenset[str] = frozenset()
    """The checks that the author runs by its newest plan."""
    plan_reader: PlanReader = field(default_factory=PlanReader)
    carry_reader: CarryReader = field(default_factory=CarryReader)

    @property
    def saved_seq(self) -> int:
        """Where folding goes on after this was saved and loaded: a carry that is not whole yet is read again."""
        return self.applied_seq - self.carry_reader.waiting


class History:
    """The open part of all logs, and the signed sums on their way out."""

    def __init__(self, own_key: bytes) -> None:
        self.logs: dict[bytes, LogHistory] = {}
        self.checkpoints: dict[bytes, Checkpointed] = {}
        """By key."""
        self._own_key = own_key
        self._signed: list[Signed] = []
        self._gone: set[bytes] = set()
        self._carried: set[bytes] = set()

    def apply(self, public_key: bytes, entry: Entry) -> None:
        """Fold the next entry of a log; one that was folded before changes nothing. Gaps are what retention left out."""
        log = self.logs.get(entry.log)
        if entry.log in self._carried:
            return
        if log is None:
            log = self.logs[entry.log] = LogHistory(public_key)
        if entry.seq <= log.applied_seq:
            return
        log.applied_seq = entry.seq
        try:
            carry = log.carry_reader.add(entry.seq, entry.kind, entry.payload)
            if carry is not None:
                self._carry(log.public_key, entry.log, carry)
            self._fold(log, entry)
        except EntryError:
            return  # counted by `demesh.view.fold`, which sees the same entries

    def pass_over(self, public_key: bytes, log_id: bytes, seq: int) -> None:
        """Fold on after entry `seq` of a log: of those up to there all matters that has been folded."""
        if log_id not in self._carried:
            log = self.logs.setdefault(log_id, LogHistory(public_key))
            log.applied_seq = max(log.applied_seq, seq)

    def learn(self, public_key: bytes, entries: Iterable[Entry]) -> None:
        """Take in plans and checkpoints from before where folding goes on, without summing anything again."""
        for entry in entries:
            log = self.logs.setdefault(entry.log, LogHistory(public_key))
            with suppress(EntryError):
                _learn_plan(log, entry)
                if entry.kind == Kind.CHECKPOINT:
                    self._note_checkpoint(public_key, entry, read_checkpoint_part(entry.payload))

    def forget_open(self, before_ms: int) -> list[bytes]:
        """Forget open hours from before a time (Unix), which nobody will sign any more; returns the logs that had any."""
        found: list[bytes] = []
        for log_id, log in self.logs.items():
            old = [hour for hour in log.open if (hour + 1) * HOUR_MS <= before_ms]
            for hour in old:
                del log.open[hour]
            if old:
                found.append(log_id)
        return found

    def forget_logs(self, logs: Iterable[bytes]) -> None:
        """Forget everything that these logs contributed."""
        gone = set(logs)
        for log in gone:
            self.logs.pop(log, None)
        self._signed = [each for each in self._signed if each.log not in gone]
        self._gone |= gone

    def take_signed(self) -> list[Signed]:
        """What has been signed since the last call."""
        taken, self._signed = self._signed, []
        return taken

    def take_gone(self) -> set[bytes]:
        """The logs that have been forgotten since the last call: what they signed before counts no more."""
        taken, self._gone = self._gone, set()
        return taken

    def _carry(self, public_key: bytes, log: bytes, carry: Carry) -> None:
        carried = carry.logs(public_key, log)
        self._carried.update(carried)
        self.forget_logs(carried)
        for row in carry.rows:
            self._sign(public_key, log, row.name, DAY_MS, row.day, row.sums)

    def _fold(self, log: LogHistory, entry: Entry) -> None:
        if _learn_plan(log, entry):
            # What its author ran no more is not spoken for when it comes back.
            log.last = {name: moment for name, moment in log.last.items() if name in log.running}
        match entry.kind:
            case Kind.RESULTS:
                _fold_results(log, entry)
            case Kind.ROLLUP:
                rollup = read_rollup(entry.payload)
                hour = log.open.get(rollup.hour, {})
                for name, sums in rollup.rows.items():
                    hour.pop(name, None)
                    self._sign(log.public_key, entry.log, name, HOUR_MS, rollup.hour, sums)
                    if log.public_key == self._own_key:
                        undayed = log.undayed.setdefault(rollup.hour * HOUR_MS // DAY_MS, {})
                        undayed.setdefault(name, Sums()).add(sums)
                # What is left open of earlier hours was never summed, and never is: who skips the results that were summed
                # (`demesh.log.summed`) shall come to the same.
                for number in [each for each in log.open if each < rollup.hour or (each == rollup.hour and not hour)]:
                    del log.open[number]
            case Kind.CHECKPOINT:
                part = read_checkpoint_part(entry.payload)
                self._note_checkpoint(log.public_key, entry, part)
                for name, sums in part.rows.items():
                    log.undayed.get(part.day, {}).pop(name, None)
                    self._sign(log.public_key, entry.log, name, DAY_MS, part.day, sums)
                if not log.undayed.get(part.day, True):
                    del log.undayed[part.day]
            case _:
                pass

    def _note_checkpoint(self, public_key: bytes, entry: Entry, part: CheckpointPart) -> None:
        newest = self.checkpoints.get(public_key)
        if part.part == 0 and (newest is None or part.day >= newest.day):
            self.checkpoints[public_key] = Checkpointed(part.day, entry.log, entry.head)

    def _sign(self, public_key: bytes, log: bytes, name: str, period_ms: int, number: int, sums: Sums) -> None:
        self._signed.append(Signed(public_key, log, name, period_ms, number * period_ms, sums))


def behind(logs: Mapping[bytes, LogHistory], states: Iterable[LogState]) -> int:
    """How many entries of the logs held are not folded yet, those included that are forgotten."""
    return sum(
        max(0, each.head.seq - (logs[each.log].applied_seq if each.log in logs else -1))
        for each in states
        if each.pruned_to <= each.head.seq  # or nothing is whole there, and nothing more to come
    )


def _learn_plan(log: LogHistory, entry: Entry) -> bool:
    """Whether there is a new plan."""
    plan = log.plan_reader.add(entry.seq, entry.kind, entry.payload)
    if plan is None:
        return False
    log.plans[plan.seq] = plan
    for seq in sorted(log.plans)[:-_PLANS_KEPT]:
        del log.plans[seq]
    log.running = frozenset(row.name for row in plan.rows if row.runs)
    return True


def _fold_results(log: LogHistory, entry: Entry) -> None:
    results = read_results(entry.payload, entry.up_ms)
    plan = log.plans.get(results.plan_seq)
    if plan is None:
        return
    for result in results.results:
        if result.check >= len(plan.rows):
            raise EntryError("shape", "the results: an index beyond the plan")
        _fold_result(log, entry, plan.rows[result.check], result)


def _fold_result(log: LogHistory, entry: Entry, row: PlanRow, result: Result) -> None:
    if row.listed and not row.answered and result.outcome.blames_target:
        return  # a candidate's failures say nothing of it
    ended_ms = max(0, entry.wall_ms - (entry.up_ms - result.up_ms))
    hour = log.open.setdefault(ended_ms // HOUR_MS, {})
    sums = hour.get(row.name)
    if sums is None:
        sums = hour[row.name] = Sums()
    sums.count(result.outcome, result.latency_us)
    last, now = log.last.get(row.name), Moment(entry.boot8, result.up_ms)
    if row.name in log.running:
        log.last[row.name] = now
    if result.outcome == Outcome.ERROR or last is None or last.boot8 != now.boot8:
        return
    span_ms = min(max(0, now.up_ms - last.up_ms), row.interval_ms + row.timeout_ms, ended_ms)
    down = int(result.outcome.blames_target)
    for number, part_ms in _split(ended_ms - span_ms, ended_ms, HOUR_MS):
        share = sums
        if number != ended_ms // HOUR_MS:
            share = log.open.setdefault(number, {}).setdefault(row.name, Sums())
        if down:
            share.down_ms += part_ms
        else:
            share.up_ms += part_ms
    newest, started_ms = ended_ms // SLOT_MS, max(ended_ms - span_ms, ended_ms - HOUR_MS)
    for number, part_ms in _split(started_ms, ended_ms, SLOT_MS):
        log.slots.setdefault(number, {}).setdefault(row.name, [0, 0])[down] += part_ms
    if newest != log.slots_kept_for or started_ms // SLOT_MS <= newest - SLOTS_KEPT:
        log.slots_kept_for = newest
        for number in [each for each in log.slots if each <= newest - SLOTS_KEPT]:
            del log.slots[number]


def _split(start_ms: int, end_ms: int, period_ms: int) -> Iterator[tuple[int, int]]:
    """The time from `start_ms` to `end_ms` cut at multiples of `period_ms`: (number of the period, ms in it)."""
    while start_ms < end_ms:
        number = start_ms // period_ms
        until_ms = min(end_ms, (number + 1) * period_ms)
        yield number, until_ms - start_ms
        start_ms = until_ms
