"""The author: turns the runs of this node's checks into entries of its own log.

Guarantees, for each entry and in this order: it is durable in the store, the marker says so, the view knows it, and only
then peers hear of it. What was published is therefore never lost by this node, and never contradicted after a crash. An
entry that cannot be stored ends the process (StoreError); nothing is retried.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import trio

from demesh import limits
from demesh.checks.check import Check
from demesh.checks.runner import Run
from demesh.clock import Clock
from demesh.errors import EntryError
from demesh.log.batch import Batch
from demesh.log.bye import Bye
from demesh.log.chain import Logs
from demesh.log.codec import Value
from demesh.log.entry import Entry, Kind
from demesh.log.epoch import Marker
from demesh.log.event import Event
from demesh.log.hello import Hello
from demesh.log.plan import PlanPart, PlanRow, split_plan
from demesh.log.results import Result, Results
from demesh.log.storage import Storage
from demesh.log.store import Carried
from demesh.log.writer import Writer
from demesh.metrics import ENTRIES_WRITTEN, RESULTS
from demesh.outcome import Outcome
from demesh.pulse import Turned
from demesh.view.vote import Observation, VoteState, advance, is_turning

_RESULTS = {outcome: RESULTS.labels(outcome.name.lower()) for outcome in Outcome}

Shown = Callable[[Entry], None]
"""Shows an own entry to the view."""

Publish = Callable[[Sequence[Entry]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Assignment:
    """What this node is to check. `parts` tell it to the mesh; none if the plan that was told last says the same."""

    checks: Sequence[Check]
    votes: Sequence[VoteState]
    parts: Sequence[PlanPart] = ()


@dataclass(slots=True)
class _Told:
    """What the log last told of a check's certificate, address and other address, and when (monotonic)."""

    facts: tuple[int | None, str | None, str | None] = (None, None, None)
    at_ms: int = field(default=-limits.CERTIFICATE_EXPIRY_REPEAT_MS)


