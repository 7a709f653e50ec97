"""One run: a scenario, played in virtual time under the eyes of the oracle, and what came of it.

    machines (tests.sim.machine), each with the real node ── network (…network), disks (…disk), clocks (…virtual), world (…world)
    faults (…faults) are done to all of these; the oracle (…oracle) watches; everything is told (…story)

Guarantees: the same scenario gives the same run, to the last entry, whatever the machine is busy with and whatever the
hashes of strings are.
"""

import gc
import logging
import math
import random
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import trio

from demesh import limits
from demesh.address import PeerAddress
from demesh.alerts.sink import Sink
from demesh.config.load import Settings
from demesh.errors import DemeshError, UsageError
from demesh.identity import peer_id
from demesh.log.admission import Policy
from demesh.log.replay import history_context
from demesh.log.store import Store
from demesh.mesh.gossip import bundles, read_message
from demesh.node import Node
from demesh.view.history import History
from demesh.view.history_store import HistoryStore
from tests.cluster import folded_anew
from tests.in_memory import directory_in_memory
from tests.log.builders import OTHER_MESH, key_of, log_of, rewritten
from tests.sim.disk import Disks
from tests.sim.faults import FAULTS
from tests.sim.machine import Machine
from tests.sim.network import PORT, Fabric
from tests.sim.oracle import Oracle, Violation
from tests.sim.outages import CALL_SECONDS
from tests.sim.scenario import SETTLING_SECONDS, Scenario, scenario
from tests.sim.story import Line, NodeLines, Story
from tests.sim.virtual import JumpingClock, MachineClock, hold_back, repeatable
from tests.sim.world import Alertmanager, Spell, State, Target, World

_ALERTMANAGER = "http://alerts.example"
_PHONE = Sink("https://phone.example/hook", "phone")
_LOOK_SECONDS = 5
_SELDOM_SECONDS = 60
_AGREE_SECONDS = 0.5
_DRIFT = 500e-6
_MACHINES_MIN = 3
_STEADY_MS = 60_000
_FORGET_SECONDS = 10
_FORGOTTEN_SECONDS_MAX = 400  # twice the longest promise, and what it takes to tell it


@dataclass(frozen=True)
class Report:
    """What came of a run."""

    scenario: Scenario
    violation: Violation | None
    digest: str
    lines: tuple[Line, ...]
    """The story."""
    seconds: float
    """Of virtual time."""
    done: Counter[str]
    """How often each kind of fault was done, and what that led to."""
    entries: int
    checked: dict[str, int]


def simulate(scenario: Scenario) -> Report:
    """Play `scenario`."""
    with directory_in_memory() as place:
        return _simulate(scenario, place)


def _simulate(scenario: Scenario, place: Path) -> Report:
    disks = Disks()
    before = gc.isenabled()
    gc.disable()  # finalizers would run at moments of their own
    try:
        clock = JumpingClock()
        with repeatable(scenario.seed, clock), _short_memory():
            return trio.run(_run, scenario, place, disks, clock=clock)
    finally:
        if before:
            gc.enable()
        disks.unregister()


def play(seed: int, nodes: int, minutes: int, only: frozenset[str] | None) -> Report:
    """The run of a seed, of the kinds of faults in `only`, or of any."""
    return simulate(scenario(seed, nodes, minutes, only))


async def _run(scenario: Scenario, place: Path, disks: Disks) -> Report:
    hold_back()
    story = Story(str(place))
    story.tell("seed", f"{scenario.seed}: {scenario.says()}")
    with _listening(story):
        async with trio.open_nursery() as nursery:
            simulation = Simulation(scenario, place, disks, story, nursery)
            await simulation.play()
            nursery.cancel_scope.cancel()
    if not simulation.oracle.violation:
        simulation.check_history()
    return Report(
        scenario,
        simulation.oracle.violation,
        story.digest(),
        tuple(story.lines),
        trio.current_time(),
        simulation.done + Counter(simulation.fabric.counts),
        len(simulation.oracle.hashes),
        simulation.oracle.checked,
    )


@contextmanager
def _short_memory() -> Generator[None]:
    """Who is heard for this long counts as there: runs are short."""
    before, limits.STEADY_MS = limits.STEADY_MS, _STEADY_MS
    try:
        yield
    finally:
        limits.STEADY_MS = before


