"""The node: wires everything under one nursery; the only module that knows all the others.

    checks ─run→ author ─entry→ store ─→ view ─→ incidents ─→ senders
                                  ╰─→ gossip, sync ⇄ peers ─→ intake ─→ store ─→ view

What touches the world comes in through `Edges`, so a test or a simulation runs this very wiring with other edges. Any
service that fails ends the node: a supervisor restarts it, and the log is built to be picked up again.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import trio
from nacl.signing import SigningKey

from demesh import limits
from demesh.alerting import Alerting
from demesh.answers import Answers
from demesh.asking import Answerer, Asker, Probers, Question
from demesh.changeover import Changeover
from demesh.checks.latest import LatestRuns
from demesh.checks.runner import Run, Runner
from demesh.clock import Clock
from demesh.config.asked import check_asked
from demesh.config.load import Settings
from demesh.display import Display
from demesh.duty import Duty
from demesh.edges import Edges
from demesh.explaining import Question as Explained
from demesh.explaining import explain_in_background
from demesh.historian import Historian
from demesh.home import bytes_on_disk
from demesh.housekeeping import Housekeeper, Retention
from demesh.incoming import Incoming
from demesh.log.admission import Admission
from demesh.log.bye import LEFT, Bye
from demesh.log.chain import Logs
from demesh.log.entry import NO_LOG, Entry
from demesh.log.epoch import NewEpoch
from demesh.log.state import LogState
from demesh.log.taken import Gap
from demesh.membership import Membership
from demesh.mesh.ask import Turnstile
from demesh.mesh.dialer import keep_dialling
from demesh.mesh.gossip import bundles
from demesh.mesh.intake import Intake
from demesh.mesh.network import Usage
from demesh.mesh.reach import keep_reaching
from demesh.mesh.supervisor import Supervisor
from demesh.mesh.syncer import Syncer
from demesh.opening import open_logs
from demesh.outcome import Outcome
from demesh.own_log import OwnLog
from demesh.pulse import INTAKE, NETWORK, SCHEDULER, SYNCER
from demesh.ranking import Ranking
from demesh.relaying import Borrower, Lender
from demesh.view.isolation import CUT_OFF
from demesh.view.own_clock import own_clock
from demesh.view.presence import Presence

_FAREWELL_SECONDS = 0.3  # for the bye to leave
_NETWORK_REBUILT = "This node's network failed and was built anew; its diagnostic log says why."


class Node:
    def __init__(self, settings: Settings, key: SigningKey, mesh_id: bytes, edges: Edges) -> None:
        self.key = bytes(key.verify_key)
        self.mesh = mesh_id.hex()[:8]
        self.ready = trio.Event()
        """Set once the first entry of this run is durable and the services listen."""
        self.latest = LatestRuns()
        self._edges = edges
        self._clock = edges.clock
        opened = open_logs(
            self.key, edges.clock, edges.store, edges.history, edges.read_marker(), edges.machine, edges.starting
        )
        self.view, decision = opened.view, opened.decision
        self._admission = Admission(self.key, settings.policy)
        self.logs = Logs(
            mesh_id,
            NO_LOG if isinstance(decision, NewEpoch) else decision.log,
            edges.store.logs(),
            edges.store.carried(),
            edges.store.dates(),
            admission=self._admission,
        )
        self.view.bars = lambda key: not self._admission.allows(key)
        self.view.own_clock = lambda: own_clock(
            list(self.latest.clock_offsets_us(self.settings.checks, self._clock.up_ms()))
        )
        self.historian = Historian(
            opened.history,
            edges.history_storage,
            edges.storage,
            self.logs,
            lambda: self._display.folded(self._intake.previewed_to),
            edges.clock,
            self.key,
        )
        self._display = Display(self.view, edges.storage, edges.clock, self._look_soon)
        self.ranking = Ranking(self.view, self.historian.records, edges.clock)
        self.duty = Duty(settings, mesh_id, self.key, self.view, edges.clock)
        self._pulse = edges.pulse
        self._supervisor = Supervisor(
            edges.network,
            edges.clock,
            edges.rng,
            self._keep_connected,
            self._warn_of_the_network,
            self._pulse.of(NETWORK),
        )
        self._membership = Membership(
            self.view,
            self.logs,
            edges.storage,
            edges.network,
            edges.clock,
            self.key,
            self._furthest,
            edges.own_addresses,
        )
        self._leaving = False
        self._stop = trio.Event()
        self._own_log = OwnLog(
            key,
            mesh_id,
            edges,
            opened,
            self.logs,
            self.duty,
            self._membership.own_addresses,
            self.historian,
            lambda entry: self._display.accepted(self.key, entry, self._clock.monotonic_ms(), True),
            self._publish,
            self._on_gone,
        )
        listed = edges.public_probes if edges.listed_probes is None else edges.listed_probes
        self._runner = Runner(
            edges.probes, edges.clock, self._report, self.duty.turn, listed, self._pulse.of(SCHEDULER)
        )
        self._explaining = trio.Lock()
        self._intake = Intake(
            self.logs,
            edges.storage,
            edges.clock,
            mesh_id,
            self._display.shown,
            self._on_gone,
            self._on_gaps,
            self._end,
            self._own_log.accused,
            self._pulse.of(INTAKE),
        )
        self._syncer = Syncer(
            mesh_id,
            self.logs,
            edges.storage,
            self._intake,
            edges.network,
            edges.clock,
            edges.rng,
            self._own_log.witnesses.said,
            lambda peer, log_id: self.view.writes(peer, log_id, self._clock.monotonic_ms()),
            self._pulse.of(SYNCER),
        )
        probers = Probers(edges.probes, edges.public_probes, listed)
        self._asker = Asker(self.key, mesh_id, self.view, edges.clock, edges.network, probers)
        turnstile = Turnstile()
        self.incoming = Incoming(
            edges.network,
            self._intake,
            self._syncer,
            Answerer(mesh_id, self.view, edges.clock, probers, turnstile, lambda: self.settings),
            Lender(self.view, edges.clock, turnstile, lambda: self.settings),
        )
        edges.relays.offer(Borrower(self.view, edges.clock, edges.network).candidates)
        self._alerting = Alerting(
            self.view,
            self.key,
            mesh_id,
            edges,
            self._own_log,
            lambda: self.settings,
            self._syncer.pull_from_some,
            self._hears,
            self._complete,
        )
        self.deciding, self.sink_trial = self._alerting.deciding, self._alerting.trial
        self._answers = Answers(
            self.mesh,
            self.key,
            edges.clock,
            self.view,
            self.logs,
            self.historian,
            self.duty,
            self._syncer,
            self._supervisor,
            self._alerting,
        )
        self._changeover = Changeover(
            edges.load_settings,
            self.duty,
            self._own_log,
            self._runner,
            self._admission,
            edges.network,
            self._alerting,
        )
        self._housekeeper = Housekeeper(
            Retention(settings.raw_ms, settings.hour_ms, settings.size_max_bytes),
            edges.storage,
            self.logs,
            self.historian,
            edges.clock,
            self._holders,
            edges.history.size,
            partial(self._own_log.warn, "retention"),
        )

    async def run(self, stop: trio.Event, services: Sequence[Callable[["Node"], Awaitable[None]]] = ()) -> None:
        """Run until `stop` is set, then take leave. `services` are started before the node is ready.

        Raises DemeshError (perhaps in a group) when something without which there is no node fails.
        """
        self._stop = stop
        self._edges.network.admit(self._admission.allows)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._supervisor.run, self.incoming)
            for task in (self._intake.run, self._syncer.run, self.incoming.run):
                nursery.start_soon(task)
            for task in (self.historian.run, self._housekeeper.run, *self._alerting.watchers):
                nursery.start_soon(task)
            self._edges.starting("settling whether the own log goes on")
            if not await self._own_log.begin(stop):
                nursery.cancel_scope.cancel()
                return
            for task in (self._own_log.run, self._membership.run):
                nursery.start_soon(task)
            nursery.start_soon(self._membership.keep_addresses, self._own_log.greet_anew)
            for task in self._alerting.writers:
                nursery.start_soon(task)
            for service in services:
                await nursery.start(service, self)
            async with trio.open_nursery() as checking:
                self._runner.set_checks(self.duty.running())
                checking.start_soon(self._runner.run)
                checking.start_soon(self._changeover.follow_the_mesh)
                self.ready.set()
                await stop.wait()
                checking.cancel_scope.cancel()
            bye = Bye(LEFT, limits.TIME_MS_MAX) if self._leaving else Bye("stopped", self.settings.back_within_ms)
            await self._own_log.end(bye)
            await trio.sleep(_FAREWELL_SECONDS)
            nursery.cancel_scope.cancel()

    @property
    def settings(self) -> Settings:
        """What is in force."""
        return self.duty.settings

    def status(self) -> dict[str, Any]:
        """The answer of `demesh status --json`."""
        return self._answers.status()

    def heads(self) -> list[dict[str, Any]]:
        """The answer of `demesh log heads --json`."""
        return self._answers.heads()

    def held_checks(self) -> list[dict[str, Any]]:
        """The answer of `demesh check list --json`."""
        return self._answers.held_checks()

    async def reload(self) -> None:
        """Take up the configuration anew. Raises UsageError for a bad one; then the last good one stays in force."""
        await self._changeover.reload()

    def hanging(self) -> list[str]:
        """The loops that hang (`demesh.pulse`): none if all is well, or while the node starts and they do not turn yet."""
        return self._pulse.hanging(self._clock.monotonic_ms()) if self.ready.is_set() else []

    def peers(self) -> tuple[int, int]:
        """How many other members there are, and with how many of them this node is connected."""
        others = {member.public_key for member in self.view.members()} - {self.key}
        return len(others), len(others.intersection(self._edges.network.peers()))

    def question(self, name: str | None, table: Mapping[str, Any], selectors: Sequence[str]) -> Question:
        """The check `name`, or that of `table`, to be tried once from the nodes that `selectors` mean. Raises UsageError."""
        return self._asker.question(check_asked(self.settings.checks, name, table), selectors)

    def members(self) -> list[dict[str, Any]]:
        """The answer of `demesh members --json`."""
        return self._membership.told()

    async def explain(self, question: Explained) -> dict[str, Any]:
        """The answer of `demesh explain --json`. One at a time. Raises UsageError, StoreError."""
        async with self._explaining:
            return await explain_in_background(self._edges.storage, question)

    async def forget(self, wanted: str) -> None:
        """Tell the mesh that a member, by name or peer id, is none any more. Raises UsageError, StoreError."""
        await self._own_log.tell(self._membership.forget(wanted))

    def retry(self, names: Sequence[str]) -> list[str]:
        """Try the servers of these names, or all, that are parked here once more; returns their names. Raises UsageError."""
        return self.duty.retry(names)

    def leave(self) -> None:
        """Stop, and be no member any more until this node is started again."""
        self._leaving = True
        self._stop.set()

    @property
    def clock(self) -> Clock:
        return self._clock

    def store_bytes(self) -> int:
        """What the store takes on disk. Looks there; may be called in any thread."""
        return bytes_on_disk(self._edges.store.path)

    def usage(self) -> Usage:
        """What the network holds now."""
        return self._edges.network.usage()

    def dialable(self) -> Sequence[str]:
        """The multiaddrs of this machine at which others may reach this node."""
        return self._edges.network.dialable_addresses()

    def found(self, key: bytes, addresses: Sequence[str]) -> None:
        """Something outside found a node with this key at these multiaddrs."""
        self._membership.found(key, addresses)

    def listening(self) -> Sequence[str]:
        """The multiaddrs at which peers can connect."""
        return self._edges.network.listen_addresses()

    async def _keep_connected(self) -> None:
        network, rng = self._edges.network, self._edges.rng
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_dialling, self.settings.peers, network, self.key, rng, self._admission.allows)
            nursery.start_soon(keep_reaching, self._membership.candidates, network, rng)

    async def _warn_of_the_network(self) -> None:
        await self._own_log.warn("network", _NETWORK_REBUILT)

    def _report(self, run: Run) -> bool:
        if self.view.cut_off and run.result.outcome.blames_target:
            detail = f"{CUT_OFF}{run.result.detail}"
            run = replace(run, result=replace(run.result, outcome=Outcome.ERROR, detail=detail))
        self.latest.note(self.settings.checks[run.check], run)
        self.duty.tried(run.check)
        return self._own_log.report(run)

    async def _publish(self, entries: Sequence[Entry]) -> None:
        for message in bundles(entries):
            await self._edges.network.broadcast(message)

    async def _end(self, state: LogState) -> None:
        if await self._display.ended(state):
            await self.historian.fold_anew(state.log)

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

    def _on_gone(self, logs: Sequence[bytes]) -> None:
        self.view.forget(logs)
        self._own_log.gone(logs)

    def _on_gaps(self, peer: bytes, gaps: Sequence[Gap]) -> None:
        self._syncer.pull_from(peer)

    def _hears(self) -> bool:
        return self._supervisor.condition.down_ms is None

    # For those that are made before whom they ask

    def _furthest(self, log_id: bytes) -> int:
        return self._syncer.furthest(log_id)

    def _look_soon(self) -> None:
        self._alerting.look_soon()

    def _complete(self) -> bool:
        return self._answers.complete()
