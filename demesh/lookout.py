"""The lookout: looks at the view whenever something arrived and every second, concludes what is wrong, and tells the sinks.

Guarantees: an incident is posted as soon as it opens or closes, and sinks can be changed while it looks. A node that did not
run for a while (a suspended machine, a stopped process), or whose network does not, listens anew before it accuses anybody, and
takes nothing back meanwhile. What is open is kept in the store, and goes on after a restart.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from demesh.alerts.alertmanager import AlertmanagerSender, Post
from demesh.alerts.conclusions import Conclusions
from demesh.alerts.incident import Closed, Incident, Labels, Opened
from demesh.alerts.kept import decode_incidents
from demesh.alerts.notifier import Notifier
from demesh.alerts.outbox import Outgoing
from demesh.alerts.told import acknowledgement_told, mute_told
from demesh.clock import Clock
from demesh.metrics import ENTRIES_SKIPPED
from demesh.view.fold import View
from demesh.view.listening import Listening
from demesh.view.names import names_of_everyone
from demesh.view.presence import Presence, patience
from demesh.view.report import iso

log = logging.getLogger(__name__)
_LOOK_SECONDS = 1
_PAUSE_FACTOR = 9


class Lookout:
    """`on_suspect` is called once for each time that a member becomes suspect: somebody else may have heard of it. `hears`
    tells whether others could be heard now, `late_ms` how late this process is. `keep` stores what a restart shall not forget;
    `kept` is what it stored the last time.
    """

    def __init__(
        self,
        view: View,
        conclusions: Conclusions,
        clock: Clock,
        post: Post,
        on_suspect: Callable[[], None],
        notifier: Notifier,
        hears: Callable[[], bool],
        late_ms: Callable[[], int],
        keep: Callable[[bytes], Awaitable[None]],
        kept: bytes,
        own_name: Callable[[], str] = lambda: "",
    ) -> None:
        self._view = view
        self._conclusions = conclusions
        self._late_ms = late_ms
        self._own_name = own_name
        self._watchdog = False
        self._keep = keep
        conclusions.restore(decode_incidents(kept), clock.monotonic_ms(), clock.wall_ms())
        self._kept = conclusions.identity()
        self._clock = clock
        self._post = post
        self._on_suspect = on_suspect
        self._notifier = notifier
        self._hears = hears
        self._urls: Sequence[str] = ()
        self._senders: dict[str, AlertmanagerSender] = {}
        self._nursery: trio.Nursery | None = None
        self._changed = trio.Event()
        self._asked_about: dict[bytes, int] = {}

    def set_sinks(self, urls: Sequence[str], labels: Labels, *, watchdog: bool = False) -> None:
        """Tell these Alertmanagers from now on, with these labels on every alert; and that this node can, if `watchdog`."""
        self._urls, self._conclusions.labels, self._watchdog = urls, labels, watchdog
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
        return self._conclusions.open()

    def incidents(self) -> list[dict[str, Any]]:
        """The open ones, as `demesh status --json` tells them."""
        names, muting = names_of_everyone(self._view), self._conclusions.muting
        return [
            {
                **_told(each, "open"),
                "muted": mute_told(muting.mute_of(each), names),
                "acknowledged": acknowledgement_told(muting.acknowledged(each), names),
            }
            for each in self.open()
        ]

    def closed(self) -> list[dict[str, Any]]:
        """Those that closed lately while this node ran, the newest first."""
        return [
            {**_told(each.incident, "closed"), "closed_at": iso(each.resolved_ms)}
            for each in reversed(self._conclusions.closed)
        ]

    def sinks(self) -> list[dict[str, Any]]:
        """Where alerts go, as `demesh status --json` tells it."""
        return [self._senders[url].told() for url in self._urls if url in self._senders]

    async def run(self) -> None:
        """Look and tell, until cancelled. Raises StoreError."""
        async with trio.open_nursery() as self._nursery:
            self.set_sinks(self._urls, self._conclusions.labels, watchdog=self._watchdog)
            listening = Listening(self._clock.monotonic_ms(), self._slept_ms())
            while True:
                with trio.move_on_after(_LOOK_SECONDS):
                    await self._changed.wait()
                self._changed = trio.Event()
                now_ms = self._clock.monotonic_ms()
                heard = listening.look(now_ms, self._slept_ms(), hears=self._hears())
                if heard.missed_ms is not None:
                    log.warning("This node did not run for %d s; it listens anew.", heard.missed_ms // 1_000)
                if heard.anew_since_ms is not None:
                    self._view.listen_anew(now_ms, heard.anew_since_ms)
                if heard.waits:
                    self._notifier.listen_anew(now_ms)
                began = trio.current_time()
                self._conclude(now_ms, self._clock.wall_ms())
                if self._kept != (identity := self._conclusions.identity()):
                    self._kept = identity
                    await self._keep(self._conclusions.kept())
                # In a large mesh something arrives all the time: looking may not take all of it.
                await trio.sleep(min(_LOOK_SECONDS, _PAUSE_FACTOR * (trio.current_time() - began)))

    def _slept_ms(self) -> int:
        """For how long this machine has slept since it booted: the one clock goes on meanwhile, the other does not."""
        return self._clock.up_ms() - self._clock.monotonic_ms()

    def _outgoing(self) -> Sequence[Outgoing]:
        return self._conclusions.outgoing(self._clock.monotonic_ms(), self._clock.wall_ms())

    def _conclude(self, now_ms: int, wall_ms: int) -> None:
        self._view.patience = patience(self._late_ms())
        self._view.tick(now_ms, listening=self._hears())
        ENTRIES_SKIPPED.set(self._view.skipped)
        self._conclusions.watched = self._own_name() if self._watchdog else ""
        changes = self._conclusions.conclude(now_ms, wall_ms)
        self._notifier.update(self._conclusions.told, changes, self._conclusions.seen)
        for change in changes:
            _log(change)
        if self._conclusions.has_news:
            for sender in self._senders.values():
                sender.poke()
        for member in self._view.members():
            suspect = self._view.presence(member, now_ms) == Presence.SUSPECT
            if suspect and self._asked_about.get(member.public_key) != member.sign.at_ms:
                self._asked_about[member.public_key] = member.sign.at_ms
                self._on_suspect()


def _log(change: Opened | Closed) -> None:
    what = "opened" if isinstance(change, Opened) else "closed"
    log.warning("Incident %s: %s %s", what, change.incident.name, change.incident.subject)


def _told(incident: Incident, state: str) -> dict[str, Any]:
    return {
        "name": incident.name,
        "subject": incident.subject,
        "state": state,
        "since": iso(incident.onset_ms),
        "labels": dict(incident.labels),
        "annotations": dict(incident.annotations),
    }
