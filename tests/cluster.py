"""Whole nodes on virtual time, for tests: the real wiring, with a network, a store, a probe and a clock of the test's own."""

import json
import random
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from itertools import combinations, count, repeat
from pathlib import Path
from typing import Any

import trio
import trio.testing

from demesh.alerts.message import Message
from demesh.alerts.sink import Sink
from demesh.checks.check import Check
from demesh.config.load import Settings
from demesh.edges import Edges
from demesh.errors import NetworkError
from demesh.log.entry import Entry
from demesh.log.epoch import Marker
from demesh.log.replay import history_context
from demesh.log.store import Store
from demesh.mesh.memory import MemoryNetwork, MemorySwarm
from demesh.node import Node
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import Probe, ProbeSpec
from demesh.pulse import Pulse
from demesh.view.history import History
from demesh.view.history_store import HistoryStore
from demesh.view.presence import Presence
from tests.log.builders import MESH, DirectHistoryStorage, DirectStorage, TrioClock, key_of, public_key_of

FLUSH_SECONDS = 2
ALERTMANAGER = "http://alerts.example"


def web_check(**rest: Any) -> Check:
    return Check("web", ProbeSpec("http", "https://example.org/", 1_000), **rest)


class Member:
    """A node and the machine it runs on, which outlives it: the store's file, the marker and what its target does."""

    def __init__(
        self,
        swarm: MemorySwarm,
        place: Path,
        owner: str,
        checks: Sequence[Check],
        flush_seconds: int,
        network: type[MemoryNetwork] = MemoryNetwork,
    ) -> None:
        self.key = public_key_of(owner)
        self.says: Iterator[Outcome] = repeat(Outcome.PASS)
        self.marker: Marker | None = None
        self.probed_s: list[float] = []
        self.probe: Probe | None = None
        """What its probes do; otherwise they say what `says` gives."""
        self.public: list[ProbeSpec] = []
        """What was asked of its probes that ask public addresses only."""
        self.posts: list[tuple[str, list[dict[str, Any]], float]] = []
        self.notified: list[tuple[str, str, float]] = []
        """The messages that arrived: the state, the subject and when (monotonic seconds)."""
        self.sink_answers: Callable[[], bool] = lambda: True
        """Whether the sinks take a message from here now."""
        self.fetched: list[str] = []
        self.swarm = swarm
        self._network = network
        self._owner = self.name = owner
        self._file = place / f"{owner}.db"
        self._history_file = place / f"{owner}-view.db"
        self._clock = TrioClock()
        self._nonces = count(1)
        flush_ms, checks = 1_000 * flush_seconds, tuple(checks)
        settings = Settings(owner, flush_interval_ms=flush_ms, alertmanagers=(ALERTMANAGER,), checks=checks)
        self.configured: Settings | Exception = settings
        self.meets: Sequence[Member] = ()
        """With whom it is connected as soon as its network runs."""
        self.meanwhile = False
        """Whether the configuration is taken up anew while the node starts."""
        self.node: Node
        self.store: Store
        self.storage: DirectStorage

    async def run(self, stop: trio.Event, task_status: trio.TaskStatus[None]) -> None:
        with Store(self._file, mesh_id=MESH) as self.store, closing(HistoryStore(self._history_file)) as history:
            storage = self.storage = DirectStorage()
            storage.store = self.store
            pulse = Pulse()
            storage.waiting = pulse.disk(self._clock.monotonic_ms)
            edges = Edges(
                clock=self._clock,
                store=self.store,
                storage=storage,
                history=history,
                history_storage=DirectHistoryStorage(history),
                network=self._network(self.swarm, self.key),
                probes={"http": self._probe, "ntp": self._probe},
                public_probes=dict.fromkeys(("http", "dns", "mqtt"), self._probe_public),
                post=self._post,
                notify=self._notify,
                fetch=self._fetch,
                read_marker=lambda: self.marker,
                write_marker=self._mark,
                rng=random.Random(self._owner),
                load_settings=self._load_settings,
                epoch_nonce=lambda: next(self._nonces).to_bytes(8, "big"),
                pulse=pulse,
            )
            assert isinstance(self.configured, Settings)
            self.node = Node(self.configured, key_of(self._owner), MESH, edges)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.node.run, stop)
                if self.meets:
                    await trio.testing.wait_all_tasks_blocked()
                for other in self.meets:
                    self.swarm.connect(self.key, other.key)
                if self.meanwhile:
                    nursery.start_soon(self.node.reload)
                await self.node.ready.wait()
                task_status.started()

    def sleep(self, ms: int) -> None:
        """The machine was suspended for so long: its monotonic clock stood still, the others went on."""
        self._clock.slept_ms += ms

    def snapshot(self) -> bytes:
        """The store as it is on the disk now; the node does not run."""
        return self._file.read_bytes()

    def roll_back(self, snapshot: bytes) -> None:
        """Turn the disk of the machine, which was off meanwhile, back."""
        self._file.write_bytes(snapshot)
        self.marker = None
        for left in (*self._file.parent.glob(f"{self._file.name}-*"), self._history_file):
            left.unlink(missing_ok=True)

    def own_log(self) -> list[Entry]:
        """The entries of its newest epoch, as stored."""
        own = self.store.own_log()
        assert own is not None
        return self.store.read(own[0], 0, own[1].seq)[0]

    def history(self) -> list[tuple[object, ...]]:
        """Everything in the view's file after the node has ended, and what it had not folded yet."""
        with Store(self._file, readonly=True) as store, closing(HistoryStore(self._history_file)) as kept:
            history = kept.load(self.key)
            for state in store.logs():
                folded = history.logs.get(state.log)
                if folded:
                    history.learn(state.public_key, history_context(store, state.log, folded.applied_seq + 1))
            return folded_anew(store, history, kept)

    def lose_history(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._history_file}{suffix}").unlink(missing_ok=True)

    def history_made_anew(self) -> list[tuple[object, ...]]:
        """The same, folded from the logs alone."""
        anew = self._history_file.with_suffix(".anew")
        with Store(self._file, readonly=True) as store, closing(HistoryStore(anew)) as kept:
            return folded_anew(store, History(self.key), kept)

    def head_of(self, other: "Member") -> int:
        """The sequence number up to which this node holds the other's log; -1 without."""
        return max((each.head.seq for each in self.node.logs.states() if each.public_key == other.key), default=-1)

    def presence_of(self, other: "Member") -> Presence:
        member = self.node.view.member(other.key)
        assert member is not None
        return self.node.view.presence(member, self._clock.monotonic_ms())

    def incidents(self) -> list[tuple[str, str]]:
        return [(each["name"], each["subject"]) for each in self.node.status()["incidents"]]

    async def _load_settings(self) -> Settings:
        await trio.lowlevel.checkpoint()
        if isinstance(self.configured, Exception):
            raise self.configured
        return self.configured

    def _mark(self, marker: Marker) -> None:
        self.marker = marker

    async def _probe_public(self, spec: ProbeSpec) -> ProbeResult:
        self.public.append(spec)
        return await self._found(spec)

    async def _probe(self, spec: ProbeSpec) -> ProbeResult:
        return await self._found(spec)

    async def _found(self, spec: ProbeSpec) -> ProbeResult:
        await trio.lowlevel.checkpoint()
        if self.probe is not None:
            return await self.probe(spec)
        self.probed_s.append(trio.current_time())
        return ProbeResult(next(self.says))

    async def _notify(self, sink: Sink, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        if not self.sink_answers():
            raise NetworkError("nobody is there.")
        self.notified.append((message.state, message.incident.subject, trio.current_time()))

    async def _fetch(self, url: str) -> int:
        await trio.lowlevel.checkpoint()
        self.fetched.append(url)
        return 200

    async def _post(self, url: str, document: bytes) -> tuple[int, int | None]:
        await trio.lowlevel.checkpoint()
        if alerts := json.loads(document):  # an empty one asks for the time
            self.posts.append((url, alerts, self._clock.wall_ms() / 1_000))
        return 200, self._clock.wall_ms()


def folded_anew(store: Store, history: History, kept: HistoryStore) -> list[tuple[object, ...]]:
    """What a history says once all that the store holds is folded into it."""
    for state in store.logs():
        for row in store.each(state.log):
            assert isinstance(row, Entry)
            history.apply(state.public_key, row)
    kept.save(history, history.take_signed(), list(history.logs), history.take_gone())
    return kept.dump()


class Mesh:
    def __init__(self, place: Path, network: type[MemoryNetwork] = MemoryNetwork) -> None:
        """`network` is what its members are on."""
        self.swarm = MemorySwarm()
        self.place = place
        self.network = network

    def member(self, owner: str, checks: Sequence[Check] = (), flush_seconds: int = FLUSH_SECONDS) -> Member:
        return Member(self.swarm, self.place, owner, checks, flush_seconds, self.network)

    def forget(self, member: Member) -> None:
        """Its machine is off: it is connected with nobody."""
        for key in list(self.swarm.networks):
            if key != member.key:
                self.swarm.cut(member.key, key)

    def connect(self, *members: Member) -> None:
        for one, other in combinations(members, 2):
            self.swarm.connect(one.key, other.key)


@asynccontextmanager
async def running(*members: Member, seconds: float = 600) -> AsyncGenerator[None]:
    """Run `members`, and in the end stop them as a signal would. `seconds` is a deadline."""
    stop = trio.Event()
    with trio.fail_after(seconds):
        async with trio.open_nursery() as nursery:
            for member in members:
                await nursery.start(member.run, stop)
            yield
            stop.set()
