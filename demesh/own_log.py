"""This node's own log during one run: whether it goes on or a new epoch begins, who writes it, and what besides results.

Guarantees: nothing is signed before it is decided whether the log goes on (`demesh.log.epoch`); what is written begins with a
hello and a plan, or follows them; the log ends, and a new epoch begins, as soon as a peer shows that somebody else has written
it. What is proven of forks in this node's logs is cited in its hello. The sums of hours and days that are over are written as
they fall due.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import trio
from nacl.signing import SigningKey

from demesh.author import Assignment, Author, Publish, Shown
from demesh.checks.runner import Run
from demesh.duty import Duty
from demesh.edges import Edges
from demesh.errors import HistoryError
from demesh.historian import Historian
from demesh.log.bye import Bye
from demesh.log.chain import Logs
from demesh.log.codec import Value
from demesh.log.entry import Kind, log_id
from demesh.log.epoch import Continue, NewEpoch
from demesh.log.event import Event, warning
from demesh.log.head import Head
from demesh.log.hello import Hello
from demesh.log.writer import Writer
from demesh.metrics import REFUSED
from demesh.opening import Opened, readers
from demesh.own_sums import OwnSums
from demesh.pulse import AUTHOR
from demesh.view.warnings import may_warn
from demesh.witnesses import Witnesses

log = logging.getLogger(__name__)
_BOOKS_SECONDS = 30


@dataclass(frozen=True, slots=True)
class _Epoch:
    """What is written. The log's id is made of `nonce`."""

    log: bytes
    nonce: bytes
    previous: tuple[bytes, Head] | None


