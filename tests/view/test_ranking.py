"""The ranking joins what is said now with what was observed, and says who sees it so."""

import json
from dataclasses import replace

from demesh.api.servers import dogdorms_list
from demesh.log.sums import DAY_MS
from demesh.ranking import Ranked
from demesh.view.ranking import Seen, rank
from demesh.view.record import Record, Run, Runs
from demesh.view.verdict import Verdict
from demesh.view.vote import Vote
from tests.view.build import FAIL, PASS, WALL_MS, deliver, new_view, result, row, three_vantages

_ROWS = (
    row("good", type="ntp", target="ntp://good.example.net"),
    row("bad", type="ntp", target="ntp://bad.example.net"),
    row("web"),
)


def _record(up: float, tests: int = 96) -> Record:
    up_ms, passed, run = round(up * DAY_MS), round(up * tests), Run(WALL_MS - DAY_MS, WALL_MS)
    runs = Runs(up < 1, run, run, DAY_MS)
    return Record(up_ms, DAY_MS - up_ms, up_ms, DAY_MS - up_ms, passed, tests - passed, WALL_MS, runs)


def test_servers_are_told_best_first_with_who_sees_them_how_and_other_checks_are_not() -> None:
    view = new_view()
    members = three_vantages(view, *_ROWS)
    names = {member.key: member.name for member in members}
    for member in members:
        deliver(view, member, member.outcomes(1_000, PASS, PASS), 1_000)
        said = PASS if member.name == "a" else FAIL
        deliver(view, member, member.outcomes(1_000, said, said, check=1), 1_000)
    records = {name: {key: _record(1.0 if name == "good" else 0.5) for key in names} for name in ("good", "bad", "web")}
    good, bad = rank(view.checks(2_000), records, names)
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
    new, known = rank(view.checks(1_000), {"bad": {members[0].key: _record(0.5)}}, names)[::-1]
    assert (new.name, new.uptime, new.score.value, new.dogdorm) == ("good", None, 0.0, None)
    assert known.name == "bad"


def test_before_anything_is_recorded_one_that_is_down_comes_after_those_that_are_up_and_in_dogdorms_list_too() -> None:
    view = new_view()
    names = ("a-down", "b-partly", "c-up")
    for member in three_vantages(view, *(row(name, type="ntp", target=f"ntp://{name}.example.net") for name in names)):
        for check, passes in enumerate(("", "ab", "abc")):
            said = PASS if member.name in passes else FAIL
            deliver(view, member, member.outcomes(1_000, said, said, check=check), 1_000)
    ranked = rank(view.checks(2_000), {}, {})
    assert [each.name for each in ranked] == ["c-up", "b-partly", "a-down"]
    assert {each.score.value for each in ranked} == {0.0}
    told = json.loads(dogdorms_list(Ranked(ranked, WALL_MS)).body)["NTP"]["IPv4"]["UDP"]
    assert [record["fqns"][0].partition(".")[0] for (record,) in told] == [each.name for each in ranked]


def test_dogdorms_numbers_are_those_of_a_vantage_that_counts_and_of_its_newest_success() -> None:
    view = new_view()
    members = three_vantages(view, *_ROWS)
    names = {member.key: member.name for member in members}
    for member in members:
        deliver(view, member, member.outcomes(1_000, PASS, PASS), 1_000)
    records = {"good": {member.key: _record(up) for member, up in zip(members, (1.0, 0.5, 0.75), strict=True)}}
    (good, _) = rank(view.checks(2_000), records, names)
    assert good.dogdorm is not None
    told = good.dogdorm
    assert (told.node, told.tests, told.failed, told.uptime_s, told.uptime_max_s) == ("c", 96, 24, 86_400, 86_400)
    assert told.last_success_s > WALL_MS // 1_000


def test_the_other_address_goes_with_the_address_of_the_same_vantage() -> None:
    view = new_view()
    nat = row("nat", type="stun", target="stun://stun.example.net", keys=(("nat_behaviour", "true"),))
    members = three_vantages(view, nat)
    told = [("192.0.2.7", None), ("192.0.2.99", "192.0.2.98:3479"), ("192.0.2.7", "192.0.2.8:3479")]
    for member, (address, other) in zip(sorted(members, key=lambda each: each.key), told, strict=True):
        said = result(PASS, 1_000)._replace(address=address, other_address=other)
        deliver(view, member, member.results(1_000, said), 1_000)
    (server,) = rank(view.checks(2_000), {}, {})
    assert (server.address, server.other) == ("192.0.2.7", ("192.0.2.8", 3479))


def test_of_a_name_that_is_asked_at_each_address_the_first_is_the_servers() -> None:
    view = new_view()
    a, *_ = three_vantages(view, row("time", type="ntp", target="ntp://time.example.net"))
    said = result(PASS, 1_000)._replace(address="192.0.2.7,192.0.2.9,2001:db8::1")
    deliver(view, a, a.results(1_000, said), 1_000)
    (server,) = rank(view.checks(2_000), {}, {})
    assert (server.address, server.place.family) == ("192.0.2.7", "IPv4")


def test_what_a_member_says_that_it_asked_is_told_only_if_it_is_an_address() -> None:
    view = new_view()
    a, *_ = three_vantages(view, row("time", type="ntp", target="ntp://time.example.net"))
    deliver(view, a, a.results(1_000, result(PASS, 1_000)._replace(address="=cmd|calc")), 1_000)
    (server,) = rank(view.checks(2_000), {}, {})
    assert server.address is None


def test_one_that_never_answered_is_told_as_a_candidate_and_then_as_parked() -> None:
    view = new_view()
    listed = row("time", type="ntp", target="ntp://time.example.net", keys=(("listed", "true"),))
    members = three_vantages(view, listed)
    for member in members:
        deliver(view, member, member.outcomes(1_000, FAIL, FAIL), 1_000)
    assert [each.state for each in rank(view.checks(2_000), {}, {})] == ["candidate"]
    for member in members:
        deliver(view, member, member.plan(3_000, replace(listed, runs=False, parked=True)), 3_000)
    assert [each.state for each in rank(view.checks(4_000), {}, {})] == ["parked"]
    deliver(view, members[0], members[0].outcomes(5_000, PASS, PASS), 5_000)
    deliver(view, members[0], members[0].plan(6_000, listed), 6_000)
    assert [each.state for each in rank(view.checks(7_000), {}, {})] == ["up"]
