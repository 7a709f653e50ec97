"""Everything that could be an incident, looked at at one moment: all rules together. Pure, but for what it remembers.

What it remembers is which checks are held or grouped (`demesh.alerts.grouping`); all else follows from the view.
"""

from collections.abc import Sequence

from demesh.alerts.grouping import Group, Grouping
from demesh.alerts.incident import Incident, Incidents, Seen
from demesh.alerts.on_checks import DOWN, on_checks, on_groups, vantage_of
from demesh.alerts.on_keys import on_keys
from demesh.alerts.on_members import ISOLATED, PARTITION, SILENT, idle_vantages, on_members
from demesh.alerts.scene import Scene


class Rules:
    def __init__(self) -> None:
        self._grouping = Grouping()

    def look(self, scene: Scene, incidents: Incidents) -> list[Seen]:
        """What the view says now of each possible incident. `incidents` are those that are open."""
        opened = incidents.keys(DOWN)
        places = self._grouping.look(scene.checks, opened, scene.now_ms)
        return [
            *on_checks(scene, places, idle_vantages(scene)),
            *on_groups(scene, self._grouping.groups, {key for key in opened if vantage_of(key) is not None}),
            *on_members(scene),
            *on_keys(scene),
        ]

    def restore(self, scene: Scene, incidents: Sequence[Incident]) -> None:
        """What follows from the incidents that were open before a restart."""
        members = {each.public_key.hex(): each.public_key for each in scene.members}
        together = [
            members[key] for each in incidents if each.name == PARTITION for key in each.about if key in members
        ]
        alone = [members[each.key] for each in incidents if each.name == SILENT and each.key in members]
        scene.view.seeing.vanished.restore(together, alone, scene.now_ms)
        if any(each.name == ISOLATED and each.key == scene.own_key.hex() for each in incidents):
            scene.view.seeing.isolation.restore()
        groups = [(vantage_of(each.key), each) for each in incidents if each.name == DOWN]
        self._grouping.restore(
            Group(vantage, frozenset(each.about), dict(each.labels).get("severity", ""))
            for vantage, each in groups
            if vantage is not None
        )
