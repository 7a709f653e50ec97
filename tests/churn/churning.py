"""A mesh of real nodes of which some stay, and the others are killed, stopped, frozen, cut off, and make room for new ones."""

import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.machine import resident_mb
from tests.bench.node import MeasuredNode, checks_config, peers_of, start_mesh
from tests.churn.growth import Sample
from tests.e2e.harness import get_json

_LOOK_SECONDS = 0.5
_SAMPLES_MAX = 30
_STREAMS_AT_REST = 2  # one of gossip in each direction for each connection


@dataclass(frozen=True, slots=True)
class Size:
    """How many nodes stay, come back, and come for once; how long one is down or frozen; how soon the mesh should be whole."""

    survivors: int
    regulars: int
    visitors: int
    away_seconds: float
    whole_seconds_max: float = 90


class Churn:
    """The mesh. Everything that happens is counted in `happened`; `running` ends what still runs."""

    def __init__(self, running: ExitStack, place: Path, size: Size, target: str, rng: random.Random) -> None:
        self.happened: Counter[str] = Counter()
        self._running, self._place, self._size, self._rng = running, place, size, rng
        self._config = "[node]\nflush_interval = '5s'\n" + checks_config(10, target, "10s")
        nodes = start_mesh(running, place, [self._config] * (size.survivors + size.regulars + size.visitors))
        self.survivors = nodes[: size.survivors]
        self._regulars = nodes[size.survivors : size.survivors + size.regulars]
        self._visitors = nodes[size.survivors + size.regulars :]
        self._joined = len(nodes)
        self._began = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def disturb(self) -> str:
        """One of what can happen; returns its name."""
        what, happen = self._rng.choice(
            (
                ("killed", self._kill),
                ("killed for a while", self._kill_for_a_while),
                ("stopped", self._stop),
                ("frozen", self._freeze),
                ("cut off", self._cut_off),
                ("replaced", self._replace),
                ("replaced", self._replace),
            )
        )
        if not happen():
            what += " (in vain)"
        self.happened[what] += 1
        return what

    def wait_whole(self) -> float | None:
        """How long it takes until each node is connected to each other; None if it takes too long."""
        began = time.monotonic()
        nodes = self._all()
        while not all(_peers(node) == len(nodes) - 1 for node in nodes):
            if time.monotonic() - began > self._size.whole_seconds_max:
                return None
            time.sleep(_LOOK_SECONDS)
        return time.monotonic() - began

    def apart(self) -> str:
        """Who is not connected to whom now."""
        nodes = self._all()
        return "; ".join(
            f"{node.name} lacks {', '.join(lacking)}" for node in nodes if (lacking := _lacking(node, nodes))
        )

    def sample(self, node: MeasuredNode) -> Sample:
        """What it holds when nothing is under way, or the least of what it held within a while: a sync session is nothing that
        stays.
        """
        taken = [self._sample(node)]
        while taken[-1].streams > _STREAMS_AT_REST * taken[-1].connections and len(taken) < _SAMPLES_MAX:
            time.sleep(_LOOK_SECONDS)
            taken.append(self._sample(node))
        return min(taken, key=lambda sample: (sample.streams, sample.tasks))

    def _sample(self, node: MeasuredNode) -> Sample:
        told, process = node.metrics(), Path(f"/proc/{node.pid}")
        return Sample(
            self.seconds(),
            resident_mb(node.pid),
            len(list((process / "fd").iterdir())),
            len(list((process / "task").iterdir())),
            told["demesh_tasks{}"],
            told["demesh_connections{}"],
            told["demesh_inbound_slots{}"],
            told["demesh_streams{}"],
        )

    def _all(self) -> list[MeasuredNode]:
        return [*self.survivors, *self._regulars, *self._visitors]

    def _kill(self) -> bool:
        node = self._rng.choice(self._regulars)
        node.kill()
        node.start(*peers_of(each for each in self._all() if each is not node))
        return True

    def _kill_for_a_while(self) -> bool:
        node = self._rng.choice(self._regulars)
        node.kill()
        time.sleep(self._size.away_seconds)
        node.start(*peers_of(each for each in self._all() if each is not node))
        return True

    def _stop(self) -> bool:
        node = self._rng.choice(self._regulars)
        node.wait_ready()  # it may have been started just now, and would not take leave
        if node.stop() != 0:
            raise AssertionError(f"{node.name} did not end as it should: {node.output()}")
        node.start(*peers_of(each for each in self._all() if each is not node))
        return True

    def _freeze(self) -> bool:
        """As a machine that hangs: its connections stay open, and nothing comes over them."""
        node = self._rng.choice(self._regulars)
        node.send(signal.SIGSTOP)
        time.sleep(self._size.away_seconds)
        node.send(signal.SIGCONT)
        return True

    def _cut_off(self) -> bool:
        """Break all connections that one survivor has accepted, where the kernel lets us."""
        ss, port = shutil.which("ss"), self._rng.choice(self.survivors).swarm.rpartition(":")[2]
        command = [ss or "", "-K", "-H", "-t", "-n", "sport", "=", port]
        broken = subprocess.run(command, capture_output=True, text=True, check=False).stdout if ss else ""
        return bool(broken.strip())

    def _replace(self) -> bool:
        """A visitor leaves the mesh for good, and somebody new joins."""
        leaves = self._visitors.pop(0)
        said = leaves.run_command("node", "leave")
        if said.returncode != 0:
            raise AssertionError(f"{leaves.name} could not leave: {said.stderr}")
        leaves.wait(20)
        shutil.rmtree(leaves.home)
        name = f"n{self._joined}"
        key = self.survivors[0].home / "swarm.key"
        comes = self._running.enter_context(MeasuredNode(self._place / name, name, self._config, key))
        self._joined += 1
        comes.start_and_wait(*peers_of(self._all()))
        self._visitors.append(comes)
        return True


def _peers(node: MeasuredNode) -> int:
    try:
        return node.peers()
    except (OSError, ValueError):
        return -1


def _lacking(node: MeasuredNode, nodes: Sequence[MeasuredNode]) -> list[str]:
    try:
        told = get_json(f"http://{node.api}/api/v1/members")
    except (OSError, ValueError) as error:
        return [f"everybody ({error})"]
    connected = {each["name"] for each in told if each["connected"]}
    return [other.name for other in nodes if other is not node and other.name not in connected]


def sentence(happened: Counter[str], whole: Sequence[float | None]) -> str:
    """What happened, and how soon the mesh was whole again."""
    healed = sorted(seconds for seconds in whole if seconds is not None)
    soon = (
        f"whole again after {healed[len(healed) // 2]:.1f} s in the median, {healed[-1]:.1f} s at most"
        if healed
        else ""
    )
    late = f"; {whole.count(None)} times not in time" if None in whole else ""
    return f"{', '.join(f'{count} {what}' for what, count in sorted(happened.items()))}; {soon}{late}"
