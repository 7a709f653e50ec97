"""What is promised (docs/architecture.md), watched while a simulation runs: the first promise that is broken ends it.

The oracle knows what no node knows: every entry ever stored by its author, who is dead since when, what is really down, and
which machines and links nothing disturbs. What it asks of the nodes is asked only where nothing disturbs them (`Oracle.steady`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from demesh.alerts.message import Message
from demesh.errors import DemeshError, StoreError
from demesh.log.entry import Entry
from demesh.log.store import Store
from demesh.mesh.gossip import read_message
from tests.sim.machine import Machine
from tests.sim.outages import Outages
from tests.sim.silences import Silences
from tests.sim.virtual import PROCESS
from tests.sim.world import names_in

if TYPE_CHECKING:
    from tests.sim.simulation import Simulation

NOT_BUILT = {
    "a clock that is years off": "What is forgotten is decided by the date. A node that starts with a clock that is years ahead "
    "forgets results at once, and of an author whose clock is years behind everybody forgets the hours that are not signed yet. "
    "So after `wall-years`, `since` of a check may differ where logs were shortened, and history made anew is not compared.",
    "isolation without an anchor": "A node that sees no others, has no anchor and few targets takes what it sees alone for the "
    "truth, since a false page is better than none. So a target that only some nodes cannot reach may be called down while "
    "anything disturbs the mesh.",
    "relayed life": "While gossip drops everything, others are heard of through sync alone, which asks one peer every half a "
    "minute and three when somebody is suspect: such a link promises no timely sign of life.",
}
"""What the oracle allows because docs/architecture.md does not promise it yet, and why."""

_ALL_IS_NOT_WELL = ("DemeshNodeIsolated", "DemeshVantageBroken", "DemeshCheckSilent", "DemeshKeyShared")
_TWICE = 2
_CALM_SECONDS = 200  # an incident may have been open for longer than it was told
_IO_ERROR_SECONDS = 10
_GOES_ON_SECONDS = 2  # after it was held, until each of its loops has turned
_TASKS_MAX = 60
_TASKS_PER_PEER_MAX = 12
_BROADCASTS_KEPT = 50


@dataclass(frozen=True, slots=True)
class Violation:
    promise: str
    at: float
    who: str
    what: str

    def __str__(self) -> str:
        return f"{self.promise} ({self.who} at {int(self.at) // 60}:{self.at % 60:06.3f}): {self.what}"


class Oracle:
    def __init__(self, simulation: "Simulation") -> None:
        self.violation: Violation | None = None
        self.broken = trio.Event()
        self.hashes: dict[tuple[bytes, int], bytes] = {}
        """Of every entry that its author has stored, by log and number."""
        self.authors: dict[bytes, Machine] = {}
        """Whose disk a log was begun on."""
        self.broadcasts: list[bytes] = []
        self.checked: dict[str, int] = {}
        self._simulation = simulation
        self._must_hold: dict[str, dict[bytes, int]] = {}
        self._on_lost_disks: set[bytes] = set()
        self._got: dict[str, list[tuple[float, str]]] = {}
        """What each machine has on its disk: when it stored something, and of whom."""
        self._set_back: set[str] = set()
        self._histories: dict[tuple[bytes, int], set[bytes]] = {}
        """Of the entries of machines that were set back, all that they have stored in one place."""
        self._disk_bad_at: dict[str, float] = {}
        self.outages = Outages(self, simulation)
        self.silences = Silences(self, simulation)

    def violate(self, promise: str, who: str, what: str) -> None:
        if self.violation is None:
            self.violation = Violation(promise, trio.current_time(), who, what)
            self._simulation.story.tell(who, f"BROKEN: {promise} {what}")
            self.broken.set()

    # What machines do (tests.sim.machine.Witness)

    def committed(self, machine: Machine, entries: Sequence[Entry], *, own: bool) -> None:
        for entry in entries:
            place = (entry.log, entry.seq)
            if own:
                author = self.authors.setdefault(entry.log, machine)
                if machine.name in self._set_back:
                    self._histories.setdefault(place, {self.hashes.get(place, entry.hash)}).add(entry.hash)
                if not self._is_signed(place, entry.hash, first=True) or author is not machine:
                    what = f"it has signed two different entries for place {entry.seq} of log {entry.log.hex()[:8]}"
                    self.violate("One history.", machine.name, what)
                self._simulation.story.note(f"{machine.name} {entry.log.hex()} {entry.seq} {entry.hash.hex()}")
                continue
            known = self.hashes.get(place)
            if known is None:
                what = f"it holds entry {entry.seq} of log {entry.log.hex()[:8]}, which no author has stored"
                promise = "Durable before shown." if entry.log in self.authors else "Strangers get nothing."
                self.violate(promise, machine.name, what)
            elif not self._is_signed(place, entry.hash):
                what = f"it holds another entry {entry.seq} of log {entry.log.hex()[:8]} than its author"
                self.violate("One history.", machine.name, what)
            else:
                author = self.authors[entry.log]
                self._got.setdefault(machine.name, []).append((trio.current_time(), author.name))
                if author is not machine and entry.log not in self._on_lost_disks:
                    held = self._must_hold.setdefault(author.name, {})
                    held[entry.log] = max(held.get(entry.log, 0), entry.seq)

    def broadcast(self, machine: Machine, data: bytes) -> None:
        said = read_message(data)
        for entry in said if isinstance(said, list) else ():
            if not self._is_signed((entry.log, entry.seq), entry.hash):
                what = f"it shows entry {entry.seq} of log {entry.log.hex()[:8]} before it is stored"
                self.violate("Durable before shown.", machine.name, what)
        self.broadcasts.append(data)
        del self.broadcasts[:-_BROADCASTS_KEPT]

    def opened(self, machine: Machine, store: Store) -> None:
        """What others have got of a node is in its own store, whatever happened to it."""
        own = store.own_log(machine.key)
        if own is not None and self.authors.get(own[0], machine) is machine:
            seq = own[1].seq
            while seq >= 0 and (own[0], seq) not in self.hashes:
                # It was killed between the write and its end: nobody was told, and it is there all the same.
                self.committed(machine, store.read(own[0], seq, seq)[0], own=True)
                seq -= 1
        for log, seq in self._must_hold.get(machine.name, {}).items():
            self.count("what was shown is stored")
            forgotten = seq < store.pruned_to(log)  # on purpose: its clock may be years ahead
            if not forgotten and store.hash_at(log, seq) != self.hashes[(log, seq)]:
                what = f"its store has lost entry {seq} of log {log.hex()[:8]}, which others have got from it"
                self.violate("Durable before shown.", machine.name, what)

    def _is_signed(self, place: tuple[bytes, int], entry_hash: bytes, *, first: bool = False) -> bool:
        """Whether a log's author has stored this in that place; `first`: or does now."""
        known = self.hashes.setdefault(place, entry_hash) if first else self.hashes.get(place)
        return known == entry_hash or entry_hash in self._histories.get(place, ())

    def set_back(self, machine: Machine, then: float) -> None:
        """It does not know what it wrote last, and cannot: what it signs there again is proven against it, and it goes on."""
        self._set_back.add(machine.name)
        self.disk_replaced(machine, then)

    def disk_replaced(self, machine: Machine, then: float | None = None) -> None:
        """Whatever others have got was on another disk. What it has got itself is what it had `then`, or nothing."""
        got = self._got.get(machine.name, [])
        self._got[machine.name] = [each for each in got if then is not None and each[0] <= then]
        self._must_hold.pop(machine.name, None)
        self._on_lost_disks.update(log for log, author in self.authors.items() if author is machine)

    def has_got(self, observer: Machine, subject: Machine, since: float) -> bool:
        """Whether something of `subject` is on the observer's disk that came after `since`."""
        return any(name == subject.name and at >= since for at, name in self._got.get(observer.name, []))

    def ended(self, machine: Machine, error: BaseException | None) -> None:
        process = machine.process
        assert process is not None
        if error is None:
            return
        self._simulation.story.tell(machine.name, f"ends: {_sentence(error)}")
        on_purpose = machine.disk.fault is not None and _is(error, StoreError)
        if not on_purpose:
            self.violate("A node ends only for what is told to it.", machine.name, _sentence(error))

    def alerted(self, machine: Machine, name: str, subject: str, *, fires: bool) -> None:
        if not fires and name == "DemeshNodeSilent":
            self.silences.end_told(machine, subject)
        elif fires and name == "DemeshNodeSilent":
            self.silences.told(machine, subject)
        elif fires and name == "DemeshPartition":
            summary = self._simulation.world.alertmanager.alerts[name, subject].summaries[machine.name]
            for each in sorted(names_in(summary)):
                self.silences.told(machine, each)
        elif fires and name == "DemeshCheckDown":
            self.outages.told(machine, subject)
        elif fires and name in _ALL_IS_NOT_WELL:
            self.silences.told_though_all_is_well(machine, name)

    def called(self, machine: Machine, message: Message) -> None:
        """The phone rang. What may not be told to an Alertmanager may not be told to it; and of one thing it rings once."""
        name, subject = message.incident.name, message.incident.subject
        if message.state != "firing":
            return
        self.count("calls")
        if name == "DemeshNodeSilent":
            self.silences.told(machine, subject)
        elif name == "DemeshCheckDown":
            self.outages.told(machine, subject)
        elif name in _ALL_IS_NOT_WELL:
            self.silences.told_though_all_is_well(machine, name)
        self._called_once(machine, name, subject)

    def _called_once(self, machine: Machine, name: str, subject: str) -> None:
        """Where nothing disturbs the mesh, and nothing disturbed it when the phone rang before, it has to be over in between."""
        phone, now = self._simulation.world.phone, trio.current_time()
        rings = phone.rings(name, subject, "firing", 0)
        if len(rings) < _TWICE or phone.rings(name, subject, "resolved", rings[-_TWICE]):
            return
        window = now - rings[-_TWICE] + _CALM_SECONDS
        calm = len(self.steady(machine, window)) == len(self._simulation.machines) and self.settled(window)
        reached = self._simulation.world.alertmanager.reached_since(machine.name) < now - window
        self.count("second calls")
        if calm and reached and not self.lossy():
            what = (
                f"the phone rings for {name} {subject} again after {now - rings[-_TWICE]:.0f} s, and it was never over"
            )
            self.violate("Once.", machine.name, what)

    def look_often(self) -> None:
        self.silences.look()
        self.silences.look_at_those_cut_off()
        for machine in self._simulation.machines:
            self._io_error_ends(machine)

    def look_seldom(self) -> None:
        self._bounds()
        for machine in self._simulation.machines:
            self._goes_round(machine)

    def steady(self, machine: Machine, seconds: float) -> list[Machine]:
        """The machines that nothing has disturbed for so long, and that were connected with `machine` all the time.

        Where broadcasts are lost, only those that are connected with it directly.
        """
        simulation, since = self._simulation, trio.current_time() - seconds
        if not machine.live or machine.calm_since > since:
            return []
        by_address = {each.address: each for each in simulation.machines}
        found, waiting = [machine], [machine]
        while waiting:
            here = waiting.pop()
            assert here.process is not None
            for connection in here.process.network.connections:
                there = by_address.get(connection.other(here.process.network).address)
                if there is None or there in found or not there.live or there.calm_since > since:
                    continue
                calm = simulation.fabric.calm_since(here.address, there.address) <= since
                if calm and connection.since <= since and len(connection.open) == 2:
                    found.append(there)
                    if not self.lossy():
                        waiting.append(there)
        return found

    def settled(self, seconds: float) -> bool:
        """Whether for so long nobody was gone for good, or forgotten."""
        return self._simulation.settled_since <= trio.current_time() - seconds

    def lossy(self) -> bool:
        return "loss" in self._simulation.scenario.faults

    def _io_error_ends(self, machine: Machine) -> None:
        disk = machine.disk
        if not disk.hit_at_wal:
            self._disk_bad_at.pop(machine.name, None)
            return
        since = self._disk_bad_at.setdefault(machine.name, trio.current_time())
        if machine.live and trio.current_time() - since > _IO_ERROR_SECONDS:
            self.violate("An I/O error ends the node.", machine.name, "it goes on with a disk that has failed it")

    def _goes_round(self, machine: Machine) -> None:
        """A watchdog would not end it, whatever is done to its network, its disk and its clocks."""
        process, now = machine.process, trio.current_time()
        if process is None or not machine.live or not process.is_ready or process.stop.is_set():
            return
        runs = process.held is None and now - process.went_on_at >= _GOES_ON_SECONDS
        if runs and (hanging := machine.node.hanging()):
            self.violate("A node that is well does not hang.", machine.name, f"hanging: {', '.join(hanging)}")

    def _bounds(self) -> None:
        counts: dict[str, int] = {}
        root = trio.lowlevel.current_root_task()
        waiting = [root] if root else []
        while waiting:
            task = waiting.pop()
            process = task.context.get(PROCESS)
            if process is not None:
                name = getattr(process, "name", "")
                counts[name] = counts.get(name, 0) + 1
            for nursery in task.child_nurseries:
                waiting.extend(nursery.child_tasks)
        for machine in self._simulation.machines:
            most = _TASKS_MAX + _TASKS_PER_PEER_MAX * len(self._simulation.machines)
            if counts.get(machine.name, 0) > most:
                self.violate("Bounded.", machine.name, f"it has {counts[machine.name]} tasks")
            if machine.live and len(machine.node.logs) > len(self.authors):
                self.violate("Bounded.", machine.name, f"it holds {len(machine.node.logs)} logs of {len(self.authors)}")

    # At the end

    def everything_is_well(self) -> str:
        """When nothing fails any more: what still keeps the nodes from agreeing that all is well; empty if nothing does."""
        machines = self._simulation.machines
        heads, status = machines[0].node.heads(), same_everywhere(machines[0])
        for machine in machines:
            if not machine.live:
                return f"{machine.name} does not run"
            if machine.node.heads() != heads:
                return f"{machine.name} and {machines[0].name} hold different heads"
        for machine in machines:
            said = same_everywhere(machine)
            flapping = [
                each["name"] for each in said["checks"] if each["state"] == "flapping"
            ]  # until ten results say the same
            wrong = [each["name"] for each in said["checks"] if each["state"] not in ("up", "flapping")]
            wrong += [each["name"] for each in said["nodes"] if each["presence"] != "alive"]
            wrong += [" ".join(each) for each in said["incidents"] if each[1] not in flapping]
            wrong += [f"a fork of {name}" for name in _forked(machine) - self._set_back]
            if wrong:
                return f"{machine.name} still complains of {', '.join(wrong)}"
            if _where_some_forgot(said) != _where_some_forgot(status) if self._has_forgotten() else said != status:
                return f"{machine.name} and {machines[0].name} tell different things: {_difference(said, status)}"
        for log, seq in ((bytes.fromhex(each["log"]), each["seq"]) for each in heads):
            if self.hashes.get((log, seq)) is None:
                return f"entry {seq} of log {log.hex()[:8]} is nobody's"
        return ""

    def _has_forgotten(self) -> bool:
        return any(state.pruned_to for machine in self._simulation.machines for state in machine.node.logs.states())

    def count(self, what: str) -> None:
        self.checked[what] = self.checked.get(what, 0) + 1


