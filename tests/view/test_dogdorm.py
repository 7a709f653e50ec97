"""What Dogdorm would say: its own formula, at the vantage in the middle."""

import random

import pytest

from demesh.log.sums import DAY_MS, HOUR_MS
from demesh.view.dogdorm import dogdorm_score, life_of
from demesh.view.record import Record, Run, Runs
from demesh.view.score import Witness
from demesh.view.vote import Vote


def _witness(failed: int, run_days: float = 2, vote: Vote = Vote.PASS, counts: bool = True) -> Witness:
    run = Run(8 * DAY_MS, 8 * DAY_MS + round(run_days * DAY_MS)) if run_days else None
    runs = Runs(bool(failed), Run(0, HOUR_MS), run, 4 * DAY_MS)
    return Witness(vote, Record(passed=200 - failed, failed=failed, passed_ms=10 * DAY_MS, runs=runs), counts)


@pytest.mark.parametrize(
    ("tests", "failed", "run", "longest", "expected"),
    [(1, 0, 0, 0, 0.0099), (1, 0, 5, 5, 0.0198), (35, 0, 9, 9, 0.5034), (231, 0, 9, 9, 0.9901), (1_000, 0, 0, 9, 0.5)],
)
def test_the_score_is_dogdorms_own_formula(tests: int, failed: int, run: int, longest: int, expected: float) -> None:
    assert dogdorm_score(tests, failed, run, longest) == pytest.approx(expected, abs=5e-5)


def test_what_is_told_is_of_the_vantage_in_the_middle_and_fits_together() -> None:
    witnesses = {"fra": _witness(2), "nyc": _witness(150), "lab": _witness(20)}
    life = life_of(witnesses, {})
    assert life is not None
    assert (life.node, life.tests, life.failed) == ("lab", 200, 20)
    assert (life.uptime_s, life.uptime_max_s, life.last_success_s) == (2 * 86_400, 4 * 86_400, 10 * 86_400)
    assert life.score == dogdorm_score(life.tests, life.failed, life.uptime_s, life.uptime_max_s)
    order = list(witnesses.items())
    random.Random(1).shuffle(order)
    assert life_of(dict(order), {}) == life


def test_of_two_it_is_the_lower() -> None:
    life = life_of({"fra": _witness(2), "nyc": _witness(150)}, {})
    assert life is not None
    assert life.node == "nyc"


def test_who_does_not_count_or_has_recorded_nothing_is_none_of_them() -> None:
    nobody = Witness(Vote.PASS)
    assert life_of({"new": nobody, "away": _witness(0, counts=False)}, {"new": 5_000}) is None
    life = life_of({"new": nobody, "fra": _witness(2), "away": _witness(0, counts=False)}, {})
    assert life is not None
    assert life.node == "fra"


@pytest.mark.parametrize("witness", [_witness(2, vote=Vote.FAIL), _witness(2, run_days=0)])
def test_who_sees_it_fail_now_or_in_the_last_hour_counts_no_run(witness: Witness) -> None:
    life = life_of({"fra": witness}, {})
    assert life is not None
    assert (life.uptime_s, life.uptime_max_s) == (0, 4 * 86_400)
    assert life.score == pytest.approx(0.5 * 0.99 * (1 - 2.718281828**-4), abs=1e-4)


def test_a_success_that_is_in_no_sum_yet_is_the_last() -> None:
    life = life_of({"fra": _witness(2)}, {"fra": 11 * DAY_MS})
    assert life is not None
    assert life.last_success_s == 11 * 86_400
