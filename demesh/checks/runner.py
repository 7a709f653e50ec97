"""Runs the checks of this node at the times of `demesh.checks.schedule`.

One task, the dispatcher, sleeps until the earliest check of a heap is due; a run is a task of its own while it lasts. A
check that waits, for its time or for a place, costs no task and no timer.

Guarantees: every run ends by its deadline, and a cancelled one at once, unless its probe refuses to be cancelled, which keeps
its place and its own check waiting, and nothing else; a probe that raises gives an `error` result and a line in the
diagnostic log, and its check goes on; the bounds of `demesh.checks.politeness`; the results of a check that was taken out
are dropped. How late a run began, for want of a place or because the process was busy, and how long the event loop stood
still while it went on, whichever is more, is kept with its result. A timeout during which the loop stood still for half of the
time says nothing about the target: it becomes an `error`. A result that turns a vote is confirmed after the check's retry
interval, unless the target asks to be left alone (`ProbeResult.confirm`).

A slot that is late by more than SLOT_LATE_MS_MAX before it even asks for a place is missed: a machine that was
suspended wakes without a burst.
"""

import heapq
import logging
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import ceil

import trio

from demesh import limits
from demesh.checks.check import Check
from demesh.checks.lag import LoopLag
from demesh.checks.politeness import Claim, Places, Standing, host_of
from demesh.checks.schedule import ALONE, Grid, Turn, first_run_ms, next_run_ms, next_slot, place_ms
from demesh.clock import Clock
from demesh.metrics import SLOTS_MISSED
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import Probe
from demesh.pulse import Turned