def _forked(machine: Machine) -> set[str]:
    """Whose logs it says are forked."""
    incidents = machine.node.status()["incidents"]
    return {each["subject"].partition("~")[0] for each in incidents if each["name"] == "DemeshLogForked"}


def same_everywhere(machine: Machine) -> dict[str, list[Any]]:
    """What `demesh status --json` tells that is not the observer's own: neither dates by its clock (nor warnings and forks, which
    are told for a day by it, and clocks that are still off) nor what it looks up now and then (uptime, hours, latency)."""
    said = machine.node.status()
    return {
        "checks": [
            {key: value for key, value in each.items() if key not in ("uptime", "latency_ms", "hours")}
            for each in said["checks"]
        ],
        "nodes": [
            {key: value for key, value in each.items() if key not in ("seen_at", "warnings")} for each in said["nodes"]
        ],
        "incidents": [
            (each["name"], each["subject"])
            for each in said["incidents"]
            if each["name"] not in ("DemeshLogForked", "DemeshClockSkew")
        ],
    }


def _where_some_forgot(said: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """What is left to compare where some hold less of a log than others: an address is told when it changes, and once an hour."""
    checks = [
        {**each, "since": None, "vantages": [{**vantage, "address": None} for vantage in each["vantages"]]}
        for each in said["checks"]
    ]
    return {**said, "checks": checks}


def _difference(one: object, other: object) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        return next(
            (f"{key}: {_difference(one[key], other.get(key))}" for key in one if one[key] != other.get(key)), ""
        )
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return next((_difference(a, b) for a, b in zip(one, other, strict=True) if a != b), "")
    return f"{one!r} or {other!r}"


def _is(error: BaseException, kind: type[DemeshError]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is(each, kind) for each in error.exceptions)
    return isinstance(error, kind)


def _sentence(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(_sentence, error.exceptions))
    return f"{type(error).__name__}: {error}"