class Author:
    def __init__(
        self,
        writer: Writer,
        checks: Sequence[Check],
        flush_interval_ms: int,
        clock: Clock,
        storage: Storage,
        logs: Logs,
        marker: Callable[[Marker], None],
        store_file: str,
        shown: Shown,
        publish: Publish,
        gone: Callable[[Sequence[bytes]], None],
        votes: Sequence[VoteState],
        turned: Turned = lambda _: None,
    ) -> None:
        """`gone` is told which logs a carry of this node names; `turned` is called at each turn of `run`.

        `votes` are the states that the view already holds for `checks`, so that a restart forgets no failure.
        """
        self._writer = writer
        self._checks = checks
        self._clock = clock
        self._storage = storage
        self._logs = logs
        self._marker = marker
        self._store_file = store_file
        self._shown = shown
        self._publish = publish
        self._gone = gone
        self._turned = turned
        self._votes = list(votes)
        self._told = [_Told() for _ in checks]
        self._batch = Batch(flush_interval_ms, clock.monotonic_ms())
        self._plan_seq = 0
        self._has_left = False
        self._one_at_a_time = trio.Lock()
        self._wake = trio.Event()

    def report(self, run: Run) -> bool:
        """Take a run's result in; returns whether the check's vote is turning (see `demesh.checks.runner`)."""
        _RESULTS[run.result.outcome].inc()
        check = self._checks[run.check]
        result = self._result(run)
        before = self._votes[run.check]
        seen = Observation(result, self._clock.boot8, self._clock.wall_ms())
        after = self._votes[run.check] = advance(
            before,
            seen,
            interval_ms=check.interval_ms,
            fail_after=check.fail_after,
            recover_after=check.recover_after,
        )
        self._batch.add(result, self._clock.monotonic_ms(), urgent=before.vote != after.vote)
        self._wake.set()
        return is_turning(after)

    async def replan(self, prepare: Callable[[], "Assignment"]) -> None:
        """Go over to other checks. `prepare` is called between the last result that belongs to the old ones and the first
        that belongs to the new, and shall see to it that the runner goes over at the same time. Raises StoreError.
        """
        async with self._one_at_a_time:
            await self._write_all_results()
            # Nothing awaits from here until the plan has its number: what is reported then is the new plan's.
            new = prepare()
            told = {check.name: told for check, told in zip(self._checks, self._told, strict=True)}
            self._checks, self._votes = new.checks, list(new.votes)
            self._told = [told.get(check.name) or _Told() for check in new.checks]
            if new.parts:
                self._plan_seq = self._writer.next_seq
                await self._write([(Kind.PLAN, part.payload()) for part in new.parts])

    async def say_hello(self, hello: Hello) -> None:
        """Tell the mesh that something about this node has changed. Raises StoreError."""
        await self._append([(Kind.HELLO, hello.payload())])

    async def say(self, kind: Kind, events: Sequence[Event]) -> None:
        """Tell the mesh of things that happened or were decided (events), or that are news (notices). Raises
        StoreError.
        """
        await self._append([(kind, event.payload()) for event in events])

    async def begin(
        self,
        hello: Hello,
        known_hello: Hello | None,
        rows: Sequence[PlanRow],
        known_plan: int | None,
        sinks: Sequence[bytes] = (),
    ) -> None:
        """Write what the log needs before anything else: the hello unless it is known, the plan unless `known_plan` is it."""
        self._logs.begin_own(self._writer.log)
        if hello != known_hello:
            await self._append([(Kind.HELLO, hello.payload())])
        if known_plan is None:
            self._plan_seq = self._writer.next_seq
            await self._append([(Kind.PLAN, part.payload()) for part in split_plan(rows, sinks)])
        else:
            self._plan_seq = known_plan
            await self._flush()

    async def begin_anew(
        self, end: Callable[[], tuple[Writer, Hello]], rows: Sequence[PlanRow], sinks: Sequence[bytes] = ()
    ) -> None:
        """Let the log end, and go on in the one that `end`, called between two entries, gives a writer and a hello for.

        What has been reported since the last entry goes there. Raises StoreError.
        """
        async with self._one_at_a_time:
            writer, hello = end()
            self._writer = writer
            self._logs.begin_own(writer.log)
            self._told = [_Told() for _ in self._checks]
            plan = [(Kind.PLAN, part.payload()) for part in split_plan(rows, sinks)]
            self._plan_seq = writer.next_seq + 1
            await self._write([(Kind.HELLO, hello.payload()), *plan])

    async def run(self) -> None:
        """Write entries as they fall due, until cancelled. Raises StoreError."""
        while True:
            self._turned(self._batch.due_ms)
            wait_ms = self._batch.due_ms - self._clock.monotonic_ms()
            with trio.move_on_after(max(0, wait_ms) / 1_000):
                await self._wake.wait()
            self._wake = trio.Event()
            if self._clock.monotonic_ms() >= self._batch.due_ms:
                await self._flush()

    async def say_bye(self, bye: Bye) -> None:
        """Write what is waiting, then take leave. Nothing is written after it: who still wants to waits to be cancelled."""
        async with self._one_at_a_time:
            await self._write_all_results()
            await self._write([(Kind.BYE, bye.payload())])
            self._has_left = True

    async def append_due(self, due: Callable[[], Awaitable[Sequence[tuple[Kind, Value]]]]) -> bool:
        """Write what `due` names; nothing is appended between its answer and that. Returns whether there was anything."""
        async with self._one_at_a_time:
            contents = await due()
            if contents:
                await self._write(contents)
            return bool(contents)

    async def _flush(self) -> None:
        """One entry with what is waiting, or without: then it is the heartbeat."""
        async with self._one_at_a_time:
            await self._write_results(self._batch.take(self._clock.monotonic_ms()))

    async def _write_all_results(self) -> None:
        while waiting := self._batch.take(self._clock.monotonic_ms()):
            await self._write_results(waiting)

    async def _write_results(self, results: tuple[Result, ...]) -> None:
        try:
            await self._write([(Kind.RESULTS, Results(self._plan_seq, results))])
        except EntryError:
            if len(results) <= 1:
                raise
            # Many long details: two entries hold what one cannot, and a single result always fits.
            middle = len(results) // 2
            await self._write_results(results[:middle])
            await self._write_results(results[middle:])

    async def _append(self, contents: Sequence[tuple[Kind, Value | Results]]) -> None:
        async with self._one_at_a_time:
            await self._write(contents)

    async def _write(self, contents: Sequence[tuple[Kind, Value | Results]]) -> None:
        """Write, store, mark, show and publish one entry for each of `contents`, all at one time."""
        if self._has_left:
            await trio.sleep_forever()
        wall_ms, up_ms = self._clock.wall_ms(), self._clock.up_ms()
        entries: list[Entry] = []
        for kind, content in contents:
            payload = content.payload(up_ms) if isinstance(content, Results) else content
            next_ms = self._batch.promise_ms
            entries.append(self._writer.write(kind, payload, wall_ms=wall_ms, up_ms=up_ms, next_ms=next_ms))
        carried: Carried = {}
        with trio.CancelScope(shield=True):  # once signed, an entry is stored
            owner = {self._writer.log: self._writer.public_key}
            carried = await self._storage.commit(entries, public_keys=owner, own=True)
            self._marker(Marker(self._clock.boot8, self._store_file, self._writer.log, entries[-1].head))
            self._logs.append_own(entries)
            self._logs.end(carried)
        for entry in entries:
            self._shown(entry)
        if carried:
            self._gone([log for logs in carried.values() for log in logs])
        ENTRIES_WRITTEN.inc(len(entries))
        await self._publish(entries)

    def _result(self, run: Run) -> Result:
        """The run as the log keeps it: certificate and addresses only when they changed, or were not told for a while."""
        result = run.result
        facts = (result.certificate_expires_s, result.address, result.other_address)
        told, now_ms = self._told[run.check], self._clock.monotonic_ms()
        tell = facts != told.facts or now_ms - told.at_ms >= limits.CERTIFICATE_EXPIRY_REPEAT_MS
        if tell:
            self._told[run.check] = _Told(facts, now_ms)
        return Result(
            check=run.check,
            up_ms=run.up_ms,
            outcome=result.outcome,
            latency_us=result.latency_us,
            detail=result.detail,
            certificate_expires_s=facts[0] if tell else None,
            address=facts[1] if tell else None,
            lateness_ms=run.lateness_ms,
            other_address=facts[2] if tell else None,
        )