class OwnLog:
    def __init__(
        self,
        key: SigningKey,
        mesh_id: bytes,
        edges: Edges,
        opened: Opened,
        logs: Logs,
        duty: Duty,
        addresses: Callable[[], Sequence[str]],
        historian: Historian,
        shown: Shown,
        publish: Publish,
        on_gone: Callable[[Sequence[bytes]], None],
    ) -> None:
        """`addresses` are the multiaddrs to tell others to dial; `on_gone` is told which logs a carry of this node names."""
        self._key = key
        self._public_key = bytes(key.verify_key)
        self._mesh_id = mesh_id
        self._edges = edges
        self._opened = opened
        self._logs = logs
        self._duty = duty
        self._addresses = addresses
        self._historian = historian
        self._sums = OwnSums(historian, edges.storage, logs, edges.clock, self._public_key)
        self._shown = shown
        self._publish = publish
        self._on_gone = on_gone
        self._epoch: _Epoch
        self._author: Author
        self._told: Hello
        self._begun = trio.Event()
        self._changing = trio.Lock()
        self.witnesses = Witnesses(self._public_key, readers(opened.view, self._public_key), logs, edges.storage)

    async def begin(self, stop: trio.Event) -> bool:
        """Go on with the log, or begin a new epoch; either way it ends with hello and plan. Raises StoreError.

        False if `stop` was set before it came to that.
        """
        decision = await self.witnesses.settle(self._opened.decision, stop)
        if decision is None:
            return False
        writer = self._writer(decision)
        known = self._opened.view.log(writer.log)
        plan = known.plan if known else None
        self._author = Author(
            writer=writer,
            checks=self._duty.settings.checks,
            flush_interval_ms=self._duty.settings.flush_interval_ms,
            clock=self._edges.clock,
            storage=self._edges.storage,
            logs=self._logs,
            marker=self._edges.write_marker,
            store_file=self._edges.store.file_identity(),
            shown=self._shown,
            publish=self._publish,
            gone=self._on_gone,
            votes=self._duty.votes(writer.log, self._duty.rows),
            turned=self._edges.pulse.of(AUTHOR),
        )
        self._told = self._hello()
        await self._author.begin(
            self._told,
            known.hello if known else None,
            self._duty.rows,
            plan.seq if plan and (list(plan.rows), plan.sinks) == (self._duty.rows, self._duty.sinks) else None,
            self._duty.sinks,
        )
        # Only now: a copy that ends before its new epoch is on the disk must begin one at its next start, too.
        await self._edges.storage.call(lambda store: store.settle(store.place(self._edges.machine)))
        self._begun.set()
        carried = await self._edges.storage.call(lambda store: store.carried())
        self.gone([log for logs in carried.values() for log in logs])
        return True

    async def run(self) -> None:
        """Write what falls due, until cancelled. Raises StoreError."""
        async with trio.open_nursery() as nursery:
            for task in (self._author.run, self._keep_books, self._mind_contradiction):
                nursery.start_soon(task)

    def report(self, run: Run) -> bool:
        """Take a run's result in; see `Author.report`."""
        return self._author.report(run)

    async def change(self, prepare: Callable[[bytes], Assignment]) -> None:
        """Go over to other checks, and say what else has changed of this node. Raises StoreError.

        `prepare` gets the log's id; see `Author.replan` for when it is called.
        """
        await self._begun.wait()
        async with self._changing:
            await self._author.replan(lambda: prepare(self._epoch.log))
            await self._greet_anew()

    async def greet_anew(self) -> bool:
        """Say what has changed of this node, if anything has; returns whether. Raises StoreError."""
        async with self._changing:
            return await self._greet_anew()

    async def tell(self, *events: Event) -> None:
        """Tell the mesh of things that happened or were decided. Raises StoreError."""
        await self._begun.wait()
        await self._author.say(Kind.EVENT, events)

    async def tell_news(self, *notices: Event) -> None:
        """Tell the mesh of what is forgotten again as results are. Raises StoreError."""
        await self._begun.wait()
        await self._author.say(Kind.NOTICE, notices)

    async def warn(self, subject: str, text: str) -> None:
        """Warn the mesh, at most once an hour of each subject. Raises StoreError."""

        async def due() -> Sequence[tuple[Kind, Value]]:
            own = self._opened.view.log(self._epoch.log)
            known = own.warnings if own else ()
            may = may_warn(known, subject, self._edges.clock.boot8, self._edges.clock.up_ms())
            return [(Kind.EVENT, warning(subject, text).payload())] if may else []

        await self._begun.wait()
        await self._author.append_due(due)

    def gone(self, logs: Sequence[bytes]) -> None:
        """Carries name these logs, so nobody takes more of them."""
        if self._begun.is_set() and self._epoch.log in logs:
            self.witnesses.end("Another node with this node's key has declared this log over.")

    def accused(self, log_id: bytes) -> None:
        """Somebody proves that this node's key has signed another history of a log."""
        if self._begun.is_set() and log_id == self._epoch.log:
            self.witnesses.end("Another history of this log was signed with this node's key.")

    async def end(self, bye: Bye) -> None:
        """Write what is waiting, then take leave. Raises StoreError."""
        await self._author.say_bye(bye)

    def _writer(self, decision: Continue | NewEpoch) -> Writer:
        """Who writes from now on."""
        if isinstance(decision, Continue):
            hello, head = self._opened.hello, decision.head
            assert hello is not None
            self._epoch = _Epoch(decision.log, hello.epoch_nonce, hello.previous)
        else:
            log.info("Beginning a new epoch of the log. %s", decision.why)
            nonce, head = self._edges.epoch_nonce(), None
            self._epoch = _Epoch(log_id(self._public_key, nonce), nonce, decision.previous)
        return Writer(self._key, self._mesh_id, self._edges.clock.boot8, self._epoch.log, head)

    async def _mind_contradiction(self) -> None:
        while True:
            why = await self.witnesses.contradiction(self._epoch.log)
            REFUSED.labels("chain", "own_log_contradicted").inc()
            log.error("%s It ends here, and a new epoch begins.", why)
            async with self._changing:
                await self._author.begin_anew(partial(self._end_epoch, why), self._duty.rows, self._duty.sinks)

    def _end_epoch(self, why: str) -> tuple[Writer, Hello]:
        """Who writes from now on, and how the new log begins. Called while nothing is being written."""
        state = self._logs.get(self._epoch.log)
        writer = self._writer(NewEpoch(why, (state.log, state.head) if state else None))
        self._told = self._hello()
        return writer, self._told

    async def _keep_books(self) -> None:
        """Write the sums of hours and days that are over."""
        while True:
            await trio.sleep(_BOOKS_SECONDS)
            with suppress(HistoryError):  # the historian makes it anew; what is due then stays due
                await self._historian.catch_up(self._epoch.log)  # the long part, while results may still be appended
                while await self._author.append_due(self._due):
                    pass

    async def _due(self) -> Sequence[tuple[Kind, Value]]:
        return await self._sums.due(self._epoch.log, self._edges.clock.wall_ms())

    async def _greet_anew(self) -> bool:
        hello = self._hello()
        if hello == self._told:
            return False
        await self._author.say_hello(hello)
        self._told = hello
        return True

    def _hello(self) -> Hello:
        forks = self._logs.forks_of(self._public_key)
        return self._duty.hello(self._epoch.nonce, self._epoch.previous, self._addresses(), forks)
