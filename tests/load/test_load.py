"""Servers that are well are found well, by nodes that check many of them; and what is not well is told."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.harness import require
from tests.load.__main__ import report
from tests.load.measuring import NODES, Late, NodeSeen, Plan, Seen, measure
from tests.load.targets import KINDS, Counts

_SMALL = Plan(targets=90, interval=6, spread=NODES, warm_up=8, window=20)


@pytest.mark.slow
@pytest.mark.e2e
def test_no_run_against_a_server_that_is_well_fails_and_every_server_is_asked_by_all(tmp_path: Path) -> None:
    require("mosquitto")
    said: list[str] = []
    seen = measure(tmp_path, _SMALL, said.append)
    told = "\n".join([*said, report(seen)])
    assert not any(node.not_passed for node in seen.nodes), told
    assert seen.unasked == 0, told
    assert seen.states == {"up": _SMALL.targets}, told
    for node in seen.nodes:
        assert node.window.results >= _SMALL.targets * 2, (
            told
        )  # of three intervals and a third, of which one may be longer
        assert node.cpu_seconds > 0
        assert node.entries > 0
    assert min(seen.rankings) > 0


def test_targets_are_as_many_as_asked_for_all_different_and_of_each_kind() -> None:
    for total in (len(KINDS), 90, 1_700):
        targets = Counts.of(total).targets()
        assert len(set(targets)) == total
        assert {each.partition(":")[0] for each in targets} == {"stun", "ntp", "mqtt"}
        assert any(each.endswith("?transport=tcp") for each in targets)


_NODE = NodeSeen("n0", 60.0, 7.0, 120.0, 60, 40_000, 1_000_000, Late(17_000, 0, 0), Late(900, 3, 240), 0, Counter())
_SEEN = Seen(
    plan=Plan(1_700, 60, 1, 120.0, 600.0),
    nodes=[_NODE],
    servers_cpu_seconds={"responder": 6.0},
    rankings=[0.2, 0.5],
    ranked_late=Late(30, 0, 0),
    states=Counter(up=1_700),
    unasked=0,
    loads=[0.5, 1.5],
)


def test_report_tells_what_a_node_takes_in_a_minute_and_an_hour() -> None:
    told = dict(re.split(r"  +", line) for line in report(_SEEN).splitlines() if re.match(r"\S.*\S  +\S", line))
    assert told["of a core"] == "10 %"
    assert told["resident, at most"] == "120 MB"
    assert told["results a minute"] == "1,700"
    assert told["late while warming up"] == "3 of 900"
    assert told["signed an hour"] == "240 kB"
    assert _SEEN.good


@pytest.mark.parametrize(
    "wrong",
    [
        replace(_SEEN, nodes=[replace(_NODE, not_passed=Counter({"timeout of ntp: no answer": 1}))]),
        replace(_SEEN, nodes=[_NODE, replace(_NODE, missed=1)]),
        replace(_SEEN, unasked=1),
        replace(_SEEN, states=Counter(up=1_699, down=1)),
        replace(_SEEN, states=Counter()),
    ],
)
def test_run_is_not_good_if_anything_did_not_pass_was_missed_or_was_not_asked(wrong: Seen) -> None:
    assert not wrong.good


def test_report_names_what_did_not_pass() -> None:
    seen = replace(_SEEN, nodes=[replace(_NODE, not_passed=Counter({"timeout of ntp: no answer": 2}))])
    assert "n0: 2 × timeout of ntp: no answer" in report(seen)
