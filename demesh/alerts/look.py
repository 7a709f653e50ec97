"""Everything that could be an incident, looked at at one moment: all rules together. Pure, but for what it remembers.

What it remembers is which checks are held or grouped (`demesh.alerts.grouping`), and what it said of a check with which all is
well, until that changes; all else follows from the view.
"""

from collections.abc import Mapping, Sequence

from demesh.alerts.grouping import Group, Grouping, Place
from demesh.alerts.incident import Incident, Incidents, Seen
from demesh.alerts.on_checks import DOWN, calm_until_ms, on_check, on_groups, vantage_of
from demesh.alerts.on_keys import on_keys
from demesh.alerts.on_members import ISOLATED, PARTITION, SILENT, idle_vantages, on_members
from demesh.alerts.scene import Scene
from demesh.view.checks import CheckView


class Rules:
    def __init__(self) -> None:
        self._grouping = Grouping()
        self._calm: dict[str, tuple[CheckView, tuple[Seen, ...], int]] = {}
        """By name: a check, what was said of it, and until when (Unix time) that holds for this view of it."""

    def look(self, scene: Scene, incidents: Incidents) -> list[Seen]:
        """What the view says now of each possible incident. `incidents` are those that are open."""
        opened = incidents.keys(DOWN)
        places = self._grouping.look(scene.checks, opened, scene.now_ms)
        idle = idle_vantages(scene)
        return [
            *self._on_checks(scene, places, idle),
            *on_groups(scene, self._grouping.groups, {key for key in opened if vantage_of(key) is not None}),
            *on_members(scene, idle),
            *on_keys(scene),
        ]

    def _on_checks(self, scene: Scene, places: Mapping[str, Place], muffled: frozenset[bytes]) -> list[Seen]:
        before, self._calm = self._calm, {}
        found: list[Seen] = []
        for check in scene.checks:
            name = check.row.name
            calm = before.get(name)
            if calm is None or calm[0] is not check or scene.wall_ms > calm[2]:
                seen, until_ms = on_check(scene, check, places.get(name), muffled), calm_until_ms(check)
                calm = (check, seen, until_ms) if until_ms is not None else None
                found += seen
            else:
                found += calm[1]
            if calm is not None:
                self._calm[name] = calm
        return found

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
