"""Which of one node's open incidents are muted now, kept from look to look. Pure.

Guarantees: an acknowledgement ends when the incident that it is of closes here. What somebody was told of before this node
was started anew goes on being told, whatever mutes it meanwhile: a restart takes nothing for resolved. What nobody was told
of is muted as ever; so it is by what it depends on as long as nobody knows whether that, which was down, is up again.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence

from demesh import limits
from demesh.alerts.incident import Closed, Incident, Key, Opened
from demesh.alerts.kept import Kept
from demesh.alerts.quiet import Mute, acknowledged, dependencies_of, mute_of
from demesh.log.decision import Acknowledgement, Place
from demesh.view.decisions import Decisions, Made
from demesh.view.fold import View


class Muting:
    def __init__(self) -> None:
        self._decisions = Decisions()
        self._mutes: dict[Key, Mute] = {}
        self._told_before: set[Key] = set()
        self._over: OrderedDict[Place, None] = OrderedDict()

    def restore(self, kept: Kept) -> None:
        """What was open when this node ended the last time."""
        self._told_before = {(each.name, each.key) for each in kept.incidents} - kept.untold

    def look(
        self,
        view: View,
        open_: Sequence[Incident],
        changes: Sequence[Opened | Closed],
        now_ms: int,
        wall_ms: int,
        unjudged: Collection[Key] = (),
    ) -> set[Key]:
        """Which of the open incidents, by name and key, are not to be notified now if they were not yet. Of `unjudged` ones
        nothing was seen since the restart before which they were open.
        """
        for change in changes:
            if isinstance(change, Closed):
                self._close(view.decisions(), change.incident)
        self._decisions = view.decisions().without(self._over)
        was_down = [each for each in open_ if (each.name, each.key) in unjudged]
        dependencies = dependencies_of(view.checks(now_ms), was_down) if open_ else {}
        decisions = self._decisions.at(wall_ms)
        self._mutes = {
            (each.name, each.key): mute
            for each in open_
            if (mute := mute_of(each, decisions, dependencies, wall_ms)) is not None
        }
        return {key for key, mute in self._mutes.items() if mute.holds_back and key not in self._told_before}

    def mute_of(self, incident: Incident) -> Mute | None:
        """What mutes an open incident, as of the last look."""
        return self._mutes.get((incident.name, incident.key))

    def acknowledged(self, incident: Incident) -> Made[Acknowledgement] | None:
        return acknowledged(incident, self._decisions)

    def _close(self, decisions: Decisions, incident: Incident) -> None:
        self._told_before.discard((incident.name, incident.key))
        for each in decisions.acknowledgements:
            if (each.decision.name, each.decision.key) == (incident.name, incident.key):
                self._over[each.place] = None
        while len(self._over) > limits.ACKNOWLEDGEMENTS_OVER_MAX:
            self._over.popitem(last=False)
