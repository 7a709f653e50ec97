"""Which checks strangers may know, and how much of them."""

from dataclasses import replace

import pytest

from demesh.log.plan import PlanRow
from demesh.view.checks import CheckView
from demesh.view.public import may_be_known, public_servers, shown, without_names
from demesh.view.ranking import rank
from demesh.view.uptime import Past, Uptime
from demesh.view.verdict import Verdict
from tests.view.build import PASS, deliver, new_view, row, three_vantages

_LISTED = (("listed", "true"),)
_TIME = row("time", type="ntp", target="ntp://time.example.net", keys=_LISTED)
_OWN = row("own", type="ntp", target="ntp://10.0.0.1")


def _checks(*rows: PlanRow) -> list[CheckView]:
    view = new_view()
    for member in three_vantages(view, *rows):
        for check in range(len(rows)):
            deliver(view, member, member.outcomes(1_000, PASS, check=check), 1_000)
    return view.checks(2_000)


@pytest.mark.parametrize(
    ("keys", "named", "known"),
    [
        ((), (), False),
        (_LISTED, (), True),
        ((("listed", "false"),), (), False),
        ((("ip", "true"),), (), False),
        ((), ("web",), True),
        ((), ("we", "w*", "WEB"), False),
        ((), ("*",), True),
    ],
)
def test_a_check_may_be_known_if_it_is_of_a_list_or_named(
    keys: tuple[tuple[str, str], ...], named: tuple[str, ...], known: bool
) -> None:
    assert may_be_known(row("web", keys=keys), named) is known


def test_what_is_named_is_told_without_its_target() -> None:
    past = {"own": Past({"24h": Uptime(0.5, 1.0)})}
    own, time = shown(_checks(_OWN, _TIME), ["own"], past)
    assert (own.name, own.target, own.verdict, own.passes, own.vantages) == ("own", "", Verdict.UP, 3, 3)
    assert own.uptime == {"24h": Uptime(0.5, 1.0)}
    assert (time.target, time.uptime) == ("ntp://time.example.net", {})
    assert [each.name for each in shown(_checks(_OWN, _TIME), [], past)] == ["time"]


def test_only_servers_of_lists_are_ranked_for_strangers_and_only_where_their_check_is_now() -> None:
    checks = _checks(_OWN, _TIME)
    ranked = rank(checks, {}, {})
    assert {each.name for each in ranked} == {"own", "time"}
    assert [each.name for each in public_servers(ranked, checks)] == ["time"]
    elsewhere = [
        replace(each, row=replace(each.row, keys=_LISTED, target="ntp://other.example.net")) for each in checks
    ]
    assert public_servers(ranked, elsewhere) == []


def test_members_get_numbers_in_place_of_names_wherever_they_stand() -> None:
    told = {"a": [{"node": "fra", "n": 1}, {"node": "nas"}], "node": None, "b": {"node": "fra", "c": {"node": "lab"}}}
    assert without_names(told) == {
        "a": [{"node": "1", "n": 1}, {"node": "2"}],
        "node": None,
        "b": {"node": "1", "c": {"node": "3"}},
    }
