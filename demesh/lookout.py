"""The lookout: looks at the view whenever something arrived and every second, concludes what is wrong, and tells the sinks.

Guarantees: an incident is posted as soon as it opens or closes, and sinks can be changed while it looks. A node that did not
run for a while (a suspended machine, a stopped process), or whose network does not, listens anew before it accuses anybody, and
takes nothing back meanwhile.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import trio

from demesh import limits
from demesh.alerts.alertmanager import AlertmanagerSender, Post
from demesh.alerts.incident import Closed, Incident, Incidents, Labels, Opened, look
from demesh.alerts.muting import Muting
from demesh.alerts.on_paths import look_at_paths
from demesh.alerts.outbox import Outbox, Outgoing
from demesh.alerts.told import acknowledgement_told, mute_told
from demesh.alerts.watchdog import watchdog
from demesh.clock import Clock
from demesh.metrics import ENTRIES_SKIPPED
from demesh.view.fold import View
from demesh.view.names import names_of_everyone
from demesh.view.presence import Presence
from demesh.view.report import iso

log = logging.getLogger(__name__)
_LOOK_SECONDS = 1
_PAUSE_FACTOR = 9
_STALL_MS = 5_000


class Lookout:
    """`on_suspect` is called once for each time that a member becomes suspect: somebody else may have heard of it.
    `hears` tells whether others could be heard now, `own_name` what this node is called.
    """

    def __init__(
        self,
        view: View,
        mesh: str,
        clock: Clock,
        post: Post,
        on_suspect: Callable[[], None],
        hears: Callable[[], bool] = lambda: True,
        own_name: Callable[[], str] = lambda: "",
    ) -> None:
        self._view = view
        self._mesh = mesh
        self._clock = clock
        self._post = post
        self._on_suspect = on_suspect
        self._hears = hears
        self._own_name = own_name
        self._watchdog = False
        self._labels: Labels = ()
        self._urls: Sequence[str] = ()
        self._senders: dict[str, AlertmanagerSender] = {}
        self._nursery: trio.Nursery | None = None
        self._incidents = Incidents()
        self._closed: deque[Closed] = deque(maxlen=limits.INCIDENTS_CLOSED_KEPT_MAX)
        self._started_ms = clock.wall_ms()
        self._muting = Muting(self._started_ms)
        self._outbox = Outbox()
        self._changed = trio.Event()
        self._asked_about: dict[bytes, int] = {}

    def set_sinks(self, urls: Sequence[str], labels: Labels, *, watchdog: bool = False) -> None:
        """Tell these Alertmanagers from now on, with these labels on every alert; and that this node can, if
        `watchdog`.
        """
        self._urls, self._labels, self._watchdog = urls, labels, watchdog
        if self._nursery is None:
            return
        for url in self._senders.keys() - set(urls):
            self._senders.pop(url).stop()
        for url in urls:
            if url not in self._senders:
                self._senders[url] = AlertmanagerSender(url, self._post, self._outgoing, self._clock)
                self._nursery.start_soon(self._senders[url].run)

    def look_soon(self) -> None:
        """Something has arrived."""
        self._changed.set()

    def open(self) -> list[Incident]:
        return self._incidents.open()

    def incidents(self) -> list[dict[str, Any]]:
        """The open ones, as `demesh status --json` tells them."""
        names = names_of_everyone(self._view)
        return [
            {
                **_told(each, "open"),
                "muted": mute_told(self._muting.mute_of(each), names),
                "acknowledged": acknowledgement_told(self._muting.acknowledged(each), names),
            }
            for each in self._incidents.open()
        ]

    def closed(self) -> list[dict[str, Any]]:
        """Those that closed lately while this node ran, the newest first."""
        return [
            {**_told(each.incident, "closed"), "closed_at": iso(each.resolved_ms)} for each in reversed(self._closed)
        ]

    async def run(self) -> None:
        """Look and tell, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self.set_sinks(self._urls, self._labels, watchdog=self._watchdog)
            looked_ms = heard_ms = self._clock.monotonic_ms()
            while True:
                with trio.move_on_after(_LOOK_SECONDS):
                    await self._changed.wait()
                self._changed = trio.Event()
                now_ms = self._clock.monotonic_ms()
                if now_ms - looked_ms > _STALL_MS:
                    log.warning("This node did not run for %d s; it listens anew.", (now_ms - looked_ms) // 1_000)
                if now_ms - heard_ms > _STALL_MS:
                    self._view.listen_anew(now_ms, heard_ms)
                looked_ms = now_ms
                if self._hears():
                    heard_ms = now_ms
                began = trio.current_time()
                self._conclude(now_ms, self._clock.wall_ms())
                # In a large mesh something arrives all the time: looking may not take all of it.
                await trio.sleep(min(_LOOK_SECONDS, _PAUSE_FACTOR * (trio.current_time() - began)))

    def _outgoing(self) -> Sequence[Outgoing]:
        return self._outbox.outgoing(self._clock.monotonic_ms(), self._clock.wall_ms())

    def _conclude(self, now_ms: int, wall_ms: int) -> None:
        self._view.tick(now_ms, listening=self._hears())
        ENTRIES_SKIPPED.set(self._view.skipped)
        told = self._view, self._mesh, self._labels, now_ms, wall_ms
        changes = self._incidents.update([*look(*told), *look_at_paths(*told)], wall_ms)
        held = self._muting.look(self._view, self._incidents.open(), changes, now_ms, wall_ms)
        let_out = self._outbox.update(self._incidents.open(), changes, now_ms, held)
        began = self._watchdog and self._outbox.watchdog is None
        self._outbox.watchdog = (
            watchdog(self._own_name(), self._mesh, self._labels, self._started_ms) if self._watchdog else None
        )
        for change in changes:
            _log(change)
            if isinstance(change, Closed):
                self._closed.append(change)
        if changes or let_out or began:
            for sender in self._senders.values():
                sender.poke()
        for member in self._view.members():
            suspect = self._view.presence(member, now_ms) == Presence.SUSPECT
            if suspect and self._asked_about.get(member.public_key) != member.sign.at_ms:
                self._asked_about[member.public_key] = member.sign.at_ms
                self._on_suspect()


def _told(each: Incident, state: str) -> dict[str, Any]:
    return {
        "name": each.name,
        "subject": each.subject,
        "state": state,
        "since": iso(each.onset_ms),
        "labels": dict(each.labels),
        "annotations": dict(each.annotations),
    }


def _log(change: Opened | Closed) -> None:
    what = "opened" if isinstance(change, Opened) else "closed"
    log.warning("Incident %s: %s %s", what, change.incident.name, change.incident.subject)
