"""What one node concludes from the view, moment after moment: which incidents are open, and what to tell of them. Pure.

Guarantees: what it concludes depends on what the view said, in that order, and on what `restore` gave it. What nobody is to be
notified of is in `open`, and in nothing that is told.
"""

from collections import deque
from collections.abc import Sequence

from demesh import limits
from demesh.alerts.incident import Closed, Incident, Incidents, Labels, Opened, Seen
from demesh.alerts.kept import Kept, encode_incidents
from demesh.alerts.look import Rules
from demesh.alerts.muting import Muting
from demesh.alerts.on_paths import look_at_paths
from demesh.alerts.outbox import Outbox, Outgoing
from demesh.alerts.scene import Scene
from demesh.alerts.watchdog import watchdog
from demesh.view.fold import View


class Conclusions:
    """`mesh` is what the mesh is called in labels; `started_ms` (Unix) is when this node began."""

    def __init__(self, view: View, own_key: bytes, mesh: str, started_ms: int = 0) -> None:
        self.watched = ""
        """The name under which this node always tells that it can; empty: it does not."""
        self.closed: deque[Closed] = deque(maxlen=limits.INCIDENTS_CLOSED_KEPT_MAX)
        """Those that closed last."""
        self.muting = Muting()
        self._started_ms = started_ms
        self._restored: list[Opened] = []
        self.seen: Sequence[Seen] = ()
        """What the view said of each possible incident at the last look."""
        self.told: Sequence[Incident] = ()
        """The open ones of which somebody may be notified, muted or not."""
        self.has_news = False
        """Whether the last look found something that is to be told at once."""
        self.labels: Labels = ()
        """More labels for every alert."""
        self._view = view
        self._own_key = own_key
        self._mesh = mesh
        self._rules = Rules()
        self._incidents = Incidents()
        self._outbox = Outbox()

    def restore(self, kept: Kept, now_ms: int, wall_ms: int) -> None:
        """Go on with what was open when this node ended the last time."""
        self._incidents.restore(kept.incidents, now_ms)
        self._restored = list(map(Opened, kept.incidents))
        self.muting.restore(kept)
        self._rules.restore(self._scene(now_ms, wall_ms), kept.incidents)

    def conclude(self, now_ms: int, wall_ms: int) -> Sequence[Opened | Closed]:
        """Look at the view, which was ticked; returns what that changed."""
        scene = self._scene(now_ms, wall_ms)
        self.seen = [
            *self._rules.look(scene, self._incidents),
            *look_at_paths(self._view, self._mesh, self.labels, now_ms, wall_ms),
        ]
        changes = self._incidents.update(self.seen, now_ms, wall_ms)
        self.closed.extend(each for each in changes if isinstance(each, Closed))
        self._tell([*self._restored, *changes], now_ms, wall_ms)
        self._restored = []
        return changes

    def _tell(self, changes: Sequence[Opened | Closed], now_ms: int, wall_ms: int) -> None:
        """Put into the outbox what is to be told; `changes` are those since the last time."""
        began = bool(self.watched) and self._outbox.watchdog is None
        self._outbox.watchdog = (
            watchdog(self.watched, self._mesh, self.labels, self._started_ms) if self.watched else None
        )
        unjudged = self._incidents.unjudged(now_ms)
        held = self.muting.look(self._view, self._incidents.open(), changes, now_ms, wall_ms, unjudged)
        self.told = [each for each in self._incidents.told(now_ms) if each.notify]
        doubtful = frozenset((each.name, each.key) for each in self.seen if each.wrong is not None or not each.right)
        news = [each for each in changes if each.incident.notify]
        let_out = self._outbox.update(self.told, news, now_ms, held, doubtful)
        self.has_news = bool(changes) or let_out or began

    def open(self) -> list[Incident]:
        return self._incidents.open()

    def outgoing(self, now_ms: int, wall_ms: int) -> list[Outgoing]:
        """What a sink is to be told that keeps alerts alive by repetition."""
        return self._outbox.outgoing(now_ms, wall_ms)

    def kept(self) -> bytes:
        """What a restart shall not forget, but for annotations as of now: those are said anew."""
        return encode_incidents(self._incidents.open(), self._outbox.untold())

    def identity(self) -> object:
        """What of that is worth keeping: equal as long as it is."""
        open_ = [(each.name, each.key, each.onset_ms, each.about) for each in self._incidents.open()]
        return open_, self._outbox.untold()

    def _scene(self, now_ms: int, wall_ms: int) -> Scene:
        return Scene.of(self._view, self._own_key, self._mesh, self.labels, now_ms, wall_ms)
