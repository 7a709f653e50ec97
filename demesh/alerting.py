"""Alerting: what this node concludes, what people decide about that, and whom it tells, put together.

    view ─→ lookout ─→ Alertmanagers                    decisions, Alertmanagers' answers ─→ deciding ─→ own log ─→ view
               ╰─→ notifier ─→ direct sinks             heartbeat ─→ somebody elsewhere

Guarantees: what is open is kept in the store whenever that changes, and goes on after a restart. What decides is elsewhere, in
pure cores (`demesh.alerts`); this is their wiring.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from demesh.alerts.conclusions import Conclusions
from demesh.alerts.heartbeat import Heartbeat
from demesh.alerts.incident import Incident
from demesh.alerts.kept import NOTE
from demesh.alerts.notifier import Notifier
from demesh.alerts.trial import SinkTrial
from demesh.config.load import Settings
from demesh.deciding import Deciding
from demesh.edges import Edges
from demesh.lookout import Lookout
from demesh.own_log import OwnLog
from demesh.view.fold import View

log = logging.getLogger(__name__)


class Alerting:
    """`key` is the node's public key. `on_suspect` and `hears` are as the lookout has them; `complete` tells whether this node
    holds what its peers hold.
    """

    def __init__(
        self,
        view: View,
        key: bytes,
        mesh_id: bytes,
        edges: Edges,
        own_log: OwnLog,
        settings: Callable[[], Settings],
        on_suspect: Callable[[], None],
        hears: Callable[[], bool],
        complete: Callable[[], bool],
    ) -> None:
        self._edges = edges
        self._mesh = mesh_id.hex()[:8]
        self._settings = settings
        self._conclusions = Conclusions(view, key, self._mesh, edges.clock.wall_ms())
        self._notifier = Notifier(
            view,
            key,
            mesh_id,
            edges.clock,
            edges.rng,
            edges.notify,
            lambda events: own_log.tell(*events),
            complete,
            self._is_muted,
        )
        self._lookout = Lookout(
            view,
            self._conclusions,
            edges.clock,
            edges.post,
            on_suspect,
            self._notifier,
            hears,
            edges.late_ms,
            self._keep,
            edges.store.note(NOTE),
            lambda: self.deciding.own_name,
        )
        self.deciding = Deciding(
            view, self._mesh, key, edges.clock, own_log.tell, own_log.tell_news, self._lookout, settings
        )
        view.heeds = self.deciding.heeds
        self._tells_nobody = False
        self._heartbeat = Heartbeat(view, key, edges.clock, edges.fetch, lambda: settings().heartbeat_url)
        self.take_up(settings())

    @property
    def watchers(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """The tasks that need no log of this node's own."""
        return self._lookout.run, self._notifier.run

    @property
    def writers(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """Those that begin with it."""
        return self.deciding.run, self._heartbeat.run

    def take_up(self, settings: Settings) -> None:
        """Tell the sinks of `settings` from now on."""
        self._lookout.set_sinks(settings.alertmanagers, settings.alert_labels, watchdog=settings.watchdog)
        self._notifier.set_sinks(settings.sinks, settings.name)
        self.deciding.look_soon()
        nobody = not (settings.alertmanagers or settings.sinks)
        if nobody and not self._tells_nobody:
            log.warning("Nobody will be told when something fails: no Alertmanager is named, and no [[notify]].")
        self._tells_nobody = nobody

    def look_soon(self) -> None:
        """Something has arrived, or changed."""
        self._lookout.look_soon()

    def incidents(self) -> list[dict[str, Any]]:
        """The open ones, as `demesh status --json` tells them."""
        return self._lookout.incidents()

    def sinks(self) -> list[dict[str, Any]]:
        """Where alerts go, as `demesh status --json` tells it."""
        return [*self._lookout.sinks(), *self._notifier.sinks()]

    def trial(self) -> SinkTrial:
        """A marked test of every sink of this node."""
        settings, edges = self._settings(), self._edges
        return SinkTrial(
            settings.alertmanagers, settings.sinks, settings.name, self._mesh, edges.post, edges.notify, edges.clock
        )

    def _is_muted(self, incident: Incident) -> bool:
        return self._conclusions.muting.mute_of(incident) is not None

    async def _keep(self, note: bytes) -> None:
        await self._edges.storage.call(lambda store: store.set_note(NOTE, note))
