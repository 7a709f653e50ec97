"""Whole meshes under faults break no promise of docs/architecture.md, and a run can be repeated to the last entry."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from demesh.alerts import quiet
from demesh.alerts.incident import Incident
from demesh.alerts.scene import Scene
from demesh.checks.check import Check
from demesh.probes.base import ProbeSpec
from tests.sim.faults import FAULTS
from tests.sim.mutants import MUTANTS, hunt
from tests.sim.scenario import Scenario, scenario
from tests.sim.simulation import Report, play, simulate
from tests.sim.world import Spell, State, Target

_CHECKOUT = Path(__file__).parents[2]
_RUNS, _NODES, _MINUTES = 50, 5, 30


def _digest(seed: int, hash_seed: str) -> str:
    """That of a run in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-c", f"from tests.sim.simulation import play; print(play({seed}, 5, 8, None).digest)"],
        cwd=_CHECKOUT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return ran.stdout


def test_a_run_depends_on_its_seed_alone() -> None:
    first = _digest(7, "1")
    assert first == _digest(7, "2")
    assert first != _digest(8, "1")


def test_a_mesh_in_which_nothing_fails_agrees_and_accuses_nobody() -> None:
    report = play(2, 3, 6, frozenset())
    assert report.violation is None, report.violation
    assert report.checked.get("silence alarms", 0) == 0


def test_a_mesh_in_which_everything_fails_keeps_its_promises() -> None:
    faults = {kind: fault.mean_seconds / 2 for kind, fault in FAULTS.items()}
    report = simulate(replace(scenario(6, _NODES, 12, frozenset()), faults=faults))
    assert report.violation is None, report.violation
    assert len(report.done) >= 20


@pytest.mark.slow
@pytest.mark.sim
def test_wall_clocks_that_jump_change_nothing_that_is_told_but_of_clocks() -> None:
    usual = replace(scenario(5, 4, 15, frozenset()), faults={"kill": 100, "unreachable": 100})
    jumping = replace(usual, faults={**usual.faults, "wall-step": 20, "wall-years": 40, "wall-frozen": 100})
    told = [_told(simulate(each)) for each in (usual, jumping)]
    assert told[0] == told[1] != set()


def _told(report: Report) -> set[str]:
    """The alerts that nodes have told to be firing, but those of clocks."""
    assert report.violation is None, report.violation
    told = {line.what for line in report.lines if "tells Alertmanager" in line.what and line.what.endswith("fires")}
    return {each for each in told if "DemeshClockSkew" not in each}


def _one_behind_the_other(*, notify: bool) -> Scenario:
    """t0 is down for long, and then t1, which depends on it; of `quiet`, which is down too, nobody wants to know."""
    spells = {"t0": Spell(60, 900, State.DOWN), "t1": Spell(500, 800, State.DOWN), "quiet": Spell(60, 500, State.DOWN)}
    targets = tuple(Target(name, [spell]) for name, spell in spells.items())
    first, second, third = (Check(each.name, ProbeSpec("http", each.url, 1_000)) for each in targets)
    checks = first, replace(second, depends_on=(first.name,)), replace(third, notify=notify)
    return replace(scenario(3, 3, 22, frozenset()), targets=targets, checks=checks)


def test_of_what_has_its_reason_told_and_of_what_nobody_wants_to_know_nothing_is_told() -> None:
    report = simulate(_one_behind_the_other(notify=False))
    assert report.violation is None, report.violation
    assert {each.split()[-2] for each in _told(report)} == {"t0"}


def test_the_simulation_notices_what_is_told_beside_its_reason() -> None:
    with patch.object(quiet, "_dependencies", lambda *_: iter(())):
        report = simulate(_one_behind_the_other(notify=True))
    assert report.violation is not None
    assert "which depends on t0" in report.violation.what


def test_the_simulation_notices_what_nobody_wants_to_know() -> None:
    of_check = Scene.of_check

    def telling(*args: Any, **more: Any) -> Incident:
        return replace(of_check(*args, **more), notify=True)

    with patch.object(Scene, "of_check", telling):
        report = simulate(_one_behind_the_other(notify=False))
    assert report.violation is not None
    assert "nobody wants to know" in report.violation.what


@pytest.mark.slow
@pytest.mark.sim
@pytest.mark.parametrize("seed", range(1, _RUNS + 1))
def test_no_promise_is_broken(seed: int) -> None:
    report = play(seed, _NODES, _MINUTES, None)
    assert report.violation is None, f"{report.violation}; python -m tests.sim --seed {seed} --story tells the story"


@pytest.mark.slow
@pytest.mark.sim
@pytest.mark.parametrize("name", MUTANTS)
def test_the_simulation_notices_a_broken_rule(name: str) -> None:
    mutant = MUTANTS[name]
    report = hunt(mutant)
    assert report is not None, f"nothing notices that {mutant.what}"
    assert report.violation is not None
    assert not mutant.promises or report.violation.promise in mutant.promises
