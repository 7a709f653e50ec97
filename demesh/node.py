"""The node: wires everything under one nursery; the only module that knows all the others.

    checks ─run→ author ─entry→ store ─→ view ─→ incidents ─→ senders
                                  ╰─→ gossip, sync ⇄ peers ─→ intake ─→ store ─→ view

What touches the world comes in through `Edges`, so a test or a simulation runs this very wiring with other edges. Any
service that fails ends the node: a supervisor restarts it, and the log is built to be picked up again.
"""

import logging
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any

import trio
from nacl.signing import SigningKey

from demesh import __version__, limits
from demesh.address import multiaddr
from demesh.alerts.alertmanager import Post
from demesh.author import Assignment, Author
from demesh.checks.check import Check, with_actual_key
from demesh.checks.latest import LatestRuns
from demesh.checks.runner import Run, Runner
from demesh.checks.schedule import Turn, turn_of
from demesh.clock import Clock
from demesh.config.load import Settings
from demesh.errors import EntryError, HistoryError, StoreError, UsageError
from demesh.historian import Historian, HistoryStorage
from demesh.home import bytes_on_disk
from demesh.housekeeping import Housekeeper, Retention
from demesh.interfaces import OwnAddress
from demesh.log.admission import Admission
from demesh.log.bye import LEFT, Bye
from demesh.log.chain import Gap, Logs, LogState
from demesh.log.codec import Value
from demesh.log.entry import Entry, Kind
from demesh.log.epoch import Marker
from demesh.log.hello import Hello
from demesh.log.plan import PlanRow, split_plan
from demesh.log.replay import startup_entries
from demesh.log.storage import Storage
from demesh.log.store import Store
from demesh.lookout import Lookout
from demesh.membership import Membership
from demesh.mesh.dialer import keep_dialling
from demesh.mesh.gossip import bundles
from demesh.mesh.intake import Intake
from demesh.mesh.network import Network, Stream
from demesh.mesh.reach import keep_reaching
from demesh.mesh.syncer import Syncer
from demesh.metrics import CONFIG_GOOD, PEERS, REFUSED
from demesh.opening import open_logs
from demesh.probes.base import Probe
from demesh.view import report
from demesh.view.history_store import HistoryStore
from demesh.view.presence import Presence
from demesh.view.vote import VoteState

log = logging.getLogger(__name__)
_BOOKS_SECONDS = 30
_VANTAGES_KEPT_MS = 10_000
_FAREWELL_SECONDS = 0.3  # for the bye to leave


_LIVE = frozenset({"tags", "advertise", "policy", "alertmanagers", "alert_labels", "checks", "not_yet"})
"""The settings that change while a node runs; for the others it must be started anew."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Everything through which a node touches the world."""

    clock: Clock
    store: Store
    """Read at start, before anything runs."""
    storage: Storage
    """The same store for running tasks."""
    history: HistoryStore
    """Read at start; holds no more than `store` does."""
    history_storage: HistoryStorage
    network: Network
    probes: Mapping[str, Probe]
    post: Post
    read_marker: Callable[[], Marker | None]
    write_marker: Callable[[Marker], None]
    rng: random.Random
    load_settings: Callable[[], Awaitable[Settings]]
    """Reads the configuration anew. Raises UsageError, with every problem, for a bad one."""
    epoch_nonce: bytes
    """Eight fresh random bytes, used up if a new epoch begins."""
    own_addresses: Callable[[], list[OwnAddress]] = list
    """Looks at the machine's interfaces; none by default."""


