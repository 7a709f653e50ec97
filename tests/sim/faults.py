"""Everything that goes wrong: for each kind one function that does it to somebody, waits, and takes it back.

A machine has one thing done to it at a time. When the faults' time is over, the functions are cancelled in the middle; then
`Simulation.heal` takes back whatever is left.
"""

import random
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import trio

from demesh import limits
from demesh.checks.check import Check
from demesh.errors import ConfigError, UsageError
from demesh.log.admission import Policy
from demesh.probes.base import ProbeSpec
from tests.crash.disk import Fault as DiskFault
from tests.crash.disk import full, io_error, torn
from tests.sim.network import Weather, split

if TYPE_CHECKING:
    from tests.sim.machine import Machine
    from tests.sim.simulation import Simulation

Act = Callable[["Simulation", random.Random], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    mean_seconds: float
    act: Act


FAULTS: dict[str, Fault] = {}


def _fault(kind: str, mean_seconds: float) -> Callable[[Act], Act]:
    def register(act: Act) -> Act:
        FAULTS[kind] = Fault(mean_seconds, act)
        return act

    return register


@asynccontextmanager
async def _one(simulation: "Simulation", rng: random.Random) -> AsyncGenerator["Machine | None"]:
    """A machine whose node runs and to which nothing else is done, if there is one."""
    free = [each for each in simulation.machines if each.live and not each.busy]
    machine = rng.choice(free) if free else None
    if machine is None:
        yield None
        return
    machine.busy = True
    try:
        yield machine
    finally:
        machine.busy = False


def _down_seconds(rng: random.Random) -> float:
    return rng.choice([rng.uniform(0.5, 5), rng.uniform(5, 60), rng.uniform(60, 240)])


# The network


@asynccontextmanager
async def _weather(simulation: "Simulation", weather: Weather, what: str) -> AsyncGenerator[None]:
    simulation.story.tell("net", what)
    simulation.fabric.begin(weather)
    try:
        yield
    finally:
        simulation.fabric.end(weather)
        simulation.story.tell("net", f"over: {what}")


def _some(simulation: "Simulation", rng: random.Random) -> list["Machine"]:
    machines = simulation.machines
    return sorted(rng.sample(machines, rng.randint(1, max(1, len(machines) // 2))), key=lambda each: each.name)


def _names(machines: list["Machine"]) -> str:
    return ", ".join(each.name for each in machines)


@_fault("partition", 400)
async def _partition(simulation: "Simulation", rng: random.Random) -> None:
    side = _some(simulation, rng)
    links = split(simulation.addresses(), [each.address for each in side])
    async with _weather(simulation, Weather("cut", 1, links), f"{_names(side)} cut off from the others"):
        await trio.sleep(rng.choice([rng.uniform(2, 30), rng.uniform(30, 240)]))


@_fault("one-way", 500)
async def _one_way(simulation: "Simulation", rng: random.Random) -> None:
    side = _some(simulation, rng)
    links = split(simulation.addresses(), [each.address for each in side], both_ways=False)
    async with _weather(simulation, Weather("cut", 1, links), f"nothing comes through from {_names(side)}"):
        await trio.sleep(rng.uniform(2, 120))


@_fault("last-words", 500)
async def _last_words(simulation: "Simulation", rng: random.Random) -> None:
    """What somebody wrote before its end reaches the others only when they have long called it silent: no sign of life."""
    async with _one(simulation, rng) as machine:
        others = [each for each in simulation.machines if each.live and each is not machine]
        if machine and others:
            side, promise = [machine, rng.choice(others)], simulation.scenario.promise_seconds
            links = split(simulation.addresses(), [each.address for each in side])
            async with _weather(simulation, Weather("cut", 1, links), f"{_names(side)} cut off from the others"):
                await trio.sleep(rng.uniform(0.5, 1) * promise)
                await machine.kill()
                await trio.sleep(promise + rng.uniform(65, 90))
            await trio.sleep(rng.uniform(20, 60))
            await machine.start()


@_fault("flapping", 600)
async def _flapping(simulation: "Simulation", rng: random.Random) -> None:
    side = _some(simulation, rng)
    links = split(simulation.addresses(), [each.address for each in side])
    for _ in range(rng.randint(3, 8)):
        async with _weather(simulation, Weather("cut", 1, links), f"{_names(side)} cut off, for a moment"):
            await trio.sleep(rng.uniform(1, 25))
        await trio.sleep(rng.uniform(1, 25))


@_fault("loss", 500)
async def _loss(simulation: "Simulation", rng: random.Random) -> None:
    share = rng.choice([0.05, 0.3])
    async with _weather(simulation, Weather("loss", share, disturbs=False), f"{share:.0%} of all broadcasts are lost"):
        await trio.sleep(rng.uniform(60, 400))


@_fault("duplicate", 500)
async def _duplicate(simulation: "Simulation", rng: random.Random) -> None:
    async with _weather(simulation, Weather("duplicate", 0.3, disturbs=False), "broadcasts arrive twice"):
        await trio.sleep(rng.uniform(60, 400))


@_fault("reorder", 500)
async def _reorder(simulation: "Simulation", rng: random.Random) -> None:
    weather = Weather("reorder", rng.choice([1, 5]), disturbs=True)
    async with _weather(simulation, weather, "broadcasts overtake each other"):
        await trio.sleep(rng.uniform(60, 400))


@_fault("latency", 500)
async def _latency(simulation: "Simulation", rng: random.Random) -> None:
    links = split(simulation.addresses(), [each.address for each in _some(simulation, rng)])
    seconds = rng.uniform(0.5, 5)
    async with _weather(simulation, Weather("latency", seconds, links), f"{seconds:.1f} s latency on some links"):
        await trio.sleep(rng.uniform(20, 200))


@_fault("slow", 500)
async def _slow(simulation: "Simulation", rng: random.Random) -> None:
    links = split(simulation.addresses(), [each.address for each in _some(simulation, rng)])
    bytes_a_second = rng.choice([1_000, 8_000])
    what = f"some links bring {bytes_a_second} bytes a second"
    async with _weather(simulation, Weather("slow", bytes_a_second, links), what):
        await trio.sleep(rng.uniform(20, 200))


@_fault("deaf", 500)
async def _deaf(simulation: "Simulation", rng: random.Random) -> None:
    async with _weather(simulation, Weather("deaf"), "gossip drops everything"):
        await trio.sleep(rng.uniform(20, 240))


@_fault("breaking", 500)
async def _breaking(simulation: "Simulation", rng: random.Random) -> None:
    async with _weather(simulation, Weather("break", 0.2), "streams break in the middle"):
        await trio.sleep(rng.uniform(20, 240))


@_fault("part", 120)
async def _part(simulation: "Simulation", rng: random.Random) -> None:
    connections = simulation.fabric.connections
    if connections:
        simulation.fabric.part(rng.choice(connections))
    await trio.lowlevel.checkpoint()


@_fault("forge", 60)
async def _forge(simulation: "Simulation", rng: random.Random) -> None:
    """Somebody sends what was said before, once more or changed a little."""
    simulation.forge(rng)
    await trio.lowlevel.checkpoint()


@_fault("network", 400)
async def _network(simulation: "Simulation", rng: random.Random) -> None:
    """The network of a node dies, for a moment or for as long as somebody else has its port, while the node lives on."""
    async with _one(simulation, rng) as machine:
        if machine and machine.process:
            process, network = machine.process, machine.process.network
            machine.calm_since = float("inf")  # it neither hears nor is heard, and listens anew afterwards
            links = split(simulation.addresses(), [machine.address])
            async with _weather(simulation, Weather("network", 1, links), f"the network of {machine.name} died"):
                network.cannot_start = rng.choice(["", "", "the port is taken"])
                network.die()
                try:
                    await trio.sleep(rng.choice([rng.uniform(1, 10), rng.uniform(10, 200)]))
                finally:
                    network.cannot_start = ""
                with trio.move_on_after(2 * limits.NETWORK_REBUILD_SECONDS_MAX):
                    while machine.live and machine.process.network is network and not network.runs:  # noqa: ASYNC110 nothing tells
                        await trio.sleep(1)
            if machine.live and machine.process is process and network.runs:
                machine.calm_since = trio.current_time()


# Processes and machines


@_fault("kill", 250)
async def _kill(simulation: "Simulation", rng: random.Random) -> None:
    async with _one(simulation, rng) as machine:
        if machine:
            await machine.kill()
            await trio.sleep(_down_seconds(rng))
            await machine.start()


@_fault("kill-at-step", 150)
async def _kill_at_step(simulation: "Simulation", rng: random.Random) -> None:
    """Between any two things that a node does to the world, or in the middle of a write."""
    async with _one(simulation, rng) as machine:
        if machine and machine.process:
            steps = rng.randint(1, 12)
            if rng.random() < 0.5:
                machine.process.steps_left = steps
                what = f"will be killed in {steps} steps"
            else:
                machine.disk.steps_left = steps
                what = f"will be killed in {steps} writes"
            simulation.story.tell(machine.name, what)
            with trio.move_on_after(300):
                await machine.process.done.wait()
                simulation.story.tell(machine.name, "was killed")
            machine.process.steps_left = machine.disk.steps_left = None
            if not machine.live:
                await trio.sleep(_down_seconds(rng))
                await machine.start()


@_fault("power", 400)
async def _power(simulation: "Simulation", rng: random.Random) -> None:
    async with _one(simulation, rng) as machine:
        if machine:
            await machine.cut_power(rng, torn=rng.random() < 0.5)
            await trio.sleep(10 + _down_seconds(rng))
            await machine.start()


@_fault("reboot", 600)
async def _reboot(simulation: "Simulation", rng: random.Random) -> None:
    async with _one(simulation, rng) as machine:
        if machine:
            await machine.reboot()
            await trio.sleep(10 + _down_seconds(rng))
            await machine.start()


@_fault("stop", 300)
async def _stop(simulation: "Simulation", rng: random.Random) -> None:
    async with _one(simulation, rng) as machine:
        if machine:
            await machine.leave()
            await trio.sleep(_down_seconds(rng))
            await machine.start()


@_fault("leave", 600)
async def _leave(simulation: "Simulation", rng: random.Random) -> None:
    """A node leaves the mesh, and is a member again when it is back."""
    async with _one(simulation, rng) as machine:
        if machine:
            await machine.quit()
            await trio.sleep(_down_seconds(rng))
            await machine.start()


@_fault("depart", 900)
async def _depart(simulation: "Simulation", rng: random.Random) -> None:
    """A node is gone for good. If it could not take leave, somebody has the mesh forget it."""
    async with _one(simulation, rng) as machine:
        if machine and simulation.can_spare(machine):
            await (machine.quit() if rng.random() < 0.5 else machine.kill("is thrown away"))
            simulation.dismiss(machine)
            await trio.sleep(rng.uniform(20, 200))
            await simulation.have_forgotten(machine, rng)


@_fault("deny", 700)
async def _deny(simulation: "Simulation", rng: random.Random) -> None:
    """All others turn a member away, for a while."""
    free = [each for each in simulation.machines if each.live and not simulation.has_twin(each)]
    if not free or simulation.denied:
        return
    machine = rng.choice(free)
    others = frozenset(each.key for each in simulation.machines if each is not machine)
    policy = Policy(others, listed=True) if rng.random() < 0.5 else Policy(denied=frozenset({machine.key}))
    simulation.story.tell("world", f"{machine.name} is turned away by the others")
    simulation.denied.add(machine)
    await simulation.let_in_by(policy, rng)
    await trio.sleep(rng.uniform(30, 300))
    simulation.story.tell("world", f"{machine.name} is let in by the others again")
    await simulation.let_in_by(Policy(), rng)
    simulation.denied.discard(machine)
    machine.let_in_since = trio.current_time()


@_fault("stall", 300)
async def _stall(simulation: "Simulation", rng: random.Random) -> None:
    async with _one(simulation, rng) as machine:
        if machine:
            seconds = rng.choice([rng.uniform(0.5, 5), rng.uniform(5, 90), rng.uniform(90, 300)])
            simulation.story.tell(machine.name, f"stands still for {seconds:.1f} s")
            machine.hold()
            try:
                await trio.sleep(seconds)
            finally:
                machine.let_go()
            simulation.story.tell(machine.name, "goes on")
            await simulation.go_on(machine)


@_fault("suspend", 500)
async def _suspend(simulation: "Simulation", rng: random.Random) -> None:
    async with _one(simulation, rng) as machine:
        if machine:
            seconds = rng.choice([rng.uniform(1, 20), rng.uniform(20, 300)])
            simulation.story.tell(machine.name, f"is suspended for {seconds:.0f} s")
            machine.clock.suspend()
            machine.hold()
            others = Weather("cut", 1, split(simulation.addresses(), [machine.address]), disturbs=False)
            simulation.fabric.begin(others)
            try:
                await trio.sleep(seconds)
            finally:
                simulation.fabric.end(others)
                machine.clock.resume()
                machine.let_go()
            simulation.story.tell(machine.name, "is awake again")
            await simulation.go_on(machine)


async def _set_wall(simulation: "Simulation", rng: random.Random, by_ms: int) -> None:
    """Set somebody's wall clock, or set it right again."""
    machine = rng.choice(simulation.machines)
    by_ms = rng.choice([by_ms, -by_ms, -machine.clock.ahead_ms])
    simulation.story.tell(machine.name, f"sets its wall clock {by_ms / 3_600_000:+.0f} h")
    machine.clock.ahead_ms += by_ms
    await trio.lowlevel.checkpoint()


@_fault("wall-step", 200)
async def _wall_step(simulation: "Simulation", rng: random.Random) -> None:
    await _set_wall(simulation, rng, 3_600_000)


@_fault("wall-years", 400)
async def _wall_years(simulation: "Simulation", rng: random.Random) -> None:
    await _set_wall(simulation, rng, 10 * 365 * 86_400_000)


@_fault("wall-frozen", 600)
async def _wall_frozen(simulation: "Simulation", rng: random.Random) -> None:
    machine = rng.choice(simulation.machines)
    simulation.story.tell(machine.name, "has a wall clock that stands still")
    machine.clock.freeze_wall()
    try:
        await trio.sleep(rng.uniform(20, 300))
    finally:
        machine.clock.thaw_wall()


# Disks


async def _bad_disk(simulation: "Simulation", rng: random.Random, fault: DiskFault, what: str) -> None:
    async with _one(simulation, rng) as machine:
        if machine and machine.process:
            simulation.story.tell(machine.name, f"has a disk that {what}")
            machine.disk.hit_at_wal = False
            machine.disk.fault = fault
            with trio.move_on_after(rng.uniform(20, 120)):
                await machine.process.done.wait()
            if not machine.live and rng.random() < 0.5:
                await machine.start()  # as a supervisor would, in vain
                await trio.sleep(rng.uniform(1, 30))
            machine.disk.fault = None
            machine.disk.hit_at_wal = False
            simulation.story.tell(machine.name, "has a good disk again")
            await machine.start()


@_fault("disk-full", 600)
async def _disk_full(simulation: "Simulation", rng: random.Random) -> None:
    await _bad_disk(simulation, rng, full, "is full")


@_fault("disk-broken", 600)
async def _disk_broken(simulation: "Simulation", rng: random.Random) -> None:
    await _bad_disk(simulation, rng, rng.choice([io_error, torn]), "fails")


@_fault("store-lost", 700)
async def _store_lost(simulation: "Simulation", rng: random.Random) -> None:
    async with _one(simulation, rng) as machine:
        if machine:
            await machine.kill()
            simulation.story.tell(machine.name, "has lost its store")
            machine.lose_files("log.db", *(["view.db"] if rng.random() < 0.5 else []))
            simulation.oracle.disk_replaced(machine)
            await trio.sleep(_down_seconds(rng))
            await machine.start()


@_fault("view-lost", 500)
async def _view_lost(simulation: "Simulation", rng: random.Random) -> None:
    async with _one(simulation, rng) as machine:
        if machine:
            await machine.kill()
            simulation.story.tell(machine.name, "has lost its view.db")
            machine.lose_files("view.db")
            await machine.start()


@_fault("restore", 500)
async def _restore(simulation: "Simulation", rng: random.Random) -> None:
    """What was saved some time ago replaces the store."""
    async with _one(simulation, rng) as machine:
        if machine:
            backup = machine.home.path.with_name(f"{machine.name}-backup")
            machine.copy_store(backup)
            then = trio.current_time()
            simulation.story.tell(machine.name, "has saved its store")
            await trio.sleep(rng.uniform(1, 200))
            await (machine.leave() if rng.random() < 0.5 else machine.kill())
            machine.lose_files("log.db", *(["view.db"] if rng.random() < 0.7 else []))
            shutil.copyfile(backup, machine.home.log_db)
            simulation.oracle.disk_replaced(machine, then)
            simulation.story.tell(machine.name, "has its store of some time ago again")
            await trio.sleep(rng.uniform(0.5, 20))
            await machine.start()


@_fault("set-back", 500)
async def _set_back(simulation: "Simulation", rng: random.Random) -> None:
    """A machine is set back to how it was some time ago, memory and all, so that nothing there can tell: it signs anew."""
    async with _one(simulation, rng) as machine:
        if machine:
            backup, runtime = machine.home.path.with_name(f"{machine.name}-then"), f"{machine.runtime}-then"
            machine.copy_store(backup)
            then = trio.current_time()
            shutil.copytree(machine.runtime, runtime, dirs_exist_ok=True)
            boot8 = machine.clock.boot8
            await trio.sleep(rng.uniform(1, 100))
            await machine.kill()
            if machine.clock.boot8 == boot8:
                machine.lose_files("log.db-", "view.db")
                shutil.copyfile(backup, machine.home.log_db)  # the same file, as by its inode
                shutil.copytree(runtime, machine.runtime, dirs_exist_ok=True)
                simulation.oracle.set_back(machine, then)
                simulation.story.tell(machine.name, "is set back to how it was some time ago")
            await trio.sleep(rng.uniform(0.1, 5))
            await machine.start()


@_fault("copy", 700)
async def _copy(simulation: "Simulation", rng: random.Random) -> None:
    """The disk is copied to a second machine, with the key, and both run."""
    async with _one(simulation, rng) as machine:
        if machine:
            twin = simulation.twin_of(machine)
            simulation.story.tell(machine.name, f"has its disk copied to {twin.name}")
            try:
                await twin.start()
                await trio.sleep(rng.uniform(10, 240))
            finally:
                simulation.remove(twin)


# What is watched, who is told, what is wanted


@_fault("unreachable", 300)
async def _unreachable(simulation: "Simulation", rng: random.Random) -> None:
    target = rng.choice(list(simulation.world.targets.values()))
    machines = _some(simulation, rng)
    simulation.story.tell("world", f"{target.name} cannot be reached from {_names(machines)}")
    times: list[list[float]] = []
    for machine in machines:
        times.append([trio.current_time(), float("inf")])
        target.unreachable.setdefault(machine.name, []).append(times[-1])
    try:
        await trio.sleep(rng.uniform(30, 400))
    finally:
        for each in times:
            each[1] = trio.current_time()
    simulation.story.tell("world", f"{target.name} can be reached from {_names(machines)}")


@_fault("uplink", 400)
async def _uplink(simulation: "Simulation", rng: random.Random) -> None:
    """A node is cut off from everything: the others, the targets, the Alertmanager."""
    async with _one(simulation, rng) as machine:
        if machine is None:
            return
        alertmanager, times = simulation.world.alertmanager, [trio.current_time(), float("inf")]
        for target in simulation.world.targets.values():
            target.unreachable.setdefault(machine.name, []).append(times)
        alertmanager.unreachable.add(machine.name)
        simulation.oracle.silences.uplink_lost(machine)
        links = split(simulation.addresses(), [machine.address])
        try:
            async with _weather(simulation, Weather("cut", 1, links), f"{machine.name} is cut off from everything"):
                await trio.sleep(rng.choice([rng.uniform(5, 60), rng.uniform(60, 300)]))
        finally:
            simulation.oracle.silences.uplink_back(machine)
            times[1] = trio.current_time()
            alertmanager.unreachable.discard(machine.name)
            alertmanager.disturbed_at[machine.name] = times[1]


@_fault("alertmanager", 500)
async def _alertmanager(simulation: "Simulation", rng: random.Random) -> None:
    alertmanager = simulation.world.alertmanager
    simulation.story.tell("world", "the Alertmanager is away")
    alertmanager.away = True
    try:
        await trio.sleep(rng.uniform(10, 200))
    finally:
        alertmanager.away, alertmanager.away_at = False, trio.current_time()
    simulation.story.tell("world", "the Alertmanager is back")


@_fault("unlisted", 500)
async def _unlisted(simulation: "Simulation", rng: random.Random) -> None:
    """Some nodes cannot reach the Alertmanager."""
    alertmanager, machines = simulation.world.alertmanager, _some(simulation, rng)
    simulation.story.tell("world", f"{_names(machines)} cannot reach the Alertmanager")
    names = {each.name for each in machines}
    alertmanager.unreachable |= names
    try:
        await trio.sleep(rng.uniform(10, 300))
    finally:
        alertmanager.unreachable -= names
        alertmanager.disturbed_at.update(dict.fromkeys(names, trio.current_time()))


@_fault("reload", 300)
async def _reload(simulation: "Simulation", rng: random.Random) -> None:
    """Everybody's configuration gets another extra check, or a bad line, one node after the other."""
    target = rng.choice(list(simulation.world.targets.values()))
    interval_ms = rng.choice([15_000, 45_000])
    extra = Check("extra", ProbeSpec("http", target.url, 1_000), interval_ms=interval_ms)
    checks = simulation.scenario.checks + ((extra,) if rng.random() < 0.7 else ())
    simulation.story.tell("world", f"a new configuration: {', '.join(each.name for each in checks)}")
    for machine in list(simulation.machines):
        bad = rng.random() < 0.1
        good = replace(machine.running, checks=checks, tags=(f"v{rng.randrange(9)}",))
        machine.settings = ConfigError(["demesh.toml: line 1: it is bad"]) if bad else good
        if machine.live and machine.process and machine.process.held is None:
            await simulation.in_process(machine, machine.node.reload, UsageError)
        machine.settings = machine.running if bad else good
        await trio.sleep(rng.uniform(0, 20))
