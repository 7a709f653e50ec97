"""A mesh of many real nodes, each on a machine of its own, and what can be said of all of them at once.

Nodes write all the time, so that all tell the same heads is true at some moments only; where the machine is busy, at few
(`same_heads`). What needs no such moment: whatever any of them held at some time all come to hold, each entry with the same hash
(`settled`, and the `Ledger` of all that was ever seen in a store).
"""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from demesh.cli.client import UnixConnection
from demesh.errors import NodeNotRunning
from demesh.home import Home, find_running
from demesh.log.entry import Entry
from demesh.log.store import Store
from tests.e2e.harness import NodeProcess, eventually
from tests.e2e.local_network import Machine

_T = TypeVar("_T")
PORT = 8471
SECONDS = 180
"""The deadline of every wait: generous, since it is only reached when a test fails, and many nodes share few cores."""
LOOK_SECONDS = 0.5
"""Looking at ten nodes costs them more than what they do meanwhile."""
_READ_SECONDS = 2  # a store is read as a whole
Heads = dict[str, tuple[int, str]]
"""Sequence number and hash of the newest entry, by log."""


class SwarmNode(NodeProcess):
    """A node on a machine of a local network. It is asked over its Unix socket, a file, which needs no network."""

    def __init__(self, machine: Machine, home: Path, name: str, config: str, swarm_key: Path | None = None) -> None:
        super().__init__(home, name, config, swarm_key)
        self.machine = machine
        self.inside = machine.inside
        host = f"[{machine.address}]" if ":" in machine.address else machine.address
        self.swarm, self.api = f"{host}:{PORT}", "127.0.0.1:8470"

    def read(self, path: str) -> bytes:
        try:
            connection = UnixConnection(find_running(Home(self.home)).socket, 5)
        except NodeNotRunning as error:
            raise OSError(str(error)) from None
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            return answer.read()
        finally:
            connection.close()


def of_each(nodes: Sequence[NodeProcess], ask: Callable[[NodeProcess], _T]) -> list[_T]:
    """What each says, asked all at once: they are to be compared at one moment."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        return list(pool.map(ask, nodes))


def heads(node: NodeProcess) -> Heads:
    return {head["log"]: (head["seq"], head["hash"]) for head in node.heads()}


def own_head(node: NodeProcess) -> tuple[str, int, str]:
    """The newest entry that a node says it has written: log, sequence number and hash."""
    return next((head["log"], head["seq"], head["hash"]) for head in node.heads() if head["node"] == node.name)


def reached(several: Iterable[Heads]) -> dict[str, int]:
    """The furthest that any has got in each log."""
    furthest: dict[str, int] = {}
    for each in several:
        for log, (seq, _) in each.items():
            furthest[log] = max(seq, furthest.get(log, seq))
    return furthest


def settled(nodes: Sequence[NodeProcess]) -> set[str]:
    """Wait until all have the same logs, each as far as any of them is when this is called, or further; returns the logs."""
    goal = reached(of_each(nodes, heads))

    def is_settled(told: list[Heads]) -> bool:
        return all(each.keys() == goal.keys() and all(each[log][0] >= goal[log] for log in goal) for each in told)

    eventually(lambda: of_each(nodes, heads), is_settled, SECONDS, f"all reach {goal}", every=LOOK_SECONDS)
    return set(goal)


def same_heads(nodes: Sequence[NodeProcess]) -> Heads:
    """The heads that all tell at one moment."""
    what = f"{len(nodes)} nodes tell the same heads"
    return eventually(
        lambda: of_each(nodes, heads),
        lambda told: all(each == told[0] for each in told),
        SECONDS,
        what,
        every=LOOK_SECONDS,
    )[0]


def heads_as_told(node: NodeProcess) -> list[dict[str, Any]]:
    """What `demesh log heads --json` prints."""
    ran = node.run_command("log", "heads", "--json")
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def presences(node: NodeProcess) -> dict[str, str]:
    """How a node calls each member."""
    return {each["name"]: each["presence"] for each in node.status()["nodes"]}


def know_each_other(nodes: Sequence[NodeProcess], silent: Sequence[NodeProcess] = ()) -> None:
    """Wait until each of them calls all of them alive and these silent, and knows nobody else."""
    expected = {node.name: "alive" for node in nodes} | {node.name: "silent" for node in silent}
    eventually(
        lambda: of_each(nodes, presences),
        lambda told: all(each == expected for each in told),
        SECONDS,
        f"{len(nodes)} nodes call each other alive, and {len(silent)} silent",
        every=LOOK_SECONDS,
    )


class Ledger:
    """Every entry that any store was seen to hold: one body for each place, for ever."""

    def __init__(self) -> None:
        self._hashes: dict[tuple[bytes, int], bytes] = {}

    def __len__(self) -> int:
        return len(self._hashes)

    def look(self, nodes: Sequence[NodeProcess]) -> None:
        """Note what their stores hold now. Nothing there may contradict what was noted before, or each other."""
        for node in nodes:
            held, _ = _stored(node)
            changed = [place for place, found in held.items() if self._hashes.setdefault(place, found) != found]
            assert not changed, f"{node.name} holds other entries than were seen before: {_places(changed)}"

    def note(self, log: str, seq: int, body_hash: str) -> None:
        """A node has told of this entry."""
        place, found = (bytes.fromhex(log), seq), bytes.fromhex(body_hash)
        assert self._hashes.setdefault(place, found) == found, f"two bodies at {_places([place])}"

    def holds(self, body_hash: bytes) -> bool:
        return body_hash in self._hashes.values()

    def wait_held(self, nodes: Sequence[NodeProcess]) -> None:
        """Wait until all that was noted is in every store, but what that has forgotten: what is older than `pruned_to`."""
        for node in nodes:
            eventually(lambda node=node: self._lacked_by(node), "".__eq__, SECONDS, node.name, every=_READ_SECONDS)

    def _lacked_by(self, node: NodeProcess) -> str:
        held, pruned_to = _stored(node)
        lacked = [
            (log, seq)
            for (log, seq), found in self._hashes.items()
            if held.get((log, seq)) != found and seq >= pruned_to.get(log, 0)
        ]
        return f"lacks {_places(lacked)}" if lacked else ""


def _stored(node: NodeProcess) -> tuple[dict[tuple[bytes, int], bytes], dict[bytes, int]]:
    """The hash of each entry in a node's store, and from where on each log is whole."""
    with Store(node.home / "log.db", readonly=True) as store, store.snapshot():
        states = store.logs()
        rows = [row for state in states for row in store.each(state.log)]
    bad = [(row.log, row.seq) for row in rows if not isinstance(row, Entry)]
    assert not bad, f"{node.name} has damaged entries at {_places(bad)}"
    hashes = {(row.log, row.seq): row.hash for row in rows if isinstance(row, Entry)}
    return hashes, {state.log: state.pruned_to for state in states}


def _places(places: Sequence[tuple[bytes, int]]) -> str:
    shown = ", ".join(f"{seq} of log {log.hex()[:8]}" for log, seq in sorted(places)[:5])
    return f"{len(places)} entries: {shown}"
