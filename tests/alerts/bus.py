"""Ladders of several members on a bus that delays and loses what they write, in time that only this counts."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from demesh import limits
from demesh.alerts.incident import Incident
from demesh.alerts.ladder import Append, Key, Ladder, Send, World
from demesh.alerts.sink import Sink
from demesh.log.event import Event
from demesh.log.telling import Telling, read_telling
from demesh.view.freshness import LogClock
from demesh.view.tellings import LogTellings, Noted, gather
from tests.log.builders import BOOT8, MESH

SINK = Sink("https://hooks.example.net/a", "hook")
DIGEST = SINK.digest(MESH)
STEP_MS = 1_000


class _Clock(LogClock):
    """All members' clocks run alike here, so up times are the observer's own."""

    def local_ms(self, boot8: bytes, up_ms: int) -> int | None:
        return up_ms


@dataclass
class Peer:
    """One member: what has reached it of each log, and what it sees."""

    key: bytes
    ladder: Ladder
    alive: bool = True
    open: dict[Key, Incident] = field(default_factory=dict)
    closed: dict[Key, Incident] = field(default_factory=dict)
    over: set[Key] = field(default_factory=set)
    logs: dict[bytes, LogTellings] = field(default_factory=dict)
    sends: bool = True
    """Whether the sink takes what it sends."""


class Bus:
    def __init__(self, members: int, rng: random.Random, delay_ms: int = 0, loss: float = 0.0) -> None:
        self.rng = rng
        self.delay_ms = delay_ms
        self.loss = loss
        self.now_ms = 0
        self.peers = {key: Peer(key, Ladder(key)) for key in (bytes([n]) * 32 for n in range(members))}
        self.sent: list[tuple[bytes, str, int]] = []
        """What arrived at the sink: by whom, the state, when."""
        self.written: list[tuple[bytes, Telling, int]] = []
        self.silent_after_ms = 35_000
        self._died_ms: dict[bytes, int] = {}
        self._under_way: list[tuple[int, bytes, bytes, Noted]] = []
        self._trying: list[tuple[int, Peer, Send]] = []
        self._seq = 0
        self.crash: Callable[[Peer, Telling], bool] = lambda peer, telling: False
        """Whether a member dies right after it has written this."""
        self.crash_before: Callable[[Peer, Telling], bool] = lambda peer, telling: False

    def run(self, ms: int, each: Callable[[], None] = lambda: None) -> None:
        for _ in range(0, ms, STEP_MS):
            self.now_ms += STEP_MS
            each()
            self._deliver()
            for peer in self.peers.values():
                if peer.alive:
                    self._look(peer)

    def kill(self, peer: Peer) -> None:
        peer.alive = False
        self._died_ms[peer.key] = self.now_ms
        self._trying = [each for each in self._trying if each[1] is not peer]

    def states(self) -> list[str]:
        return [state for _, state, _ in self.sent]

    def _deliver(self) -> None:
        for item in [each for each in self._under_way if each[0] <= self.now_ms]:
            self._under_way.remove(item)
            _, to, author, noted = item
            if self.rng.random() < self.loss:  # lost as gossip; sync brings it
                self._under_way.append((self.now_ms + self.delay_ms, to, author, noted))
            else:
                _take(self.peers[to], author, noted)
        for item in [each for each in self._trying if each[0] <= self.now_ms]:
            self._trying.remove(item)
            _, peer, send = item
            if peer.sends:
                self.sent.append((peer.key, send.state, self.now_ms))
            chance = self.rng.random()
            peer.ladder.tried(send.key, send.step, arrived=peer.sends, now_ms=self.now_ms, chance=chance)

    def _look(self, peer: Peer) -> None:
        logs = ((key, tellings, _Clock()) for key, tellings in peer.logs.items())
        takers = [
            key
            for key, other in self.peers.items()
            if other.alive or self.now_ms - self._died_ms[key] < self.silent_after_ms
        ]
        world = World(peer.open, peer.closed, peer.over, {DIGEST: [SINK]}, {DIGEST: takers}, gather(logs))
        effects, wait_ms = peer.ladder.look(world, self.now_ms)
        assert wait_ms >= 0
        for effect in effects:
            if isinstance(effect, Send):
                self._trying.append((self.now_ms + self.rng.randrange(0, 3_000, STEP_MS), peer, effect))
            else:
                if self.crash_before(peer, effect.telling):
                    self.kill(peer)
                    return
                self._append(peer, effect)
                if self.crash(peer, effect.telling):
                    self.kill(peer)
                    return

    def _append(self, peer: Peer, append: Append) -> None:
        self._seq += 1
        event = append.telling.event()
        assert len(event.details) <= limits.LABELS_MAX
        self.written.append((peer.key, append.telling, self.now_ms))
        noted = Noted(_read(event), self._seq, BOOT8, self.now_ms)
        for to in self.peers:
            at_ms = self.now_ms if to == peer.key else self.now_ms + self.rng.randint(0, self.delay_ms)
            if to == peer.key:
                _take(peer, peer.key, noted)
            else:
                self._under_way.append((at_ms, to, peer.key, noted))


def _read(event: Event) -> Telling:
    telling = read_telling(event)
    assert telling is not None
    return telling


def _take(peer: Peer, author: bytes, noted: Noted) -> None:
    peer.logs.setdefault(author, LogTellings()).note(noted)
