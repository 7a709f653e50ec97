"""The node: wires everything under one nursery; the only module that knows all the others.

    checks ─run→ author ─entry→ store ─→ view ─→ incidents ─→ senders
                                  ╰─→ gossip, sync ⇄ peers ─→ intake ─→ store ─→ view

What touches the world comes in through `Edges`, so a test or a simulation runs this very wiring with other edges. Any
service that fails ends the node: a supervisor restarts it, and the log is built to be picked up again.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import trio
from nacl.signing import SigningKey

from demesh import __version__, limits
from demesh.address import is_routable, multiaddr
from demesh.alerts.alertmanager import AlertmanagerSender, Post
from demesh.alerts.incident import Closed, Incidents, Opened, look
from demesh.alerts.outbox import Outbox, Outgoing
from demesh.author import Author
from demesh.checks.runner import run_checks
from demesh.clock import Clock
from demesh.config.load import Settings
from demesh.errors import StoreError
from demesh.log.bye import Bye
from demesh.log.chain import Gap, Logs
from demesh.log.entry import Entry, log_id
from demesh.log.epoch import Continue, Marker, decide_epoch
from demesh.log.head import Head
from demesh.log.hello import Hello
from demesh.log.replay import startup_entries
from demesh.log.storage import Storage
from demesh.log.store import Store
from demesh.log.writer import Writer
from demesh.mesh.dialer import keep_dialling
from demesh.mesh.gossip import bundles
from demesh.mesh.intake import Intake
from demesh.mesh.network import Network, Stream
from demesh.mesh.syncer import Syncer
from demesh.metrics import ENTRIES_SKIPPED, PEERS
from demesh.probes.base import Probe
from demesh.view import report
from demesh.view.fold import View
from demesh.view.presence import Presence
from demesh.view.vote import VoteState

log = logging.getLogger(__name__)
_LOOK_SECONDS = 1
_STALL_MS = 5_000
_FAREWELL_SECONDS = 0.3  # for the bye to leave


@dataclass(frozen=True, slots=True)
class Edges:
    """Everything through which a node touches the world."""

    clock: Clock
    store: Store
    """Read at start, before anything runs."""
    storage: Storage
    """The same store for running tasks."""
    network: Network
    probes: Mapping[str, Probe]
    post: Post
    read_marker: Callable[[], Marker | None]
    write_marker: Callable[[Marker], None]
    rng: random.Random
    epoch_nonce: bytes
    """Eight fresh random bytes, used up if a new epoch begins."""


class Node:
    def __init__(self, settings: Settings, key: SigningKey, mesh_id: bytes, edges: Edges) -> None:
        self.settings = settings
        self.key = bytes(key.verify_key)
        self.mesh = mesh_id.hex()[:8]
        self.ready = trio.Event()
        """Set once the first entry of this run is durable and the services listen."""
        self._edges = edges
        self._clock = edges.clock
        self.view = self._load_view()
        writer, self._previous, self._nonce = self._open_log(key, mesh_id)
        self.logs = Logs(mesh_id, writer.log, edges.store.logs())
        self._incidents = Incidents()
        self._outbox = Outbox()
        self._senders = [
            AlertmanagerSender(url, edges.post, self._outgoing, edges.clock.wall_ms) for url in settings.alertmanagers
        ]
        self._changed = trio.Event()
        self._store_failure: StoreError | None = None
        self._store_failed = trio.Event()
        self._asked_about: dict[bytes, int] = {}
        own = self.view.log(writer.log)
        self._known_hello = own.hello if own else None
        self._rows = [check.row(mesh_id, check.runs_on(settings.name, settings.tags)) for check in settings.checks]
        self._known_plan = own.plan.seq if own and own.plan and list(own.plan.rows) == self._rows else None
        self._author = Author(
            writer=writer,
            checks=settings.checks,
            flush_interval_ms=settings.flush_interval_ms,
            clock=edges.clock,
            storage=edges.storage,
            logs=self.logs,
            marker=edges.write_marker,
            store_file=edges.store.file_identity(),
            shown=lambda entry: self._show(self.key, entry, self._clock.monotonic_ms(), True),
            publish=self._publish,
            votes=[
                own.votes.get((row.name, row.definition), VoteState()) if own else VoteState() for row in self._rows
            ],
        )
        self._intake = Intake(self.logs, edges.storage, edges.clock, self._show, self._on_gaps)
        self._syncer = Syncer(mesh_id, self.logs, edges.storage, self._intake, edges.network, edges.clock, edges.rng)

    async def run(self, stop: trio.Event, services: Sequence[Callable[["Node"], Awaitable[None]]] = ()) -> None:
        """Run until `stop` is set, then take leave. `services` are started before the node is ready.

        Raises DemeshError (perhaps in a group) when something without which there is no node fails.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self._edges.network.run, self)
            for task in (self._intake.run, self._syncer.run, self._look, self._end_with_the_store):
                nursery.start_soon(task)
            nursery.start_soon(keep_dialling, self.settings.peers, self._edges.network, self.key, self._edges.rng)
            for sender in self._senders:
                nursery.start_soon(sender.run)
            await self._author.begin(self._hello(), self._known_hello, self._rows, self._known_plan)
            nursery.start_soon(self._author.run)
            for service in services:
                await nursery.start(service, self)
            async with trio.open_nursery() as checking:
                checking.start_soon(self._run_checks)
                self.ready.set()
                await stop.wait()
                checking.cancel_scope.cancel()
            await self._author.say_bye(Bye("stopped"))
            await trio.sleep(_FAREWELL_SECONDS)
            nursery.cancel_scope.cancel()

    def status(self) -> dict[str, Any]:
        """The answer of `demesh status --json`."""
        now_ms, wall_ms = self._clock.monotonic_ms(), self._clock.wall_ms()
        answer = report.status(self.view, self.mesh, self.key, now_ms, wall_ms)
        answer["incidents"] = [
            {
                "name": each.name,
                "subject": each.subject,
                "state": "open",
                "since": report.iso(each.onset_ms),
                "labels": dict(each.labels),
                "annotations": dict(each.annotations),
            }
            for each in self._incidents.open()
        ]
        return answer

    def heads(self) -> list[dict[str, Any]]:
        """The answer of `demesh log heads --json`."""
        return report.heads(self.view, self.logs.states())

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

    def _load_view(self) -> View:
        view = View(self.key, self._clock.monotonic_ms())
        for state in self._edges.store.logs():
            view.load(state.public_key, startup_entries(self._edges.store, state))
        return view

    def _open_log(self, key: SigningKey, mesh_id: bytes) -> tuple[Writer, tuple[bytes, Head] | None, bytes]:
        """The writer of the own log, going on or beginning anew; also the epoch before it and the epoch's nonce."""
        store = self._edges.store
        own = store.own_log(self.key)  # with another key in its place, the node is another member
        decision = decide_epoch(
            own_log=own,
            marker=self._edges.read_marker(),
            boot8=self._clock.boot8,
            store_file=store.file_identity(),
            hash_at=lambda seq: store.hash_at(own[0], seq) if own else None,
        )
        if isinstance(decision, Continue):
            known = self.view.log(decision.log)
            assert known is not None and known.hello is not None
            writer = Writer(key, mesh_id, self._clock.boot8, decision.log, decision.head)
            return writer, known.hello.previous, known.hello.epoch_nonce
        log.info("Beginning a new epoch of the log. %s", decision.why)
        nonce = self._edges.epoch_nonce
        return Writer(key, mesh_id, self._clock.boot8, log_id(self.key, nonce), None), decision.previous, nonce

    def _hello(self) -> Hello:
        said = [multiaddr(host, port) for host, port in self.settings.advertise]
        heard = [each for each in self._edges.network.listen_addresses() if is_routable(each)]
        return Hello(
            public_key=self.key,
            epoch_nonce=self._nonce,
            name=self.settings.name,
            version=__version__,
            tags=self.settings.tags,
            addresses=tuple(said or heard)[: limits.ADDRESSES_MAX],
            previous=self._previous,
        )

    # Running

    async def _run_checks(self) -> None:
        running = {index: self.settings.checks[index] for index, row in enumerate(self._rows) if row.runs}
        await run_checks(running, self._edges.probes, self._clock, self._author.report)

    async def _publish(self, entries: Sequence[Entry]) -> None:
        for message in bundles(entries):
            await self._edges.network.broadcast(message)

    def _show(self, owner: bytes, entry: Entry, received_ms: int, first_hand: bool) -> None:
        self.view.apply(owner, entry, received_ms, first_hand=first_hand)
        self._changed.set()

    def _on_gaps(self, peer: bytes, gaps: Sequence[Gap]) -> None:
        self._syncer.pull_from(peer)

    def _outgoing(self) -> Sequence[Outgoing]:
        return self._outbox.outgoing(self._clock.monotonic_ms(), self._clock.wall_ms())

    async def _end_with_the_store(self) -> None:
        """Raise what a handler of the network may not."""
        await self._store_failed.wait()
        assert self._store_failure is not None
        raise self._store_failure

    async def _look(self) -> None:
        """Conclude anew whenever something arrived, and every second for what does not."""
        looked_ms = self._clock.monotonic_ms()
        while True:
            with trio.move_on_after(_LOOK_SECONDS):
                await self._changed.wait()
            self._changed = trio.Event()
            now_ms = self._clock.monotonic_ms()
            if now_ms - looked_ms > _STALL_MS:
                log.warning("This node did not run for %d s; it listens anew.", (now_ms - looked_ms) // 1_000)
                self.view.listen_anew(now_ms)
            looked_ms = now_ms
            self._conclude(now_ms, self._clock.wall_ms())

    def _conclude(self, now_ms: int, wall_ms: int) -> None:
        self.view.tick(now_ms)
        ENTRIES_SKIPPED.set(self.view.skipped)
        seen = look(self.view, self.mesh, self.settings.alert_labels, now_ms, wall_ms)
        changes = self._incidents.update(seen, wall_ms)
        self._outbox.update(self._incidents.open(), changes, now_ms)
        for change in changes:
            _tell(change)
        if changes:
            for sender in self._senders:
                sender.poke()
        for member in self.view.members():
            suspect = self.view.presence(member, now_ms) == Presence.SUSPECT
            if suspect and self._asked_about.get(member.public_key) != member.sign.at_ms:
                self._asked_about[member.public_key] = member.sign.at_ms
                self._syncer.pull_from_some()


def _tell(change: Opened | Closed) -> None:
    what = "opened" if isinstance(change, Opened) else "closed"
    log.warning("Incident %s: %s %s", what, change.incident.name, change.incident.subject)
