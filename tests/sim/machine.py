"""A simulated machine: clocks, a disk, a runtime directory, and the process of a node on it, wired as `demesh node run` does.

What is not the real thing is what `_edges` names: the clock, the network, the probes, the post, chance, and that the stores'
threads are done without. The stores, the marker's file and the node are the real ones.
"""

import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import apsw
import trio
from nacl.signing import SigningKey

from demesh.alerts.message import Message
from demesh.alerts.sink import Sink
from demesh.config.load import Settings
from demesh.edges import Edges
from demesh.errors import ConfigError, DemeshError
from demesh.home import Home, MarkerFile
from demesh.interfaces import OwnAddress
from demesh.lateness import Lateness
from demesh.log.entry import Entry
from demesh.log.storage import ThreadStorage
from demesh.log.store import Carried, Store
from demesh.node import Node
from demesh.outcome import ProbeResult
from demesh.probes.base import ProbeSpec
from demesh.pulse import Pulse, Waiting
from demesh.view.history_storage import ThreadHistoryStorage
from demesh.view.history_store import HistoryStore, open_history
from tests.log.builders import MESH
from tests.sim.disk import Disks
from tests.sim.network import Fabric, SimNetwork
from tests.sim.process import Killed, Process
from tests.sim.story import Story
from tests.sim.virtual import JumpingClock, MachineClock
from tests.sim.world import World

_T = TypeVar("_T")


class Witness(Protocol):
    """Who hears of what a machine does (`tests.sim.oracle.Oracle`)."""

    def committed(self, machine: "Machine", entries: Sequence[Entry], *, own: bool) -> None: ...

    def broadcast(self, machine: "Machine", data: bytes) -> None: ...

    def opened(self, machine: "Machine", store: Store) -> None: ...

    def ended(self, machine: "Machine", error: BaseException | None) -> None: ...

    def alerted(self, machine: "Machine", name: str, subject: str, *, fires: bool) -> None: ...

    def called(self, machine: "Machine", message: Message) -> None: ...


class NodeProcess(Process):
    def __init__(self, machine: "Machine") -> None:
        super().__init__(self._killed)
        self.name = machine.name
        self.machine = machine
        self.node: Node
        self.network: SimNetwork
        self.nursery: trio.Nursery
        self.started_at = trio.current_time()
        self.stop = trio.Event()
        self.done = trio.Event()
        self.ready_or_done = trio.Event()
        self.error: BaseException | None = None
        self.is_ready = False

    def _killed(self) -> None:
        self.machine.disk.sealed = True
        self.machine.mourn(noticed=not self.machine.without_power)


class _Storage(ThreadStorage):
    """The real one without its thread, which would escape virtual time; each call is a moment at which a process may die."""

    def __init__(self, store: Store, process: NodeProcess, waiting: Waiting) -> None:
        super().__init__(store, waiting)
        self._process = process

    async def commit(self, entries: Sequence[Entry], *, public_keys: Mapping[bytes, bytes], own: bool) -> Carried:
        def commit(store: Store) -> Carried:
            carried = store.commit(entries, public_keys=public_keys, own=own)
            self._process.machine.witness.committed(self._process.machine, entries, own=own)
            return carried

        return await self.call(commit)

    async def call(self, call: Callable[[Store], _T]) -> _T:
        with self._waiting():
            async with self._one_at_a_time:
                self._process.step()
                found = self._process.machine.at_the_disk(lambda: call(self._store))
                clock = cast(JumpingClock, trio.lowlevel.current_clock())
                seconds = self._process.machine.disk_seconds()
                await clock.sleep_until(trio.current_time() + seconds, [], shielded=True)
                self._process.step()
                return found


class _HistoryStorage(ThreadHistoryStorage):
    def __init__(self, store: HistoryStore, process: NodeProcess) -> None:
        super().__init__(store)
        self._process = process
        self.opened = [store]

    async def _run(self, call: Callable[[], _T]) -> _T:
        async with self._one_at_a_time:
            self._process.step()
            found = self._process.machine.at_the_disk(call)
            if self._store not in self.opened:
                self.opened.append(self._store)
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._process.step()
            return found


