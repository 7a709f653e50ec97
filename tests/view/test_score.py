"""The score of public servers: what it promises, at checks every 15 minutes from three vantages."""

import random
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from demesh.log.sums import DAY_MS, HOUR_MS
from demesh.view.score import Score, Span, Witness, dogdorm_score, score
from demesh.view.vote import Vote

_NOW_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS
_TEST_MS = 15 * 60_000


def _spans(hours: int, up: float = 1.0, ended_ago_ms: int = 0) -> tuple[Span, ...]:
    up_ms = round(up * HOUR_MS)
    first_ms = _NOW_MS - ended_ago_ms - hours * HOUR_MS
    return tuple(Span(first_ms + hour * HOUR_MS, HOUR_MS, up_ms, HOUR_MS - up_ms) for hour in range(hours))


def _seen(votes: str, up: float = 1.0, hours: int = 30 * 24) -> dict[str, Witness]:
    """One vantage for each letter: p passes, f fails, u has not seen."""
    known = {"p": Vote.PASS, "f": Vote.FAIL, "u": Vote.UNSEEN}
    return {f"node{number}": Witness(known[vote], _spans(hours, up)) for number, vote in enumerate(votes)}


def _failing_for(witness: Witness, ms: int) -> Witness:
    """The same vantage after it has seen nothing but failures for so long."""
    return Witness(Vote.FAIL, (*witness.spans, Span(_NOW_MS, ms, 0, ms)), witness.counts)


def _list_of_servers() -> list[float]:
    """A hundred servers, up from 90 % to 99.9 % of the time."""
    return [score(_seen("ppp", 0.9 + 0.001 * number), _NOW_MS + HOUR_MS).value for number in range(100)]


def _rank(value: float, others: list[float]) -> int:
    return sum(each > value for each in others)


def test_a_server_that_one_of_three_sees_down_keeps_its_rank_and_it_is_told_who_sees_it_so() -> None:
    before = _seen("ppp", 0.9505)
    one = {**before, "node1": _failing_for(before["node1"], HOUR_MS)}
    well, worse, others = score(before, _NOW_MS + HOUR_MS), score(one, _NOW_MS + HOUR_MS), _list_of_servers()
    assert 0 < well.value - worse.value < 0.005
    assert _rank(worse.value, others) - _rank(well.value, others) <= 2, "of a hundred"
    assert (worse.passing, worse.failing) == (("node0", "node2"), ("node1",))


def test_a_server_that_all_see_down_has_left_the_top_half_within_the_hour() -> None:
    best = {name: _failing_for(each, HOUR_MS) for name, each in _seen("ppp").items()}
    assert _rank(score(best, _NOW_MS + HOUR_MS).value, _list_of_servers()) >= 50
    assert _rank(score(_seen("ppp"), _NOW_MS + HOUR_MS).value, _list_of_servers()) == 0


def test_one_good_test_outranks_no_long_good_record() -> None:
    new = {f"node{number}": Witness(Vote.PASS, (Span(_NOW_MS - _TEST_MS, _TEST_MS, _TEST_MS, 0),)) for number in "012"}
    assert score(new, _NOW_MS).value < 0.1 < 0.5 < score(_seen("ppp", 0.9), _NOW_MS).value


def test_old_failures_weigh_half_as_much_with_each_week() -> None:
    day = _spans(24, 0.0, 7 * DAY_MS)
    fresh, old = _spans(24, 0.0), day
    shares = [(_record(each).record or 0) for each in (fresh, old)]
    assert shares[0] < shares[1]
    lost = [(1 - share) / share for share in shares]
    assert lost[0] / lost[1] == pytest.approx(2)


def _record(failed: tuple[Span, ...]) -> Score:
    return score({"a": Witness(Vote.PASS, (*_spans(24), *failed))}, _NOW_MS)


def test_a_vantage_that_does_not_count_changes_nothing() -> None:
    others = _seen("pp")
    broken = replace(_failing_for(_seen("f", 0.0)["node0"], HOUR_MS), counts=False)
    assert score({**others, "broken": broken}, _NOW_MS) == score(others, _NOW_MS)


def test_a_vantage_that_has_not_seen_says_nothing_of_now() -> None:
    assert score(_seen("ffu"), _NOW_MS).now == score(_seen("ff"), _NOW_MS).now == pytest.approx(0.1)
    assert score(_seen("ppu"), _NOW_MS).now == score(_seen("uuu"), _NOW_MS).now == 1
    never = {"node9": Witness(Vote.UNSEEN)}
    assert score({**_seen("pp"), **never}, _NOW_MS) == score(_seen("pp"), _NOW_MS)


def test_more_vantages_are_more_evidence_than_one_that_looks_longer() -> None:
    assert score(_seen("ppp", hours=48), _NOW_MS).value > score(_seen("p", hours=30 * 24), _NOW_MS).value


def test_nothing_observed_is_no_score() -> None:
    assert score({}, _NOW_MS) == Score(0, None, 0, 1)


def test_the_order_in_which_it_became_known_does_not_matter() -> None:
    spans = [replace(each, up_ms=each.up_ms - number) for number, each in enumerate(_spans(200, 0.7))]
    seen = [(name, replace(each, spans=tuple(spans))) for name, each in _seen("ppf", 0.3).items()]
    chance = random.Random(7)
    found: set[Score] = set()
    for order in permutations(seen):
        chance.shuffle(spans)
        found.add(score({name: replace(each, spans=tuple(spans)) for name, each in order}, _NOW_MS))
    assert len(found) == 1


@pytest.mark.parametrize(
    ("tests", "failed", "run", "longest", "expected"),
    [(1, 0, 0, 0, 0.0099), (1, 0, 5, 5, 0.0198), (35, 0, 9, 9, 0.5034), (231, 0, 9, 9, 0.9901), (1_000, 0, 0, 9, 0.5)],
)
def test_dogdorms_score_is_its_own_formula(tests: int, failed: int, run: int, longest: int, expected: float) -> None:
    assert dogdorm_score(tests, failed, run, longest) == pytest.approx(expected, abs=5e-5)


def test_the_examples_in_the_docs_are_right() -> None:
    told = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (Path(__file__).parents[2] / "docs/servers.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    assert len(told) == 6
    for votes, days, up, *numbers in told:
        found = score(_seen(votes.strip("`"), float(up.rstrip(" %")) / 100, round(float(days) * 24)), _NOW_MS)
        worked_out = [found.record, found.evidence, found.now, found.value]
        assert [f"{each:.3f}" for each in worked_out if each is not None] == numbers
