"""Drives the ladder (`demesh.alerts.ladder`): tells it what the lookout sees, and does what it decides.

Guarantees: what goes into the own log is durable before a message is sent; messages go out beside each other, so a sink that
hangs holds up none but its own. Nothing is told for NOTIFY_HOLD_MS_MIN after a start or a pause, and while logs are not
complete for up to NOTIFY_HOLD_MS_MAX: what others told meanwhile must be known first. A restart, whatever had been told before,
tells nothing anew.
"""

import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import trio

from demesh import limits
from demesh.alerts.delivery import Notify
from demesh.alerts.incident import Closed, Incident, Opened, Seen
from demesh.alerts.ladder import Append, Key, Ladder, Send, World
from demesh.alerts.message import Message
from demesh.alerts.sink import Sink
from demesh.clock import Clock
from demesh.errors import NetworkError
from demesh.log.event import Event
from demesh.metrics import NOTIFICATIONS, NOTIFY_LEASES, begin
from demesh.view.fold import View
from demesh.view.presence import Presence
from demesh.view.report import iso
from demesh.view.tellings import TellingKey, Tellings

log = logging.getLogger(__name__)
_HERE = (Presence.ALIVE, Presence.SUSPECT)
_LOOK_SECONDS_MAX = 60


class Notifier:
    """`tell` appends events to the own log; `complete` says whether this node holds what its peers hold, `muted`
    whether nobody is to be told of an incident now.
    """

    def __init__(
        self,
        view: View,
        own_key: bytes,
        mesh_id: bytes,
        clock: Clock,
        rng: random.Random,
        notify: Notify,
        tell: Callable[[Sequence[Event]], Awaitable[None]],
        complete: Callable[[], bool],
        muted: Callable[[Incident], bool] = lambda incident: False,
    ) -> None:
        self._view = view
        self._own_key = own_key
        self._mesh_id = mesh_id
        self._clock = clock
        self._rng = rng
        self._notify = notify
        self._tell = tell
        self._complete = complete
        self._muted = muted
        self._node = ""
        self._sinks: dict[bytes, list[Sink]] = {}
        self._ladder = Ladder(own_key)
        self._open: dict[Key, Incident] = {}
        self._closed: OrderedDict[Key, Incident] = OrderedDict()
        self._seen: Sequence[Seen] = ()
        self._held_since_ms = clock.monotonic_ms()
        self._failing: dict[str, str] = {}
        """By the URL of a sink: why the last attempt failed."""
        self._reached_up_ms: dict[str, int] = {}
        self._wake = trio.Event()

    def set_sinks(self, sinks: Sequence[Sink], node: str) -> None:
        """Tell these from now on; `node` is this node's name."""
        self._node = node
        self._sinks = {}
        for sink in sinks:
            self._sinks.setdefault(sink.digest(self._mesh_id), []).append(sink)
            begin(NOTIFICATIONS, ("sent", "failed"), sink.name)
        self._wake.set()

    def listen_anew(self, now_ms: int) -> None:
        """This node did not listen for a while: others may have told what it has not heard of."""
        self._held_since_ms = now_ms

    def update(
        self, open_incidents: Iterable[Incident], changes: Sequence[Opened | Closed], seen: Sequence[Seen]
    ) -> None:
        """What the lookout sees now: what is open and may be notified, what has changed, and all that there could be."""
        self._open = {(each.name, each.key): each for each in open_incidents}
        self._seen = seen
        for change in changes:
            key = (change.incident.name, change.incident.key)
            self._closed.pop(key, None)
            if isinstance(change, Closed):
                self._closed[key] = change.incident
                if len(self._closed) > limits.NOTIFY_CLOSED_MAX:
                    self._closed.popitem(last=False)
        self._wake.set()

    def sinks(self) -> list[dict[str, Any]]:
        """How they stand, as `demesh status --json` tells it. One that others tell has nothing to say here."""
        return [self._told(each) for several in self._sinks.values() for each in several]

    def _told(self, sink: Sink) -> dict[str, Any]:
        reached_ms, problem = self._reached_up_ms.get(sink.url), self._failing.get(sink.url)
        ago_ms = None if reached_ms is None else self._clock.up_ms() - reached_ms
        return {
            "name": sink.name,
            "ok": False if problem else None if ago_ms is None else True,
            "last_ok_at": None if ago_ms is None else iso(self._clock.wall_ms() - ago_ms),
            "problem": problem,
        }

    async def run(self) -> None:
        """Tell what is due, until cancelled. Raises StoreError."""
        async with trio.open_nursery() as nursery:
            while True:
                self._wake = trio.Event()
                wait_ms = await self._look(nursery) if self._sinks else 1_000 * _LOOK_SECONDS_MAX
                with trio.move_on_after(min(wait_ms / 1_000, _LOOK_SECONDS_MAX)):
                    await self._wake.wait()

    async def _look(self, nursery: trio.Nursery) -> int:
        now_ms = self._clock.monotonic_ms()
        effects, wait_ms = self._ladder.look(self._world(now_ms), now_ms)
        tellings = [each for each in effects if isinstance(each, Append)]
        for each in tellings:
            if (number := each.telling.lease) is not None:
                NOTIFY_LEASES.labels("take_over" if each.take_over else "again" if number else "first").inc()
        if tellings:
            await self._tell([each.telling.event() for each in tellings])
        for effect in effects:
            if isinstance(effect, Send):
                nursery.start_soon(self._send, effect)
        return wait_ms

    async def _send(self, send: Send) -> None:
        sink = send.sink
        message = Message(
            send.incident, send.state, self._clock.wall_ms(), self._node, self._mesh_id.hex()[:8], send.step.reminder
        )
        problem = ""
        try:
            await self._notify(sink, message)
        except NetworkError as error:
            problem = str(error)
        NOTIFICATIONS.labels(sink.name, "failed" if problem else "sent").inc()
        if problem and sink.url not in self._failing:
            self._failing[sink.url] = problem
            log.warning("Notifications do not reach %s: %s", sink.name, problem)
        elif not problem and sink.url in self._failing:
            del self._failing[sink.url]
            log.warning("Notifications reach %s again.", sink.name)
        if not problem:
            self._reached_up_ms[sink.url] = self._clock.up_ms()
        now_ms, chance = self._clock.monotonic_ms(), self._rng.random() if problem else 0.0
        self._ladder.tried(send.key, send.step, arrived=not problem, now_ms=now_ms, chance=chance)
        self._wake.set()

    def _world(self, now_ms: int) -> World:
        tellings = self._view.tellings()
        return World(
            open=self._open,
            closed=self._closed,
            over=self._over(tellings),
            sinks=self._sinks,
            takers=self._takers(now_ms),
            tellings=tellings,
            holding=self._holds(now_ms),
            muted=self._muted,
        )

    def _holds(self, now_ms: int) -> bool:
        held_ms = now_ms - self._held_since_ms
        if held_ms >= limits.NOTIFY_HOLD_MS_MAX:
            return False
        return held_ms < limits.NOTIFY_HOLD_MS_MIN or not self._complete()

    def _takers(self, now_ms: int) -> dict[bytes, list[bytes]]:
        found: dict[bytes, list[bytes]] = {digest: [self._own_key] for digest in self._sinks}
        for member in self._view.members():
            if member.public_key == self._own_key or self._view.presence(member, now_ms) not in _HERE:
                continue
            for digest in member.current.plan.sinks if member.current.plan else ():
                if digest in found:
                    found[digest].append(member.public_key)
        return found

    def _over(self, tellings: dict[TellingKey, Tellings]) -> set[Key]:
        """Of the incidents that a sink holds to be open: those that are proven to be over."""
        doubtful = {key[:2] for key, each in tellings.items() if each.told and each.told.step.opens} - self._open.keys()
        if not doubtful:
            return set()
        known = {(each.name, each.key): each for each in self._seen}
        names = {each.name for each in self._seen}
        # What this version has no rule for, it cannot say to be over; what has gone altogether, it can.
        return {key for key in doubtful if (_is_right(known[key]) if key in known else key[0] in names)}


def _is_right(seen: Seen) -> bool:
    return seen.right and seen.wrong is None