class _listening:  # noqa: N801 a context manager
    """The diagnostic logs of all nodes go into the story, and nowhere else."""

    def __init__(self, story: Story) -> None:
        self._logger = logging.getLogger("demesh")
        self._handler = NodeLines(story)

    def __enter__(self) -> None:
        self._before = self._logger.handlers[:], self._logger.level, self._logger.propagate
        self._logger.handlers, self._logger.propagate = [self._handler], False
        self._logger.setLevel(logging.INFO)

    def __exit__(self, *_: object) -> None:
        self._logger.handlers, level, self._logger.propagate = self._before[0], self._before[1], self._before[2]
        self._logger.setLevel(level)


class Simulation:
    def __init__(self, scenario: Scenario, place: Path, disks: Disks, story: Story, nursery: trio.Nursery) -> None:
        self.scenario = scenario
        self.story = story
        self.fabric = Fabric(random.Random(f"{scenario.seed}/network"), scenario.latency_seconds)
        self.world = World({each.url: each for each in scenario.targets}, Alertmanager(scenario.wall_ms))
        self.oracle = Oracle(self)
        self.done: Counter[str] = Counter()
        self.machines: list[Machine] = []
        self.twins: list[Machine] = []
        self.departed: list[Machine] = []
        """Those that are gone for good."""
        self.denied: set[Machine] = set()
        """Whom the others do not let in."""
        self.settled_since = 0.0
        """Since when nobody has been gone for good, or forgotten."""
        self._place = place
        self._disks = disks
        self._nursery = nursery
        self._rng = random.Random(f"{scenario.seed}/machines")
        for index, name in enumerate(scenario.names):
            peers = tuple(_address(each) for each in scenario.neighbours(index))
            settings = Settings(
                name,
                flush_interval_ms=1_000 * scenario.flush_seconds,
                peers=peers,
                alertmanagers=(_ALERTMANAGER,),
                sinks=(_PHONE,),
                checks=scenario.checks,
            )
            self.machines.append(self._machine(name, name, _host(index), settings))

    def _machine(self, name: str, owner: str, address: str, settings: Settings) -> Machine:
        rate = 1 + self._rng.uniform(-_DRIFT, _DRIFT) if self.scenario.drifting else 1.0
        return Machine(
            name,
            address,
            key_of(owner),
            self._place,
            settings,
            MachineClock(name, self.scenario.wall_ms + self._rng.randrange(-500, 500), rate),
            disks=self._disks,
            fabric=self.fabric,
            world=self.world,
            witness=self.oracle,
            story=self.story,
            nursery=self._nursery,
            seed=str(self.scenario.seed),
            slow_disk=self.scenario.slow_disk,
        )

    def addresses(self) -> list[str]:
        return [each.address for each in (*self.machines, *self.twins)]

    def twin_of(self, machine: Machine) -> Machine:
        """A second machine with a copy of the disk as it is now."""
        assert isinstance(machine.running, Settings)
        number = self.done["copy"]
        twin = self._machine(f"{machine.name}x{number}", machine.name, f"10.0.1.{number}", machine.running)
        self.twins.append(twin)
        for path in machine.home.path.iterdir():
            if not path.name.endswith("-shm"):
                shutil.copyfile(path, twin.home.path / path.name)
        return twin

    def has_twin(self, machine: Machine) -> bool:
        """Whether another machine has, or had a moment ago, the same key."""
        return any(twin.key == machine.key for twin in self.twins)

    def can_spare(self, machine: Machine) -> bool:
        """Whether the mesh stays one, as configured, without it, and large enough for a majority."""
        is_between = machine is self.machines[0] and self.scenario.topology in ("star", "bridge")
        return len(self.machines) > _MACHINES_MIN and not (
            is_between or self.has_twin(machine) or self.denied or self.departed
        )

    def dismiss(self, machine: Machine) -> None:
        """It is gone for good."""
        self.machines.remove(machine)
        self.departed.append(machine)
        self.settled_since = trio.current_time()

    async def have_forgotten(self, gone: Machine, rng: random.Random) -> None:
        """Somebody has the mesh forget it, as soon as a node calls it silent; if nodes know that it left, nobody has to."""

        async def forget(node: Node) -> None:
            await node.forget(peer_id(gone.key))

        self.settled_since = math.inf
        try:
            while not all(each.live and _knows_left(each, gone) for each in self.machines):
                machine = rng.choice(self.machines)
                if machine.live and machine.process and machine.process.held is None:
                    await self.in_process(machine, partial(forget, machine.node), UsageError)
                await trio.sleep(_FORGET_SECONDS)
        finally:
            self.settled_since = trio.current_time()

    async def let_in_by(self, policy: Policy, rng: random.Random) -> None:
        """Everybody's configuration says whom to let in, one after the other. Nobody turns itself away."""
        for machine in list(self.machines):
            machine.settings = replace(machine.running, policy=policy)
            if machine.live and machine.process and machine.process.held is None:
                await self.in_process(machine, machine.node.reload, UsageError)
            await trio.sleep(rng.uniform(0, 2))

    async def go_on(self, machine: Machine) -> None:
        """A machine that stood still sees what was written into its configuration meanwhile."""
        if machine.live and machine.settings != machine.running:
            await self.in_process(machine, machine.node.reload, UsageError)

    def remove(self, twin: Machine) -> None:
        """The twin is switched off for good."""
        self.story.tell(twin.name, "is switched off")
        if twin.process:
            twin.process.kill()

    def forge(self, rng: random.Random) -> None:
        """Somebody gets a message that was sent before, one with a flipped bit, one of another mesh, or a liar's."""
        live = [each for each in self.machines if each.live and each.process]
        if not live or not self.oracle.broadcasts:
            return
        to, data = rng.choice(live), bytearray(rng.choice(self.oracle.broadcasts))
        match rng.randrange(4):
            case 0:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 1:
                data = bytearray(bundles(log_of("eve", 3, mesh_id=OTHER_MESH))[0])
            case 2:  # whoever has somebody's key writes on in that log, linked to nothing
                said = read_message(self.oracle.broadcasts[-1])
                assert isinstance(said, list), "nobody signs two histories here"
                last = said[-1]
                owner = self.oracle.authors[last.log].name.partition("x")[0]
                data = bytearray(bundles([rewritten(last, key_of(owner), seq=last.seq + 1, prev=bytes(range(32)))])[0])
            case _:
                pass
        sender = rng.choice(self.machines).key
        assert to.process is not None
        to.process.deliver(partial(to.node.incoming.message, sender, bytes(data)))

    async def in_process(
        self, machine: Machine, act: Callable[[], Awaitable[None]], *expected: type[DemeshError]
    ) -> None:
        """Do something as a task of a node's process would; wait until it is done or the process has ended."""
        process, done = machine.process, trio.Event()
        assert process is not None

        async def task() -> None:
            try:
                with suppress(*expected):
                    await act()
            finally:
                done.set()

        process.deliver(partial(process.nursery.start_soon, task))
        with trio.move_on_after(60):
            await done.wait()

    # The run

    async def play(self) -> None:
        """Everything from the first start to the last agreement, or to the first broken promise."""
        async with trio.open_nursery() as watching:
            watching.start_soon(self.fabric.run)
            watching.start_soon(self._look, _LOOK_SECONDS, self.oracle.look_often)
            watching.start_soon(self._look, _SELDOM_SECONDS, self.oracle.look_seldom)
            watching.start_soon(self._look, _LOOK_SECONDS, self.oracle.silences.must_be_told)
            watching.start_soon(self._wait_for_outages)
            watching.start_soon(self._end_when_broken, watching.cancel_scope)
            async with trio.open_nursery() as starting:
                late = {name for name, _ in self.scenario.late}
                for machine in self.machines:
                    if machine.name not in late:
                        starting.start_soon(self._start_soon, machine)
            with trio.move_on_at(self.scenario.faulty_seconds):
                async with trio.open_nursery() as faults:
                    for name, seconds in self.scenario.late:
                        faults.start_soon(self._start_late, name, seconds)
                    for kind, mean_seconds in self.scenario.faults.items():
                        faults.start_soon(self._keep_failing, faults, kind, mean_seconds)
                    await trio.sleep_forever()
            await self._heal()
            await self._agree()
            for machine in self.machines:
                await machine.leave()
            watching.cancel_scope.cancel()
        for machine in (*self.machines, *self.twins):
            if machine.process:
                machine.process.kill()

    async def _start_soon(self, machine: Machine) -> None:
        await trio.sleep(self._rng.uniform(0, 10))
        await machine.start()

    async def _start_late(self, name: str, seconds: float) -> None:
        await trio.sleep(seconds)
        self.done["late"] += 1
        await next(each for each in self.machines if each.name == name).start()

    async def _look(self, seconds: float, look: Callable[[], None]) -> None:
        while True:
            await trio.sleep(seconds)
            look()

    async def _end_when_broken(self, scope: trio.CancelScope) -> None:
        await self.oracle.broken.wait()
        scope.cancel()

    async def _wait_for_outages(self) -> None:
        moments = sorted(
            (spell.start + self.oracle.outages.seconds(check.name), target.name, spell, target)
            for target in self.scenario.targets
            for spell in target.spells
            for check in self.scenario.checks
            if check.probe.target == target.url and spell.state in (State.DOWN, State.SLOW)
        )
        async with trio.open_nursery() as watching:
            for when, _, spell, target in moments:
                await trio.sleep_until(when)
                self.oracle.outages.must_be_known(target, spell)
                watching.start_soon(self._expect_a_call, target, spell)

    async def _expect_a_call(self, target: Target, spell: Spell) -> None:
        """Somebody's phone rings a little later: one node at a time tells it."""
        await trio.sleep(CALL_SECONDS)
        self.oracle.outages.must_be_called(target, spell)

    async def _keep_failing(self, faults: trio.Nursery, kind: str, mean_seconds: float) -> None:
        rng = random.Random(f"{self.scenario.seed}/{kind}")
        while True:
            await trio.sleep(rng.expovariate(1 / mean_seconds))
            self.done[kind] += 1
            faults.start_soon(FAULTS[kind].act, self, random.Random(rng.random()))

    async def _heal(self) -> None:
        """Whatever is still wrong is over."""
        self.story.tell("", "nothing fails any more")
        for weather in list(self.fabric.weather):
            self.fabric.end(weather)
        for twin in self.twins:
            self.remove(twin)
        for machine in self.machines:
            machine.busy = False
            machine.disk.fault = machine.disk.steps_left = None
            machine.disk.hit_at_wal = False
            if machine.process is not None:
                machine.process.steps_left = None
                machine.process.let_go()
                if machine.process.stop.is_set() or machine.process.dead:
                    await machine.process.done.wait()
            machine.settings = machine.running
        final = self.machines[0].running
        for machine in self.machines:
            await machine.start()
            machine.settings = _at_last(machine.running, final)
            await self.in_process(machine, machine.node.reload)
        self.denied.clear()
        with trio.move_on_after(_FORGOTTEN_SECONDS_MAX):
            for gone in self.departed:
                await self.have_forgotten(gone, self._rng)

    async def _agree(self) -> None:
        """Wait until all nodes hold the same, and say that all is well."""
        problem = ""
        seconds = SETTLING_SECONDS + (self._shared_seconds() if self.done["copy"] else 0)
        with trio.move_on_after(seconds):
            while problem := self.oracle.everything_is_well():  # noqa: ASYNC110 no single event says so
                await trio.sleep(_AGREE_SECONDS)
        if problem:
            what = f"after {seconds:.0f} s in which nothing fails, {problem}"
            self.oracle.violate("Same answer everywhere.", "all", what)
        else:
            self.story.tell("", "everybody agrees that all is well")

    def _shared_seconds(self) -> float:
        """Until a node that a copy greeted has been greeted by the one that is left, and holds its key to be shared no longer."""
        return limits.GREETED_SHARED_MS / 1_000 + 4 * len(self.machines) * limits.SYNC_INTERVAL_SECONDS

    def check_history(self) -> None:
        """History is a pure function of the logs; what was shown is stored."""
        for machine in self.machines:
            with Store(machine.home.log_db, readonly=True) as store:
                self.oracle.opened(machine, store)
                if self.done["wall-years"]:
                    self.oracle.count("histories not compared")
                    continue
                self.oracle.count("histories compared")
                with closing(HistoryStore(machine.home.view_db)) as kept:
                    history = kept.load(machine.key)
                    for state in store.logs():
                        folded = history.logs.get(state.log)
                        if folded:
                            history.learn(state.public_key, history_context(store, state.log, folded.applied_seq + 1))
                    as_kept = folded_anew(store, history, kept)
                with closing(HistoryStore(machine.home.path / "anew.db")) as anew:
                    if folded_anew(store, History(machine.key), anew) != as_kept:
                        self.oracle.violate(
                            "History is a pure function of the logs.", machine.name, "made anew, it is another"
                        )


def _knows_left(machine: Machine, gone: Machine) -> bool:
    member = machine.node.view.member(gone.key)
    return member is None or member.left


def _at_last(settings: Settings, other: Settings) -> Settings:
    """With the checks of another, and everybody let in."""
    return replace(settings, checks=other.checks, policy=Policy())


def _host(index: int) -> str:
    return f"10.0.0.{index + 1}"


def _address(index: int) -> PeerAddress:
    return PeerAddress(f"{_host(index)}:{PORT}", _host(index), PORT)
