"""Which of one node's open incidents are muted now, kept from look to look. Pure.

Guarantees: an acknowledgement ends when the incident that it is of closes here. An incident that was open when this node
ended was told of by that run, unless something has held it back ever since it began: so a restart takes nothing for
resolved that is silenced meanwhile.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from demesh import limits
from demesh.alerts.incident import Closed, Incident, Opened
from demesh.alerts.outbox import Key
from demesh.alerts.quiet import Dependency, Mute, acknowledged, dependencies_of, mute_of, muted_ever_since
from demesh.log.decision import Acknowledgement, Place
from demesh.view.decisions import Decisions, Made
from demesh.view.fold import View


class Muting:
    def __init__(self) -> None:
        self._restored: list[Incident] = []
        self._decisions = Decisions()
        self._mutes: dict[Key, Mute] = {}
        self._told_before: set[Key] = set()
        self._over: OrderedDict[Place, None] = OrderedDict()

    def restore(self, incidents: Sequence[Incident]) -> None:
        """What was open when this node ended the last time."""
        self._restored = list(incidents)

    def look(
        self, view: View, open_: Sequence[Incident], changes: Sequence[Opened | Closed], now_ms: int, wall_ms: int
    ) -> set[Key]:
        """Which of the open incidents, by name and key, are not to be notified now if they were not yet."""
        for change in changes:
            if isinstance(change, Closed):
                self._close(view.decisions(), change.incident)
        self._decisions = view.decisions().without(self._over)
        dependencies = dependencies_of(view.checks(now_ms)) if open_ else {}
        decisions = self._decisions.at(wall_ms)
        self._mutes = {
            (each.name, each.key): mute
            for each in open_
            if (mute := mute_of(each, decisions, dependencies, wall_ms)) is not None
        }
        for incident in self._restored:
            self._open(incident, dependencies, wall_ms)
        self._restored = []
        return {key for key, mute in self._mutes.items() if mute.holds_back and key not in self._told_before}

    def mute_of(self, incident: Incident) -> Mute | None:
        """What mutes an open incident, as of the last look."""
        return self._mutes.get((incident.name, incident.key))

    def acknowledged(self, incident: Incident) -> Made[Acknowledgement] | None:
        return acknowledged(incident, self._decisions)

    def _open(self, incident: Incident, dependencies: Mapping[str, Dependency], wall_ms: int) -> None:
        if not muted_ever_since(incident, self._decisions, dependencies, incident.onset_ms, wall_ms):
            self._told_before.add((incident.name, incident.key))

    def _close(self, decisions: Decisions, incident: Incident) -> None:
        self._told_before.discard((incident.name, incident.key))
        for each in decisions.acknowledgements:
            if (each.decision.name, each.decision.key) == (incident.name, incident.key):
                self._over[each.place] = None
        while len(self._over) > limits.ACKNOWLEDGEMENTS_OVER_MAX:
            self._over.popitem(last=False)
