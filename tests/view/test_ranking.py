"""The ranking joins what is said now with what was observed, and says who sees it so."""

from demesh.log.sums import DAY_MS
from demesh.view.ranking import Seen, rank
from demesh.view.score import Span
from demesh.view.verdict import Verdict
from demesh.view.vote import Vote
from tests.view.build import FAIL, PASS, WALL_MS, deliver, new_view, row, three_vantages

_ROWS = (
    row("good", type="ntp", target="ntp://good.example.net"),
    row("bad", type="ntp", target="ntp://bad.example.net"),
    row("web"),
)


def _span(up: float) -> Span:
    return Span(WALL_MS - DAY_MS, DAY_MS, round(up * DAY_MS), round((1 - up) * DAY_MS))


def test_servers_are_told_best_first_with_who_sees_them_how_and_other_checks_are_not() -> None:
    view = new_view()
    members = three_vantages(view, *_ROWS)
    names = {member.key: member.name for member in members}
    for member in members:
        deliver(view, member, member.outcomes(1_000, PASS, PASS), 1_000)
        said = PASS if member.name == "a" else FAIL
        deliver(view, member, member.outcomes(1_000, said, said, check=1), 1_000)
    spans = {name: {key: [_span(1.0 if name == "good" else 0.5)] for key in names} for name in ("good", "bad", "web")}
    good, bad = rank(view.checks(2_000), spans, names, WALL_MS)
    assert (good.name, good.verdict, good.uptime) == ("good", Verdict.UP, 1.0)
    assert (bad.name, bad.verdict, bad.uptime) == ("bad", Verdict.DOWN, 0.5)
    assert bad.vantages == (Seen("a", Vote.PASS, True), Seen("b", Vote.FAIL, True), Seen("c", Vote.FAIL, True))
    assert (bad.score.passing, bad.score.failing) == (("a",), ("b", "c"))
    assert good.score.value > bad.score.value
    assert good.place.host == "good.example.net"


def test_what_nobody_observed_has_no_uptime_and_comes_last() -> None:
    view = new_view()
    members = three_vantages(view, *_ROWS)
    names = {member.key: member.name for member in members}
    new, known = rank(view.checks(1_000), {"bad": {members[0].key: [_span(0.5)]}}, names, WALL_MS)[::-1]
    assert (new.name, new.uptime, new.score.value) == ("good", None, 0.0)
    assert known.name == "bad"
