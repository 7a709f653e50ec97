"""What must be told of targets, and what must not: a part of the oracle (`tests.sim.oracle`)."""

from typing import TYPE_CHECKING

import trio

from demesh.checks.check import Check
from demesh.log.plan import QUORUM_ALL, QUORUM_MAJORITY
from tests.sim.machine import Machine
from tests.sim.world import Spell, State, Target

if TYPE_CHECKING:
    from tests.sim.oracle import Oracle
    from tests.sim.simulation import Simulation

CALL_SECONDS = 75
"""What may pass after an outage is known until a phone rings: a node that has just begun to listen waits for a minute."""

_CALM_SECONDS = 200  # an incident may have been open for longer than it was told
_SLACK_SECONDS = 15
_LOSSY_SECONDS = 100  # what sync may add where broadcasts are lost


class Outages:
    def __init__(self, oracle: "Oracle", simulation: "Simulation") -> None:
        self._oracle = oracle
        self._simulation = simulation

    def must_be_called(self, target: Target, spell: Spell) -> None:
        """Called when an outage has lasted as long as it may before a phone must have rung."""
        now = trio.current_time()
        for check in self._simulation.scenario.checks:
            lasted = self.seconds(check.name) + CALL_SECONDS
            if check.probe.target == target.url and spell.end >= now:
                self._is_known(check.name, target, lasted, by_phone=True)

    def must_be_known(self, target: Target, spell: Spell) -> None:
        """Called when an outage has lasted as long as it may before somebody must have been told."""
        for check in self._simulation.scenario.checks:
            if check.probe.target == target.url and spell.end >= trio.current_time():
                self._is_known(check.name, target, self.seconds(check.name))

    def seconds(self, check_name: str) -> float:
        """How long an outage may last before somebody must have been told."""
        return (
            self._check(check_name).deadline_ms / 1_000
            + _SLACK_SECONDS
            + (_LOSSY_SECONDS if self._oracle.lossy() else 0)
        )

    def told(self, machine: Machine, check_name: str) -> None:
        self._oracle.count("outage alarms")
        simulation, now = self._simulation, trio.current_time()
        check = next((each for each in machine.running.checks if each.name == check_name), None)
        if check is None:
            return  # of others' configuration
        if not check.notify:
            self._oracle.violate("No false alarm.", machine.name, f"it tells of {check_name}, and nobody wants to know")
        self._told_beside_its_reason(machine, check)
        target = simulation.world.targets[check.probe.target]
        window = (2 * check.interval_ms + 2 * check.probe.timeout_ms) / 1_000 + 60 + simulation.scenario.promise_seconds
        steady = self._oracle.steady(machine, window)
        calm = len(steady) == len(simulation.machines) and not simulation.twins and self._oracle.settled(window)
        since = now - window if calm else now - window - 1_200
        unreached = [each for each in simulation.machines if target.was_unreachable(each.name, since, now)]
        # While a new configuration goes from node to node, and word of that, others may mean another target by the name.
        named = {
            each.probe.target for here in simulation.machines for each in here.running.checks if each.name == check_name
        }
        named |= {
            target
            for here in simulation.machines
            for (name, target), until in here.meant.items()
            if name == check_name and until >= since
        }
        if any(simulation.world.targets[each].was_bad(since, now) for each in named):
            return
        if not unreached:
            self._oracle.violate("No false alarm.", machine.name, f"it tells that {check_name} is down, which is up")
        elif calm and len(unreached) < self._quorum(check):
            what = f"it tells that {check_name} is down, which only {len(unreached)} nodes cannot reach"
            self._oracle.violate("Unreachable is not down.", machine.name, what)

    def _told_beside_its_reason(self, machine: Machine, check: Check) -> None:
        """While what a check depends on is known to be down, nobody is told of the check."""
        now, simulation = trio.current_time(), self._simulation
        for name in check.depends_on:
            reason = self._check(name)
            lasted = self.seconds(name) + 60
            spells = simulation.world.targets[reason.probe.target].spells
            down = any(each.start <= now - lasted and now <= each.end and each.state == State.DOWN for each in spells)
            calm = len(self._oracle.steady(machine, lasted)) == len(simulation.machines)
            if down and calm and reason.notify and not simulation.twins and self._oracle.settled(lasted):
                what = f"it tells that {check.name} is down, which depends on {name}, and that is down for long"
                self._oracle.violate("No false alarm.", machine.name, what)

    def _check(self, name: str) -> Check:
        return next(each for each in self._simulation.scenario.checks if each.name == name)

    def _quorum(self, check: Check) -> int:
        """How many machines must see it fail, when all of them count."""
        count = len(self._simulation.machines)
        return {QUORUM_MAJORITY: count // 2 + 1, QUORUM_ALL: count}.get(check.quorum, min(check.quorum, count))

    def _may_be_excused(self, check: Check, since: float) -> bool:
        """Whether something that it depends on may have been held to be down."""
        simulation, now = self._simulation, trio.current_time()
        for each in map(self._check, check.depends_on):
            target = simulation.world.targets[each.probe.target]
            recovery = (
                (2 * each.interval_ms + 2 * each.probe.timeout_ms) / 1_000 + 60 + simulation.scenario.promise_seconds
            )
            unreached = any(target.was_unreachable(here.name, since - recovery, now) for here in simulation.machines)
            if unreached or target.was_bad(since - recovery, now):
                return True
        return False

    def _is_known(self, check_name: str, target: Target, lasted: float, *, by_phone: bool = False) -> None:
        simulation, now = self._simulation, trio.current_time()
        if any(spell.start < now - lasted < spell.end and spell.state == State.FLAPPING for spell in target.spells):
            return
        if not self._oracle.settled(lasted + 60):
            return  # whoever is gone may count still
        check = self._check(check_name)
        if not check.notify or self._may_be_excused(check, now - lasted):
            return
        needed = max(len(simulation.machines) // 2 + 1, self._quorum(check))
        alertmanager = simulation.world.alertmanager
        for machine in simulation.machines:
            group = self._oracle.steady(machine, lasted + 60)
            group = [each for each in group if any(check.name == check_name for check in each.running.checks)]
            told = any(alertmanager.reached_since(each.name) <= now - lasted for each in group)
            if len(group) >= needed and told and not simulation.twins:
                self._oracle.count("outages are called" if by_phone else "outages are told")
                # What went on after the target flapped is one incident still, and rang when that began.
                fires_since = alertmanager.firing.get((machine.name, "DemeshCheckDown", check_name), now)
                since = min(fires_since, now - lasted) - _CALM_SECONDS
                rang = simulation.world.phone.rings("DemeshCheckDown", check_name, "firing", since)
                if not (rang if by_phone else alertmanager.fires("DemeshCheckDown", check_name)):
                    what = f"nobody has told that {check_name} is down for {lasted:.0f} s"
                    self._oracle.violate("No missed alarm.", machine.name, what)
                return