class Machine:
    def __init__(
        self,
        name: str,
        address: str,
        key: SigningKey,
        place: Path,
        settings: Settings,
        clock: MachineClock,
        *,
        disks: Disks,
        fabric: Fabric,
        world: World,
        witness: Witness,
        story: Story,
        nursery: trio.Nursery,
        seed: str,
        slow_disk: bool,
    ) -> None:
        self.name = name
        self.address = address
        self.key = bytes(key.verify_key)
        self.settings: Settings | ConfigError = settings
        self.running: Settings = settings
        self.meant: dict[tuple[str, str], float] = {}
        """Until when it ran which target under which check's name, of those that it does not any more."""
        self.clock = clock
        self.disks = disks
        self.fabric = fabric
        self.world = world
        self.witness = witness
        self.story = story
        self.home = Home(place / name)
        self.runtime = place / f"{name}-runtime"
        self.process: NodeProcess | None = None
        self.calm_since = float("inf")
        """Since when the node runs undisturbed; infinite while it does not."""
        self.dead_since: float | None = 0.0
        self.took_leave = False
        self.let_in_since = 0.0
        """Since when the others let it in."""
        self.busy = False
        """Whether somebody does something to this machine that takes a while."""
        self.without_power = False
        self._signing_key = key
        self._nursery = nursery
        self._seed = seed
        self._starts = 0
        self._slow_disk = slow_disk
        self._disk_rng = random.Random(f"{seed}/{name}/disk")
        self.home.path.mkdir(exist_ok=True)
        self.runtime.mkdir(exist_ok=True)

    @property
    def live(self) -> bool:
        return self.process is not None and self.process.is_ready and not self.process.dead

    @property
    def runs(self) -> bool:
        """Whether there is a process, ready or not."""
        return self.process is not None and not self.process.dead

    @property
    def node(self) -> Node:
        assert self.process is not None
        return self.process.node

    @property
    def disk(self):
        return self.disks.state(self.home.path)

    def disk_seconds(self) -> float:
        return self._disk_rng.expovariate(2) if self._slow_disk and self._disk_rng.random() < 0.2 else 0.001

    def at_the_disk(self, call: Callable[[], _T]) -> _T:
        """Do something that may be cut off by a kill in the middle of a write."""
        try:
            return call()
        except BaseException:
            if self.disk.sealed:
                assert self.process is not None
                self.process.kill()
                raise Killed from None
            raise

    # What happens to the machine

    async def start(self) -> None:
        """Start the node, and wait until it is ready or has ended. Nothing happens if it runs."""
        if self.process is not None and not self.process.done.is_set():
            return
        self.disk.sealed = False
        self.process = NodeProcess(self)
        self.story.tell(self.name, "starts")
        self._nursery.start_soon(self._live, self.process)
        await self.process.ready_or_done.wait()

    async def kill(self, why: str = "is killed") -> None:
        """As by kill -9: what is written stays."""
        if self.process is None or self.process.done.is_set():
            return
        self.story.tell(self.name, why)
        self.process.kill()
        await self.process.done.wait()

    async def cut_power(self, rng: random.Random, *, torn: bool) -> None:
        """What was not synced is lost, or what is left of it is `torn`; the machine boots anew."""
        if self.process is not None and not self.process.done.is_set():
            self.story.tell(self.name, f"loses power{', with a torn disk' if torn else ''}")
            self.without_power = True
            self.process.kill()
            await self.process.done.wait()
            self.without_power = False
        self.disks.cut_power(self.home.path, rng if torn else None)
        self._boot()

    async def leave(self) -> None:
        """As by SIGTERM."""
        if self.process is None or self.process.done.is_set():
            return
        self.story.tell(self.name, "is stopped")
        self.calm_since = float("inf")
        self.process.stop.set()
        with trio.move_on_after(60):
            await self.process.done.wait()
        await self.kill("does not stop, and is killed")

    async def quit(self) -> None:
        """As by `demesh node leave`: it is no member any more until it is started again."""
        if self.process is None or self.process.done.is_set():
            return
        self.story.tell(self.name, "leaves the mesh")
        self.calm_since = float("inf")
        self.process.deliver(self.process.node.leave)
        with trio.move_on_after(60):
            await self.process.done.wait()
        await self.kill("does not leave, and is killed")

    async def reboot(self) -> None:
        await self.leave()
        self.story.tell(self.name, "boots")
        self._boot()

    def hold(self) -> None:
        if self.process is not None:
            self.process.hold()
            self.calm_since = float("inf")

    def let_go(self) -> None:
        if self.process is not None:
            self.process.let_go()
            if self.live:
                self.calm_since = trio.current_time()

    def copy_store(self, path: Path) -> None:
        """What `demesh backup` would save now."""
        path.unlink(missing_ok=True)
        with Store(self.home.log_db, readonly=True) as store:
            store.copy_to(path)

    def lose_files(self, *names: str) -> None:
        """Files vanish while the node is down."""
        for name in names:
            for path in self.home.path.glob(f"{name}*"):
                path.unlink()
        self.disks.forget(self.home.path)

    def _boot(self) -> None:
        shutil.rmtree(self.runtime)
        self.runtime.mkdir()
        self.clock.boot()

    def mourn(self, *, noticed: bool) -> None:
        """The process is dead."""
        process = self.process
        assert process is not None
        self.calm_since = float("inf")
        if self.dead_since is None:
            self.dead_since, self.took_leave = trio.current_time(), False
        if hasattr(process, "network"):
            self.fabric.vanish(process.network, noticed=noticed)

    # The process

    async def _live(self, process: NodeProcess) -> None:
        process.enter()
        stores: list[Any] = []
        try:
            with process.scope:
                try:
                    edges = self._edges(process, stores)
                    process.node = Node(self.running, self._signing_key, MESH, edges)
                    async with trio.open_nursery() as process.nursery:
                        await process.node.run(process.stop, [self._service(process)])
                        process.nursery.cancel_scope.cancel()
                except Killed:
                    pass
                except BaseExceptionGroup as group:
                    _, rest = group.split(Killed)
                    if rest is not None:
                        raise rest from None
        except (
            DemeshError,
            apsw.Error,
            ExceptionGroup,
            AssertionError,
            RuntimeError,
            ValueError,
            LookupError,
        ) as error:
            process.error = error
        finally:
            for store in reversed(stores):
                with suppress(apsw.Error):
                    store.close()
            if not process.dead:
                process.dead = True
                took_leave = process.stop.is_set() and process.error is None
                self.mourn(noticed=True)
                self.took_leave = took_leave
            process.is_ready = False
            process.done.set()
            self.witness.ended(self, process.error)
            process.ready_or_done.set()

    def _service(self, process: NodeProcess) -> Callable[..., Any]:
        async def until_cancelled(node: Node, task_status: trio.TaskStatus[None]) -> None:
            """The last thing that a node starts before it is ready."""
            task_status.started()
            process.is_ready = True
            self.dead_since, self.calm_since = None, trio.current_time()
            process.ready_or_done.set()
            await trio.sleep_forever()

        return until_cancelled

    def _edges(self, process: NodeProcess, stores: list[Any]) -> Edges:
        self._starts += 1
        rng = random.Random(f"{self._seed}/{self.name}/{self._starts}")
        self._go_over(self.settings if isinstance(self.settings, Settings) else self.running)
        store = self.at_the_disk(lambda: Store(self.home.log_db, mesh_id=MESH))
        stores.append(store)
        self.witness.opened(self, store)
        heads = {state.log: state.head.seq for state in store.logs()}
        history = self.at_the_disk(lambda: open_history(self.home.view_db, heads))
        history_storage = _HistoryStorage(history, process)
        stores.append(_All(history_storage.opened))
        network = process.network = SimNetwork(self.fabric, process, self.key, self.address)
        network.broadcasting = lambda data: self.witness.broadcast(self, data)
        marker = MarkerFile(self.runtime, self.home)

        def write_marker(value: Any) -> None:
            process.step()
            marker.write(value)
            process.step()

        async def probe(spec: ProbeSpec) -> ProbeResult:
            return await self.world.probe(process, self.name, spec, rng)

        async def post(url: str, document: bytes) -> tuple[int, int | None]:
            process.step()
            await self.world.answer(self.name)
            process.step()
            for name, subject, fires in self.world.alertmanager.take(self.name, document):
                self.story.tell(
                    self.name, f"tells Alertmanager: {name} {subject} {'fires' if fires else 'is resolved'}"
                )
                self.witness.alerted(self, name, subject, fires=fires)
            return 200, self.world.alertmanager.now_ms()

        async def notify(_sink: Sink, message: Message) -> None:
            process.step()
            await self.world.answer(self.name)
            process.step()
            incident = message.incident
            self.story.tell(self.name, f"calls the phone: {incident.name} {incident.subject}, {message.state}")
            ring = (trio.current_time(), incident.name, incident.subject, message.state)
            self.world.phone.rang.append(ring)
            self.witness.called(self, message)

        async def load_settings() -> Settings:
            await trio.lowlevel.checkpoint()
            if isinstance(self.settings, ConfigError):
                raise self.settings
            self._go_over(self.settings)
            return self.settings

        pulse = Pulse()
        return Edges(
            clock=self.clock,
            store=store,
            storage=_Storage(store, process, pulse.disk(self.clock.monotonic_ms)),
            history=history,
            history_storage=history_storage,
            network=network,
            probes={"http": probe},
            listed_probes={"http": probe},
            post=post,
            notify=notify,
            read_marker=marker.read,
            write_marker=write_marker,
            rng=rng,
            load_settings=load_settings,
            epoch_nonce=partial(rng.randbytes, 8),
            late_ms=Lateness(self.clock).p99_ms,
            pulse=pulse,
            own_addresses=lambda: [OwnAddress(self.address, "10.0.0.0/8", "net")],
        )

    def _go_over(self, settings: Settings) -> None:
        self.meant |= {(each.name, each.probe.target): trio.current_time() for each in self.running.checks}
        self.running = settings


class _All:
    """Closes what was opened in the place of the first history store, too."""

    def __init__(self, stores: list[HistoryStore]) -> None:
        self._stores = stores

    def close(self) -> None:
        for store in self._stores:
            with suppress(apsw.Error):
                store.close()
