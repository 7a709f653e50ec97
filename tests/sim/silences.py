"""What must be told of machines, and what must not: a part of the oracle (`tests.sim.oracle`)."""

from typing import TYPE_CHECKING

import trio

from demesh import limits
from demesh.view.presence import Presence
from tests.sim.machine import Machine

if TYPE_CHECKING:
    from tests.sim.oracle import Oracle
    from tests.sim.simulation import Simulation

_SLACK_SECONDS = 15
_CLOCK_SECONDS = 5
_NEWS_SECONDS = 40  # until an incident that is seen is known to an Alertmanager


class Silences:
    def __init__(self, oracle: "Oracle", simulation: "Simulation") -> None:
        self._oracle = oracle
        self._simulation = simulation
        self._known_since: dict[tuple[int, bytes], float] = {}
        """Since when an observer's process knows a member."""
        self._cut_off: dict[str, float] = {}
        """Since when machines that had been well reach nobody and nothing."""

    def look(self) -> None:
        now, promise = trio.current_time(), self._simulation.scenario.promise_seconds
        for observer in self._simulation.machines:
            if not observer.live or observer.calm_since > now:
                continue
            steady = self._oracle.steady(observer, promise + 60)
            view, now_ms = observer.node.view, observer.clock.monotonic_ms()
            for subject in self._simulation.machines:
                if subject is observer or self._simulation.has_twin(subject):
                    continue
                member = view.member(subject.key)
                if member is None:
                    continue
                presence = view.presence(member, now_ms)
                if presence == Presence.SILENT:
                    if subject in steady:
                        self._oracle.violate(
                            "No false alarm.", observer.name, f"it calls {subject.name} silent, which is well"
                        )
                else:
                    self._is_seen(observer, subject, presence)

    def _is_seen(self, observer: Machine, subject: Machine, presence: Presence) -> None:
        now = trio.current_time()
        known_since = self._known_since.setdefault((id(observer.process), subject.key), now)
        if subject.dead_since is None or subject.took_leave or subject.runs or self._died_unheard(subject):
            return
        if presence in (Presence.LEFT, Presence.AWAY) and self._never_heard_it_return(observer, subject):
            return
        since = max(subject.dead_since, known_since, observer.calm_since)
        bound = self._promise_seconds(observer, subject, since) + 10 + _CLOCK_SECONDS + _SLACK_SECONDS
        if now - since > bound:
            what = f"it calls {subject.name} {presence}, which is dead for {now - subject.dead_since:.0f} s"
            self._oracle.violate("No missed alarm.", observer.name, what)

    def _never_heard_it_return(self, observer: Machine, subject: Machine) -> bool:
        """Whether it had taken leave, came back, and died before the observer could get anything of that."""
        process = subject.process
        return process is not None and not self._oracle.has_got(observer, subject, process.started_at)

    def _is_left_to_all(self, subject: Machine) -> bool:
        """Whether all who run hold that it has left or is away, and could not get anything of its return."""
        others = [each for each in self._simulation.machines if each is not subject and each.live]
        members = [(each, each.node.view.member(subject.key)) for each in others]
        return bool(others) and all(
            member is not None
            and each.node.view.presence(member, each.clock.monotonic_ms()) in (Presence.LEFT, Presence.AWAY)
            and self._never_heard_it_return(each, subject)
            for each, member in members
        )

    def _died_unheard(self, subject: Machine) -> bool:
        """Whether it died while the others turned it away: then they may know no more of it than that it took leave before."""
        dead_since = subject.dead_since
        return dead_since is not None and (subject in self._simulation.denied or dead_since < subject.let_in_since)

    def must_be_told(self) -> None:
        """Whoever is dead for long enough, and somebody steady sees it: an Alertmanager has heard of it."""
        now = trio.current_time()
        slack = 10 + _CLOCK_SECONDS + _SLACK_SECONDS + _NEWS_SECONDS
        alertmanager = self._simulation.world.alertmanager
        for subject in self._simulation.machines:
            if subject.dead_since is None or subject.took_leave or subject.runs or self._simulation.has_twin(subject):
                continue
            if self._died_unheard(subject) or self._is_left_to_all(subject):
                continue
            for observer in self._simulation.machines:
                known_since = self._known_since.get((id(observer.process), subject.key), now)
                since = max(
                    subject.dead_since, known_since, observer.calm_since, alertmanager.reached_since(observer.name)
                )
                if observer is subject or not observer.live:
                    continue
                if now - since <= self._promise_seconds(observer, subject, since) + slack:
                    continue
                self._oracle.count("silence is told")
                if not alertmanager.tells_of_silence(subject.name):
                    what = f"nobody has told that {subject.name} is dead for {now - subject.dead_since:.0f} s"
                    self._oracle.violate("No missed alarm.", observer.name, what)

    def _promise_seconds(self, observer: Machine, subject: Machine, since: float) -> float:
        """How long a silence may be before it is one: twice the promise where one was not heard since one listens."""
        promise = self._simulation.scenario.promise_seconds
        member = observer.node.view.member(subject.key)
        unheard = member is None or not member.heard or subject.dead_since is None or since > subject.dead_since
        return promise * (2 if unheard else 1)

    def uplink_lost(self, machine: Machine) -> None:
        """It reaches nobody and nothing from now on."""
        steady = self._oracle.steady(machine, limits.STEADY_MS / 1_000 + 60)
        if len(steady) == len(self._simulation.machines) > 1 and self._oracle.settled(limits.STEADY_MS / 1_000 + 60):
            self._cut_off[machine.name] = trio.current_time()

    def uplink_back(self, machine: Machine) -> None:
        self._cut_off.pop(machine.name, None)

    def look_at_those_cut_off(self) -> None:
        """Who was well, and has an anchor, knows that it is itself that is cut off."""
        scenario = self._simulation.scenario
        for machine in self._simulation.machines:
            since = self._cut_off.get(machine.name)
            if since is None or not machine.live or not any(check.anchor for check in machine.running.checks):
                continue
            self._oracle.count("cut off")
            now, incidents = trio.current_time(), machine.node.status()["incidents"]
            for check in machine.running.checks:
                target = self._simulation.world.targets[check.probe.target]
                blamed = ("DemeshCheckDown", check.name) in [(each["name"], each["subject"]) for each in incidents]
                if blamed and not target.was_bad(since - 1_200, now):
                    self._oracle.violate(
                        "Unreachable is not down.", machine.name, f"it is cut off, and blames {check.name}"
                    )
            slack = 60 + 2 * scenario.promise_seconds + max(each.interval_ms for each in scenario.checks) / 1_000
            if now - since > slack and not any(each["name"] == "DemeshNodeIsolated" for each in incidents):
                what = f"it is cut off for {now - since:.0f} s and does not know it"
                self._oracle.violate("Unreachable is not down.", machine.name, what)

    def told_though_all_is_well(self, machine: Machine, name: str) -> None:
        simulation = self._simulation
        window = 2 * max(each.interval_ms for each in simulation.scenario.checks) / 1_000 + 120
        window += 2 * simulation.scenario.promise_seconds
        now, targets = trio.current_time(), simulation.world.targets.values()
        unreached = any(
            target.was_unreachable(each.name, now - window, now) for target in targets for each in simulation.machines
        )
        calm = len(self._oracle.steady(machine, window)) == len(simulation.machines) and self._oracle.settled(window)
        if calm and not unreached and not simulation.twins:
            self._oracle.violate("No false alarm.", machine.name, f"it tells of {name}, though nothing is wrong")

    def told(self, machine: Machine, subject: str) -> None:
        self._oracle.count("silence alarms")
        promise = self._simulation.scenario.promise_seconds
        if any(each.name == subject for each in self._oracle.steady(machine, promise + 60)):
            self._oracle.violate("No false alarm.", machine.name, f"it tells that {subject} is silent, which is well")

    def end_told(self, machine: Machine, subject: str) -> None:
        dead = next((each for each in self._simulation.machines if each.name == subject), None)
        if dead is None or dead.dead_since is None or dead.took_leave or self._simulation.has_twin(dead) or dead.runs:
            return
        lasted = trio.current_time() - dead.dead_since
        if lasted > self._simulation.scenario.promise_seconds + 60:
            what = f"it tells that {subject} is well again, which is dead for {lasted:.0f} s"
            self._oracle.violate("What is unknown closes nothing.", machine.name, what)
