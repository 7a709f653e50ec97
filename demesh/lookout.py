"""The lookout: looks at the view whenever something arrived and every second, concludes what is wrong, and tells the sinks.

Guarantees: an incident is posted as soon as it opens or closes, and sinks can be changed while it looks. A node that did not
run for a while (a suspended machine, a stopped process), or whose network does not, listens anew before it accuses anybody, and
takes nothing back meanwhile.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import trio

from demesh.alerts.alertmanager import AlertmanagerSender, Post
from demesh.alerts.incident import Closed, Incidents, Labels, Opened, look
from demesh.alerts.notifier import Notifier
from demesh.alerts.outbox import Outbox, Outgoing
from demesh.clock import Clock
from demesh.metrics import ENTRIES_SKIPPED
from demesh.view.fold import View
from demesh.view.presence import Presence
from demesh.view.report import iso

log = logging.getLogger(__name__)
_LOOK_SECONDS = 1
_PAUSE_FACTOR = 9
_STALL_MS = 5_000


class Lookout:
    """`on_suspect` is called once for each time that a member becomes suspect: somebody else may have heard of it. `hears`
    tells whether others could be heard now.
    """

    def __init__(
        self,
        view: View,
        mesh: str,
        clock: Clock,
        post: Post,
        on_suspect: Callable[[], None],
        notifier: Notifier,
        hears: Callable[[], bool] = lambda: True,
    ) -> None:
        self._view = view
        self._mesh = mesh
        self._clock = clock
        self._post = post
        self._on_suspect = on_suspect
        self._notifier = notifier
        self._hears = hears
        self._labels: Labels = ()
        self._urls: Sequence[str] = ()
        self._senders: dict[str, AlertmanagerSender] = {}
        self._nursery: trio.Nursery | None = None
        self._incidents = Incidents()
        self._outbox = Outbox()
        self._changed = trio.Event()
        self._asked_about: dict[bytes, int] = {}

    def set_sinks(self, urls: Sequence[str], labels: Labels) -> None:
        """Tell these Alertmanagers from now on, with these labels on every alert."""
        self._urls, self._labels = urls, labels
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

    def incidents(self) -> list[dict[str, Any]]:
        """The open ones, as `demesh status --json` tells them."""
        return [
            {
                "name": each.name,
                "subject": each.subject,
                "state": "open",
                "since": iso(each.onset_ms),
                "labels": dict(each.labels),
                "annotations": dict(each.annotations),
            }
            for each in self._incidents.open()
        ]

    async def run(self) -> None:
        """Look and tell, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self.set_sinks(self._urls, self._labels)
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
                    self._notifier.listen_anew(now_ms)
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
        seen = look(self._view, self._mesh, self._labels, now_ms, wall_ms)
        changes = self._incidents.update(seen, wall_ms)
        self._outbox.update(self._incidents.open(), changes, now_ms)
        self._notifier.update(self._incidents.open(), changes, seen)
        for change in changes:
            _tell(change)
        if changes:
            for sender in self._senders.values():
                sender.poke()
        for member in self._view.members():
            suspect = self._view.presence(member, now_ms) == Presence.SUSPECT
            if suspect and self._asked_about.get(member.public_key) != member.sign.at_ms:
                self._asked_about[member.public_key] = member.sign.at_ms
                self._on_suspect()


def _tell(change: Opened | Closed) -> None:
    what = "opened" if isinstance(change, Opened) else "closed"
    log.warning("Incident %s: %s %s", what, change.incident.name, change.incident.subject)
