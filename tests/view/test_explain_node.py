"""Why a node is present or not: what its own log says, and what others wrote of it."""

import pytest

from demesh.errors import UsageError
from demesh.identity import peer_id
from demesh.log.bye import Bye
from demesh.log.entry import Kind
from tests.view.build import PASS, MemberLog
from tests.view.telling import MINUTE_MS, Vantages, all_pass, lines


def _mesh(silent_from: int, silent_to: int, minutes: int = 12) -> Vantages:
    """c writes nothing from the one minute to the other; after that as ever."""
    mesh = Vantages()
    for minute in range(1, minutes):
        mesh.minute(minute, **all_pass("ab" if silent_from <= minute < silent_to else "abc"))
    return mesh


def test_a_gap_is_held_against_the_nodes_own_promise() -> None:
    answer = _mesh(5, 8).told("c", since_ms=4 * MINUTE_MS, until_ms=10 * MINUTE_MS)
    assert answer["opening"] == "alive"
    assert lines(answer) == [
        "18:20 c 4 entries",
        "18:55 c went silent: its last entry promised the next within 25s",
        "21:40 c writes again, same boot of its machine: nothing was written for 3m 20s",
        "23:20 c 6 entries",
    ]
    (heard,) = [step for step in answer["steps"] if step["what"] == "heard"]
    assert (heard["quiet_ms"], heard["rebooted"], heard["presence"]) == (200_000, False, "alive")
    assert "It was silent once before, for 3m 20s at most: in no log is there an entry" in answer["conclusion"]


def test_who_missed_it_while_it_wrote_was_cut_off_from_it() -> None:
    mesh = Vantages()
    for minute in range(1, 10):
        mesh.minute(minute, **all_pass())
        if minute == 5:
            mesh.event("a", 5, "notified", "c", name="DemeshNodeSilent", sink="ops", state="firing")
    answer = mesh.told("c", since_ms=2 * MINUTE_MS, until_ms=9 * MINUTE_MS)
    (missed,) = [step for step in answer["steps"] if step["what"] == "event"]
    assert missed["was_writing"] is True
    assert "Others missed it while it was writing" in answer["conclusion"]
    assert "a told ops of DemeshNodeSilent (firing)" in answer["conclusion"]


def test_who_missed_it_while_it_wrote_nothing_was_right() -> None:
    mesh = Vantages()
    for minute in range(1, 10):
        mesh.minute(minute, **all_pass("abc" if minute < 4 else "ab"))
        if minute == 6:
            mesh.event("a", 6, "notified", peer_id(mesh.members["c"].key), name="DemeshNodeSilent", sink="ops")
    answer = mesh.told("c", since_ms=2 * MINUTE_MS, until_ms=9 * MINUTE_MS)
    (missed,) = [step for step in answer["steps"] if step["what"] == "event"]
    assert missed["was_writing"] is False
    assert (answer["opening"], answer["closing"]) == ("alive", "silent")
    assert answer["conclusion"].startswith(
        "c is silent since 2023-11-14T22:17:55.001Z: its last entry promised the next within 25s."
    )


def test_a_leave_is_told_with_its_reason_and_when_it_was_to_be_back() -> None:
    mesh = _mesh(3, 99)
    mesh.write("c", mesh.members["c"].entry(Kind.BYE, Bye("suspend", 600_000).payload(), 3 * MINUTE_MS + 25_000))
    away = mesh.told("c", since_ms=2 * MINUTE_MS, until_ms=10 * MINUTE_MS)
    assert away["conclusion"] == "c is away since 2023-11-14T22:16:45.000Z: said bye (suspend), back within 10m."
    late = mesh.told("c", since_ms=2 * MINUTE_MS, until_ms=20 * MINUTE_MS)
    assert late["closing"] == "silent"
    assert "it was to be back within 10m of its bye (suspend)" in late["conclusion"]


def test_a_node_that_roams_is_away_for_seven_days() -> None:
    mesh = Vantages("a")
    laptop = mesh.members["laptop"] = MemberLog("laptop", presence=1)
    mesh.write("laptop", *laptop.start(0), laptop.results(20_000))
    day_ms = 1_440 * MINUTE_MS
    assert mesh.told("laptop", until_ms=6 * day_ms)["closing"] == "away"
    assert mesh.told("laptop", until_ms=8 * day_ms)["closing"] == "silent"


def test_a_new_epoch_is_told() -> None:
    mesh = Vantages()
    mesh.minute(1, **all_pass())
    again = mesh.members["c"] = MemberLog("c", epoch=1, boot=1)
    mesh.write("c", again.hello(MINUTE_MS + 70_000, version="1.3.0"), again.plan(MINUTE_MS + 70_001))
    assert lines(mesh.told("c", since_ms=MINUTE_MS + 30_000, until_ms=2 * MINUTE_MS + 30_000)) == [
        "15:20 c 2 entries",
        "15:30 c begins a log",
        "15:30 c is called c, version 1.3.0",
    ]


def test_of_two_with_one_name_each_can_be_asked_about() -> None:
    mesh = Vantages("a")
    mesh.minute(1, a=PASS)
    other = mesh.members["other"] = MemberLog("other")
    mesh.write("other", other.hello(0, name="a"), other.results(20_000))
    with pytest.raises(UsageError, match="Several nodes call themselves 'a'"):
        mesh.told("a")
    assert mesh.told(peer_id(other.key))["node"] == f"a~{peer_id(other.key)[-6:]}"