log = logging.getLogger(__name__)
TICK_MS = 50
"""Runs begin at multiples of this on the monotonic clock: a process that sleeps pays more for each waking than for a probe."""
_DEADLINE_GRACE_MS = 500  # a probe that keeps its own timeout knows better what it was waiting for


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run. `check` is the key of the check given to `Runner.set_checks`."""

    check: int
    up_ms: int
    result: ProbeResult
    lateness_ms: int


Report = Callable[[Run], bool]
"""Takes a run's result; returns whether the check's vote is turning, so that it is confirmed quickly."""

Turns = Callable[[int], Turn]
"""This node's turn among the vantages of a check, by the check's key; asked anew for every slot."""


@dataclass(slots=True, eq=False)
class _Scheduled:
    """A check, its coming slot, and its coming run. `index` is its key."""

    index: int
    check: Check
    probe: Probe
    host: str | None
    grid: Grid
    due_ms: int
    run_yet: bool = False
    standing: Standing = Standing.NEW
    claim: "Claim[_Scheduled] | None" = None
    under_way: trio.CancelScope | None = None
    gone: bool = False

    def end(self) -> None:
        """Run no more, and end what is under way."""
        self.gone = True
        if self.under_way:
            self.under_way.cancel()


class Runner:
    """Checks by their index in the node's plan. `probes` holds the probe of each type that occurs, `listed` those of checks that
    are listed: they ask public addresses only. `turned` is called at each turn of the dispatcher."""

    def __init__(
        self,
        probes: Mapping[str, Probe],
        clock: Clock,
        report: Report,
        turn: Turns = lambda _: ALONE,
        listed: Mapping[str, Probe] | None = None,
        turned: Turned = lambda _: None,
    ) -> None:
        self._probes = probes
        self._listed = dict[str, Probe]() if listed is None else listed
        self._clock = clock
        self._report = report
        self._turn = turn
        self._turned = turned
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if descriptors == resource.RLIM_INFINITY:
            descriptors = limits.DESCRIPTORS_WANTED
        self._places = Places[_Scheduled](descriptors)
        self._lag = LoopLag(clock)
        self._scheduled: dict[str, _Scheduled] = {}
        self._heap: list[tuple[int, int, _Scheduled]] = []
        self._serial = count()
        self._wake = trio.Event()
        self._nursery: trio.Nursery | None = None

    def set_checks(self, checks: Mapping[int, Check]) -> None:
        """Run these from now on. Takes effect before the next `await`.

        A check of the same name, probe and interval goes on undisturbed, under its new key and with its other settings; a
        run of it that is under way reports under the new key. The others end, and what is under way of them with them; new
        ones begin within min(interval, 5 s).
        """
        before, self._scheduled = self._scheduled, {}
        new: list[tuple[int, Check]] = []
        for index, check in checks.items():
            known = before.get(check.name)
            if known and _asks_as(known.check, check):
                known.index, known.check = index, check
                self._scheduled[check.name] = before.pop(check.name)
            else:
                new.append((index, check))
        now_ms = self._clock.monotonic_ms()
        for each in before.values():
            each.end()
            if each.claim and each.claim.begins_ms is None:
                self._leave(each.claim)
        self._heap = [item for item in self._heap if not item[2].gone]
        heapq.heapify(self._heap)
        for place, (index, check) in enumerate(new):
            first_ms = first_run_ms(now_ms, place, len(new), check.interval_ms)
            probes = self._listed if check.listed else self._probes
            probe, host, grid = probes[check.probe.type], host_of(check.probe), Grid(first_ms, check.interval_ms)
            self._scheduled[check.name] = _Scheduled(index, check, probe, host, grid, first_ms)
            self._push(self._scheduled[check.name])
        self._places.know(frozenset(each.host for each in self._scheduled.values() if each.host))

    async def run(self) -> None:
        """Run the checks until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._lag.watch)
            while True:
                now_ms = self._clock.monotonic_ms()
                self._begin(self._places.turn_over(now_ms))
                while self._heap and self._heap[0][0] <= now_ms:
                    self._ask(heapq.heappop(self._heap)[2], now_ms)
                self._wake = trio.Event()
                due_ms = ceil(self._heap[0][0] / TICK_MS) * TICK_MS if self._heap else float("inf")
                again_ms = min(due_ms, self._places.turn_over_ms, now_ms + limits.RUNNER_TURN_MS_MAX)
                self._turned(ceil(again_ms))
                with trio.move_on_after((again_ms - now_ms) / 1_000):
                    await self._wake.wait()

    def _ask(self, each: _Scheduled, now_ms: int) -> None:
        """Claim a place for the run of `each` that is due, unless it is too late for it."""
        late_ms_max = min(limits.SLOT_LATE_MS_MAX, each.check.interval_ms)
        if each.run_yet and now_ms - each.due_ms > late_ms_max:
            self._schedule(each, ran_at_ms=None, turning=False)
            return
        each.claim = self._places.ask(each, each.check.probe.type, each.host, each.standing, now_ms)
        if each.claim.begins_ms is not None:
            self._begin([each.claim])

    def _begin(self, claims: Sequence[Claim[_Scheduled]]) -> None:
        for claim in claims:
            assert self._nursery is not None
            self._nursery.start_soon(self._run, claim.run, claim)

    def _leave(self, claim: Claim[_Scheduled]) -> None:
        """Give places back, for others to begin, or to have their turn by and by."""
        self._begin(self._places.leave(claim, self._clock.monotonic_ms()))
        if self._places.turn_over_ms < float("inf"):
            self._wake.set()

    async def _run(self, each: _Scheduled, claim: Claim[_Scheduled]) -> None:
        check, began_ms, result = each.check, 0, None
        with trio.CancelScope() as each.under_way:
            if not each.gone:
                began_ms = self._clock.monotonic_ms()
                if claim.begins_ms and claim.begins_ms > began_ms:
                    await trio.sleep((claim.begins_ms - began_ms) / 1_000)
                    began_ms = self._clock.monotonic_ms()
                each.under_way.deadline = trio.current_time() + (check.probe.timeout_ms + _DEADLINE_GRACE_MS) / 1_000
                with self._lag.watched():
                    result = await _run_probe(check, each.probe)
        each.claim = each.under_way = None
        self._leave(claim)
        if each.gone:
            return
        if result is None:
            result = ProbeResult(Outcome.TIMEOUT, detail=f"no answer within {check.probe.timeout_ms} ms")
        in_time = self._clock.monotonic_ms() - began_ms < check.probe.timeout_ms
        each.standing = each.standing.after(result.outcome, in_time=in_time)
        paused_ms = self._lag.worst_since_ms(began_ms)
        self._take(each, result, max(began_ms - each.due_ms, paused_ms), paused_ms)

    def _take(self, each: _Scheduled, result: ProbeResult, lateness_ms: int, paused_ms: int) -> None:
        """Report a result, and schedule the next run."""
        if result.outcome is Outcome.TIMEOUT and 2 * paused_ms >= each.check.probe.timeout_ms:
            sentence = f"this node stood still for {paused_ms} ms while it waited for an answer"
            result = replace(result, outcome=Outcome.ERROR, detail=sentence)
        noted_ms = lateness_ms if lateness_ms >= limits.LATENESS_NOTED_MS else 0
        turning = self._report(Run(each.index, self._clock.up_ms(), result, noted_ms))
        if not each.gone:  # whoever took the report may have taken the check out
            self._schedule(each, ran_at_ms=each.due_ms, turning=turning and result.confirm)

    def _schedule(self, each: _Scheduled, *, ran_at_ms: int | None, turning: bool) -> None:
        """Put the next run of `each` on the heap; the one before was due at `ran_at_ms`, or was missed."""
        now_ms, before = self._clock.monotonic_ms(), each.grid
        if before.slot_ms <= now_ms:
            turn = self._turn(each.index)
            place = place_ms(each.check.name, turn, before.interval_ms)
            slot_wall_ms = self._clock.wall_ms() - (now_ms - before.slot_ms)
            each.grid = next_slot(before, now_ms, slot_wall_ms, place, turn.count)
            passed = (each.grid.slot_ms - before.slot_ms) // before.interval_ms
            SLOTS_MISSED.inc(passed - (ran_at_ms == before.slot_ms))
        each.due_ms = next_run_ms(each.grid.slot_ms, each.check.retry_interval_ms, now_ms, turning=turning)
        each.run_yet = True
        self._push(each)

    def _push(self, each: _Scheduled) -> None:
        heapq.heappush(self._heap, (each.due_ms, next(self._serial), each))
        if self._heap[0][2] is each:
            self._wake.set()


def _asks_as(check: Check, other: Check) -> bool:
    """Whether two checks of one name ask the same, as often, in the same way."""
    return (check.probe, check.interval_ms, check.listed) == (other.probe, other.interval_ms, other.listed)


async def _run_probe(check: Check, probe: Probe) -> ProbeResult:
    try:
        return await probe(check.probe)
    except Exception as error:  # noqa: BLE001 a plug-in may raise anything, and only its own check shall suffer
        # The message may quote what the target sent; only its type is safe to keep.
        log.warning("The %s probe of check %r failed: %s", check.probe.type, check.name, type(error).__name__)
        return ProbeResult(Outcome.ERROR, detail=f"the probe failed: {type(error).__name__}")