class Node:
    def __init__(self, settings: Settings, key: SigningKey, mesh_id: bytes, edges: Edges) -> None:
        self.settings = _with_actual_keys(settings, mesh_id)
        self.key = bytes(key.verify_key)
        self.mesh = mesh_id.hex()[:8]
        self.ready = trio.Event()
        """Set once the first entry of this run is durable and the services listen."""
        self.latest = LatestRuns()
        self._edges = edges
        self._clock = edges.clock
        opened = open_logs(
            key, mesh_id, edges.clock, edges.store, edges.history, edges.read_marker(), edges.epoch_nonce
        )
        self.view, writer = opened.view, opened.writer
        self._previous, self._nonce = opened.previous, opened.nonce
        self._admission = Admission(self.key, self.settings.policy)
        self.logs = Logs(mesh_id, writer.log, edges.store.logs(), self._admission)
        self.view.bars = lambda key: not self._admission.allows(key)
        self.historian = Historian(
            opened.history,
            edges.history_storage,
            edges.storage,
            self.logs,
            self.view.folded,
            edges.clock,
            self.key,
        )
        self._own_log = writer.log
        self._store_failure: StoreError | None = None
        self._store_failed = trio.Event()
        self._vantages: Mapping[tuple[str, bytes], Sequence[bytes]] = {}
        self._vantages_until_ms = 0
        self._mesh_id = mesh_id
        self._rows = self._plan_rows(self.settings)
        own = self.view.log(writer.log)
        self._known_hello = own.hello if own else None
        self._known_plan = own.plan.seq if own and own.plan and list(own.plan.rows) == self._rows else None
        self._author = Author(
            writer=writer,
            checks=self.settings.checks,
            flush_interval_ms=settings.flush_interval_ms,
            clock=edges.clock,
            storage=edges.storage,
            logs=self.logs,
            marker=edges.write_marker,
            store_file=edges.store.file_identity(),
            shown=lambda entry: self._show(self.key, entry, self._clock.monotonic_ms(), True),
            publish=self._publish,
            votes=self._votes(self._rows),
        )
        self._runner = Runner(edges.probes, edges.clock, self._report, self._turn)
        self._reloading = trio.Lock()
        self._begun = trio.Event()
        self._intake = Intake(self.logs, edges.storage, edges.clock, self._show, self._show_adopted, self._on_gaps)
        self._syncer = Syncer(mesh_id, self.logs, edges.storage, self._intake, edges.network, edges.clock, edges.rng)
        self._membership = Membership(
            self.view,
            self.logs,
            edges.storage,
            edges.network,
            edges.clock,
            self.key,
            self._syncer.furthest,
            edges.own_addresses,
        )
        self._bye = Bye("stopped")
        self._stop = trio.Event()
        self._lookout = Lookout(self.view, self.mesh, edges.clock, edges.post, self._syncer.pull_from_some)
        self._lookout.set_sinks(settings.alertmanagers, settings.alert_labels)
        self._housekeeper = Housekeeper(
            Retention(settings.raw_ms, settings.hour_ms, settings.size_max_bytes),
            edges.storage,
            self.logs,
            self.historian,
            edges.clock,
            self._holders,
            edges.history.size,
        )

    async def run(self, stop: trio.Event, services: Sequence[Callable[["Node"], Awaitable[None]]] = ()) -> None:
        """Run until `stop` is set, then take leave. `services` are started before the node is ready.

        Raises DemeshError (perhaps in a group) when something without which there is no node fails.
        """
        self._stop = stop
        self._edges.network.admit(self._admission.allows)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._edges.network.run, self)
            for task in (self._intake.run, self._syncer.run, self._lookout.run, self._end_with_the_store):
                nursery.start_soon(task)
            for task in (self.historian.run, self._housekeeper.run):
                nursery.start_soon(task)
            self._keep_connected(nursery)
            hello = self._hello()
            await self._author.begin(hello, self._known_hello, self._rows, self._known_plan)
            self._known_hello = hello
            self._begun.set()
            nursery.start_soon(self._author.run)
            for task in (self._keep_books, self._membership.run, self._keep_addresses):
                nursery.start_soon(task)
            for service in services:
                await nursery.start(service, self)
            async with trio.open_nursery() as checking:
                self._runner.set_checks(self._running())
                checking.start_soon(self._runner.run)
                self.ready.set()
                await stop.wait()
                checking.cancel_scope.cancel()
            await self._author.say_bye(self._bye)
            await trio.sleep(_FAREWELL_SECONDS)
            nursery.cancel_scope.cancel()

    def status(self) -> dict[str, Any]:
        """The answer of `demesh status --json`."""
        now_ms, wall_ms = self._clock.monotonic_ms(), self._clock.wall_ms()
        answer = report.status(self.view, self.historian.past, self.mesh, self.key, now_ms, wall_ms)
        return {**answer, "incidents": self._lookout.incidents()}

    def heads(self) -> list[dict[str, Any]]:
        """The answer of `demesh log heads --json`."""
        return report.heads(self.view, self.logs.states())

    def members(self) -> list[dict[str, Any]]:
        """The answer of `demesh members --json`."""
        return self._membership.told()

    async def forget(self, wanted: str) -> None:
        """Tell the mesh that a member, by name or peer id, is none any more. Raises UsageError, StoreError."""
        await self._begun.wait()
        await self._author.say_event(self._membership.forget(wanted))

    def leave(self) -> None:
        """Stop, and be no member any more until this node is started again."""
        self._bye = Bye(LEFT, limits.TIME_MS_MAX)
        self._stop.set()

    async def reload(self) -> None:
        """Take up the configuration anew. Raises UsageError for a bad one; then the last good one stays in force."""
        try:
            changed = await self.apply(await self._edges.load_settings())
        except UsageError:
            REFUSED.labels("config", "bad").inc()
            CONFIG_GOOD.set(0)
            raise
        CONFIG_GOOD.set(1)
        log.warning("The configuration was taken up: %d checks.", len(self.settings.checks))
        if changed:
            log.warning("These settings have changed, but not while this node runs; restart it: %s", ", ".join(changed))

    async def apply(self, settings: Settings) -> list[str]:
        """Go over to `settings` without a restart; returns the names of those settings that need one, left as they are.

        Checks that stay the same are not disturbed. Raises UsageError if so many checks cannot be told, StoreError.
        """
        await self._begun.wait()
        async with self._reloading:
            before = self.settings
            fixed = {each.name: getattr(before, each.name) for each in fields(before) if each.name not in _LIVE}
            changed = [name for name, value in fixed.items() if getattr(settings, name) != value]
            settings = _with_actual_keys(replace(settings, **fixed), self._mesh_id)
            rows = self._plan_rows(settings)
            try:
                parts = split_plan(rows) if rows != self._rows else ()
            except EntryError as error:
                raise UsageError(f"The checks cannot be told to the mesh: {error}.") from None

            def prepare() -> Assignment:
                votes = self._votes(rows)
                self.settings, self._rows = settings, rows
                self._admission.policy = settings.policy
                self._vantages_until_ms = 0
                self._runner.set_checks(self._running())
                return Assignment(settings.checks, votes, parts)

            await self._author.replan(prepare)
            await self._say_hello_anew()
            self._edges.network.admit(self._admission.allows)
            self._lookout.look_soon()
            self._lookout.set_sinks(settings.alertmanagers, settings.alert_labels)
            return changed

    @property
    def clock(self) -> Clock:
        return self._clock

    def store_bytes(self) -> int:
        """What the store takes on disk. Looks there; may be called in any thread."""
        return bytes_on_disk(self._edges.store.path)

    def dialable(self) -> Sequence[str]:
        """The multiaddrs of this machine at which others may reach this node."""
        return self._edges.network.dialable_addresses()

    def found(self, key: bytes, addresses: Sequence[str]) -> None:
        """Something outside found a node with this key at these multiaddrs."""
        self._membership.found(key, addresses)

    def listening(self) -> Sequence[str]:
        """The multiaddrs at which peers can connect."""
        return self._edges.network.listen_addresses()

    # What the network brings (demesh.mesh.network.Handler)

    def peer_connected(self, peer: bytes) -> None:
        PEERS.set(len(self._edges.network.peers()))
        self._syncer.pull_from(peer)

    def peer_lost(self, peer: bytes) -> None:
        PEERS.set(len(self._edges.network.peers()))

    def message(self, forwarder: bytes, data: bytes) -> None:
        self._intake.message(forwarder, data)

    async def stream(self, stream: Stream) -> None:
        try:
            await self._syncer.serve(stream)
        except StoreError as error:
            self._store_failure = error
            self._store_failed.set()

    # Start

    def _hello(self) -> Hello:
        said = [multiaddr(host, port) for host, port in self.settings.advertise]
        return Hello(
            public_key=self.key,
            epoch_nonce=self._nonce,
            name=self.settings.name,
            version=__version__,
            tags=self.settings.tags,
            addresses=tuple(said or self._membership.own_addresses())[: limits.ADDRESSES_MAX],
            previous=self._previous,
        )

    def _keep_connected(self, nursery: trio.Nursery) -> None:
        network, rng = self._edges.network, self._edges.rng
        nursery.start_soon(keep_dialling, self.settings.peers, network, self.key, rng, self._admission.allows)
        nursery.start_soon(keep_reaching, self._membership.candidates, network, rng)

    # Running

    async def _keep_addresses(self) -> None:
        """Tell the mesh when this node can be dialled at other addresses, not too often."""
        told_at = -math.inf
        while True:
            await trio.sleep(limits.ADDRESSES_LOOK_SECONDS)
            await self._membership.look_outside()
            if trio.current_time() - told_at >= limits.ADDRESSES_TOLD_SECONDS_MIN:
                async with self._reloading:
                    if await self._say_hello_anew():
                        told_at = trio.current_time()

    async def _say_hello_anew(self) -> bool:
        """Write the hello if it has changed; returns whether it has. To be called with `_reloading` held."""
        hello = self._hello()
        if hello == self._known_hello:
            return False
        await self._author.say_hello(hello)
        self._known_hello = hello
        return True

    def _plan_rows(self, settings: Settings) -> list[PlanRow]:
        return [check.row(self._mesh_id, check.runs_on(settings.name, settings.tags)) for check in settings.checks]

    def _votes(self, rows: Sequence[PlanRow]) -> list[VoteState]:
        """What the own log says so far of the checks in `rows`."""
        own = self.view.log(self._own_log)
        return [own.votes.get((row.name, row.definition), VoteState()) if own else VoteState() for row in rows]

    def _running(self) -> dict[int, Check]:
        return {index: self.settings.checks[index] for index, row in enumerate(self._rows) if row.runs}

    def _turn(self, check: int) -> Turn:
        """This node's turn among the members that run a check and are not silent."""
        now_ms, row = self._clock.monotonic_ms(), self._rows[check]
        if now_ms >= self._vantages_until_ms:
            self._vantages_until_ms = now_ms + _VANTAGES_KEPT_MS
            self._vantages = self.view.vantages(now_ms)
        return turn_of(self.key, self._vantages.get((row.name, row.definition), ()))

    async def _keep_books(self) -> None:
        """Write the sums of hours and days that are over into the own log."""
        while True:
            await trio.sleep(_BOOKS_SECONDS)
            with suppress(HistoryError):  # the historian makes it anew; what is due then stays due
                await self.historian.catch_up(self._own_log)  # the long part, while results may still be appended
                while await self._author.append_due(self._due):
                    pass

    async def _due(self) -> Sequence[tuple[Kind, Value]]:
        return await self.historian.sums_due(self._own_log, self._clock.wall_ms())

    def _report(self, run: Run) -> bool:
        self.latest.note(self.settings.checks[run.check], run)
        return self._author.report(run)

    async def _publish(self, entries: Sequence[Entry]) -> None:
        for message in bundles(entries):
            await self._edges.network.broadcast(message)

    def _show(self, owner: bytes, entry: Entry, received_ms: int, first_hand: bool) -> None:
        self.view.apply(owner, entry, received_ms, first_hand=first_hand)
        self._lookout.look_soon()

    async def _show_adopted(self, state: LogState) -> None:
        before, tail = await self._edges.storage.call(lambda store: startup_entries(store, state))
        self.view.load(state.public_key, [*before, *tail])
        self.view.heed_forgets()

    def _holders(self, log_id: bytes, seq: int) -> tuple[int, int]:
        now_ms = self._clock.monotonic_ms()
        others = {
            member.public_key
            for member in self.view.members()
            if member.public_key != self.key and self.view.presence(member, now_ms) == Presence.ALIVE
        }
        state = self.logs.get(log_id)
        holding = self._syncer.holders(log_id, seq) & others
        return len(holding) + int(state is not None and state.head.seq >= seq), len(others) + 1

    def _on_gaps(self, peer: bytes, gaps: Sequence[Gap]) -> None:
        self._syncer.pull_from(peer)

    async def _end_with_the_store(self) -> None:
        """Raise what a handler of the network may not."""
        await self._store_failed.wait()
        assert self._store_failure is not None
        raise self._store_failure


def _with_actual_keys(settings: Settings, mesh_id: bytes) -> Settings:
    return replace(settings, checks=tuple(with_actual_key(check, mesh_id) for check in settings.checks))
