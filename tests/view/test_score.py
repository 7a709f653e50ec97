"""The score of public servers: what it promises, at checks every 15 minutes from three vantages."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import pytest

from demesh.log.sums import DAY_MS, HOUR_MS
from demesh.view.record import Record, kept
from demesh.view.score import Score, Witness, score
from demesh.view.vote import Vote

_NOW_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS
_TEST_MS = 15 * 60_000


class _Span(NamedTuple):
    """What one vantage observed in a period."""

    start_ms: int
    period_ms: int
    up_ms: int
    down_ms: int


def _spans(hours: int, up: float = 1.0, ended_ago_ms: int = 0) -> tuple[_Span, ...]:
    up_ms = round(up * HOUR_MS)
    first_ms = _NOW_MS - ended_ago_ms - hours * HOUR_MS
    return tuple(_Span(first_ms + hour * HOUR_MS, HOUR_MS, up_ms, HOUR_MS - up_ms) for hour in range(hours))


def _recorded(spans: Iterable[_Span], now_ms: int = _NOW_MS) -> Record:
    record = Record()
    for each in spans:
        share = kept(now_ms - each.start_ms - each.period_ms / 2)
        record = record.then(Record(each.up_ms, each.down_ms, share * each.up_ms, share * each.down_ms))
    return record


def _seen(votes: str, up: float = 1.0, hours: int = 30 * 24) -> dict[str, Witness]:
    """One vantage for each letter: p passes, f fails, u has not seen."""
    known = {"p": Vote.PASS, "f": Vote.FAIL, "u": Vote.UNSEEN}
    record = _recorded(_spans(hours, up))
    return {f"node{number}": Witness(known[vote], record) for number, vote in enumerate(votes)}


def _an_hour_later(witness: Witness) -> Witness:
    return replace(witness, record=witness.record.aged(HOUR_MS))


def _failing_for_an_hour(witness: Witness) -> Witness:
    """The same vantage after it has seen nothing but failures for so long."""
    down = _recorded([_Span(_NOW_MS, HOUR_MS, 0, HOUR_MS)], _NOW_MS + HOUR_MS)
    return Witness(Vote.FAIL, witness.record.aged(HOUR_MS).then(down), witness.counts)


def _list_of_servers() -> list[float]:
    """A hundred servers, up from 90 % to 99.9 % of the time."""
    servers = (_seen("ppp", 0.9 + 0.001 * number) for number in range(100))
    return [score({name: _an_hour_later(each) for name, each in server.items()}).value for server in servers]


def _rank(value: float, others: list[float]) -> int:
    return sum(each > value for each in others)


def test_a_server_that_one_of_three_sees_down_keeps_its_rank_and_it_is_told_who_sees_it_so() -> None:
    before = _seen("ppp", 0.9505)
    after = {name: _an_hour_later(each) for name, each in before.items()}
    one = {**after, "node1": _failing_for_an_hour(before["node1"])}
    well, worse, others = score(after), score(one), _list_of_servers()
    assert 0 < well.value - worse.value < 0.005
    assert _rank(worse.value, others) - _rank(well.value, others) <= 2, "of a hundred"
    assert (worse.passing, worse.failing) == (("node0", "node2"), ("node1",))


def test_a_server_that_all_see_down_has_left_the_top_half_within_the_hour() -> None:
    best = {name: _failing_for_an_hour(each) for name, each in _seen("ppp").items()}
    assert _rank(score(best).value, _list_of_servers()) >= 50
    assert _rank(score(_seen("ppp")).value, _list_of_servers()) == 0


def test_one_good_test_outranks_no_long_good_record() -> None:
    record = _recorded([_Span(_NOW_MS - _TEST_MS, _TEST_MS, _TEST_MS, 0)])
    new = {f"node{number}": Witness(Vote.PASS, record) for number in "012"}
    assert score(new).value < 0.1 < 0.5 < score(_seen("ppp", 0.9)).value


def test_old_failures_weigh_half_as_much_with_each_week() -> None:
    day = _spans(24, 0.0, 7 * DAY_MS)
    fresh, old = _spans(24, 0.0), day
    shares = [(_record(each).record or 0) for each in (fresh, old)]
    assert shares[0] < shares[1]
    lost = [(1 - share) / share for share in shares]
    assert lost[0] / lost[1] == pytest.approx(2)


def _record(failed: tuple[_Span, ...]) -> Score:
    return score({"a": Witness(Vote.PASS, _recorded((*_spans(24), *failed)))})


def test_a_vantage_that_does_not_count_changes_nothing() -> None:
    others = _seen("pp")
    broken = replace(_failing_for_an_hour(_seen("f", 0.0)["node0"]), counts=False)
    assert score({**others, "broken": broken}) == score(others)


def test_a_vantage_that_has_not_seen_says_nothing_of_now() -> None:
    assert score(_seen("ffu")).now == score(_seen("ff")).now == pytest.approx(0.1)
    assert score(_seen("ppu")).now == score(_seen("uuu")).now == 1
    never = {"node9": Witness(Vote.UNSEEN)}
    assert score({**_seen("pp"), **never}) == score(_seen("pp"))


def test_more_vantages_are_more_evidence_than_one_that_looks_longer() -> None:
    assert score(_seen("ppp", hours=48)).value > score(_seen("p", hours=30 * 24)).value


def test_nothing_observed_is_no_score() -> None:
    assert score({}) == Score(0, None, 0, 1)


def test_the_order_of_vantages_does_not_matter() -> None:
    seen = [(f"node{number}", _seen("p", 0.3 + 0.1 * number, 7 * number)["node0"]) for number in range(1, 6)]
    assert len({score(dict(order)) for order in permutations(seen)}) == 1


def test_the_examples_in_the_docs_are_right() -> None:
    told = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (Path(__file__).parents[2] / "docs/servers.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    assert len(told) == 6
    for votes, days, up, *numbers in told:
        found = score(_seen(votes.strip("`"), float(up.rstrip(" %")) / 100, round(float(days) * 24)))
        worked_out = [found.record, found.evidence, found.now, found.value]
        assert [f"{each:.3f}" for each in worked_out if each is not None] == numbers
