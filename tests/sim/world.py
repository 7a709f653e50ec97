"""What nodes watch and whom they tell: targets with a true state over time, and an Alertmanager that keeps what it is sent."""

import bisect
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import trio

from demesh.errors import NetworkError
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec
from tests.sim.process import Process


class State(StrEnum):
    UP = "up"
    DOWN = "down"
    SLOW = "slow"
    FLAPPING = "flapping"


@dataclass(frozen=True, slots=True)
class Spell:
    """A state that lasts from `start` to `end` (true seconds)."""

    start: float
    end: float
    state: State


class Target:
    def __init__(self, name: str, spells: Iterable[Spell], address: str = "198.51.100.1") -> None:
        """`spells` are those in which it is not up, in order."""
        self.name = name
        self.address = address
        self.spells = tuple(spells)
        self._starts = [spell.start for spell in self.spells]
        self.unreachable: dict[str, list[list[float]]] = {}
        """By node: when it could not be reached from there; an open end is infinite."""

    @property
    def url(self) -> str:
        return f"https://{self.name}.example/"

    def state(self, now: float) -> State:
        index = bisect.bisect_right(self._starts, now) - 1
        return self.spells[index].state if index >= 0 and now < self.spells[index].end else State.UP

    def was_bad(self, since: float, until: float) -> bool:
        """Whether it was not up, for all, at any time between."""
        return any(spell.start <= until and spell.end >= since for spell in self.spells)

    def was_unreachable(self, node: str, since: float, until: float) -> bool:
        return any(start <= until and end >= since for start, end in self.unreachable.get(node, ()))

    def is_reachable(self, node: str, now: float) -> bool:
        return not self.was_unreachable(node, now, now)

    async def ask(self, node: str, timeout_ms: int, rng: random.Random) -> ProbeResult:
        """One run of a probe, as `node` sees it."""
        await trio.sleep(rng.uniform(0.01, 0.1))
        now = trio.current_time()
        if not self.is_reachable(node, now):
            await trio.sleep(timeout_ms / 1_000)
            return ProbeResult(Outcome.TIMEOUT, detail=f"no answer within {timeout_ms} ms", address=self.address)
        state = self.state(now)
        if state == State.SLOW:
            await trio.sleep_forever()
        if state == State.DOWN:
            return ProbeResult(Outcome.FAIL, detail="connection refused", address=self.address)
        if state == State.FLAPPING and rng.random() < 0.5:
            return ProbeResult(Outcome.MISMATCH, detail="status is 503, expected 200-299")
        return ProbeResult(Outcome.PASS, rng.randrange(1_000, 100_000), address=self.address)


def names_in(summary: str) -> set[str]:
    """The names in what is said of those that vanished together."""
    return set(summary.removesuffix(" vanished together").split(", "))


@dataclass(slots=True)
class Alert:
    """What an Alertmanager knows of one alert: until when it fires (true time), and who sent it last when."""

    ends_at: float
    summaries: dict[str, str] = field(default_factory=dict[str, str])
    """What each sender said of it last."""
    sent_by: dict[str, float] = field(default_factory=dict[str, float])


@dataclass
class Alertmanager:
    """Its own clock is right. `away`: it answers nobody. `unreachable`: by these nodes."""

    wall_ms: int
    away: bool = False
    unreachable: set[str] = field(default_factory=set)
    disturbed_at: dict[str, float] = field(default_factory=dict)
    away_at: float = 0
    alerts: dict[tuple[str, str], Alert] = field(default_factory=dict)
    firing: dict[tuple[str, str, str], float] = field(default_factory=dict)
    """(sender, alert, subject): since when that sender calls it firing."""

    def fires(self, name: str, subject: str) -> bool:
        alert = self.alerts.get((name, subject))
        return alert is not None and alert.ends_at > trio.current_time()

    def tells_of_silence(self, subject: str) -> bool:
        """Whether it is known that a node is silent, by itself or with others."""
        together = self.alerts.get(("DemeshPartition", ""))
        named = together is not None and any(subject in names_in(each) for each in together.summaries.values())
        return self.fires("DemeshNodeSilent", subject) or (named and self.fires("DemeshPartition", ""))

    def reached_since(self, node: str) -> float:
        if self.away or node in self.unreachable:
            return float("inf")
        return max(self.away_at, self.disturbed_at.get(node, 0))

    def now_ms(self) -> int:
        return self.wall_ms + round(trio.current_time() * 1_000)

    def take(self, sender: str, document: bytes) -> list[tuple[str, str, bool]]:
        """Take a post; returns (alert, subject, fires) of each whose firing this sender has changed."""
        changed: list[tuple[str, str, bool]] = []
        for each in json.loads(document):
            labels = each["labels"]
            name, subject = labels["alertname"], labels.get("check") or labels.get("node", "")
            ends_at = (datetime.fromisoformat(each["endsAt"]).timestamp() * 1_000 - self.wall_ms) / 1_000
            alert = self.alerts.setdefault((name, subject), Alert(ends_at))
            alert.ends_at, alert.sent_by[sender] = ends_at, trio.current_time()
            alert.summaries[sender] = each["annotations"]["summary"]
            fires, key = ends_at > trio.current_time(), (sender, name, subject)
            if fires != (key in self.firing):
                changed.append((name, subject, fires))
            if fires:
                self.firing.setdefault(key, trio.current_time())
            else:
                self.firing.pop(key, None)
        return changed


@dataclass
class Phone:
    """Rings at whatever it is told, by whoever tells it: it knows nothing of what it was told before."""

    rang: list[tuple[float, str, str, str]] = field(default_factory=list[tuple[float, str, str, str]])
    """When, for which alert, of which subject, and whether it is firing, a reminder or resolved."""

    def rings(self, name: str, subject: str, state: str, since: float) -> list[float]:
        return [at for at, *what in self.rang if what == [name, subject, state] and at >= since]


@dataclass
class World:
    targets: dict[str, Target]
    """By URL."""
    alertmanager: Alertmanager
    phone: Phone = field(default_factory=Phone)

    async def probe(self, process: Process, node: str, spec: ProbeSpec, rng: random.Random) -> ProbeResult:
        process.step()
        return await self.targets[spec.target].ask(node, spec.timeout_ms, rng)

    async def answer(self, node: str) -> None:
        """Raises NetworkError if the Alertmanager does not answer `node`."""
        await trio.sleep(0.02)
        if self.alertmanager.away or node in self.alertmanager.unreachable:
            raise NetworkError("connection refused")
