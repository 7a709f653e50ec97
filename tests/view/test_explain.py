"""Why a check is as it is: the steps, what they came to, and who was told."""

from collections.abc import Callable

import pytest

from demesh.errors import UsageError
from tests.view.build import ERROR, FAIL, PASS, TIMEOUT, MemberLog, row
from tests.view.telling import MINUTE_MS, Pile, Vantages, all_fail, all_pass, lines, told


def _outage(**events: Callable[[Vantages], None]) -> Vantages:
    """Up for seven minutes; a and b see it fail from minute 8 on, for three; then it recovers. `events` happen after a minute."""
    mesh = Vantages()
    for minute in range(1, 14):
        failing = all_fail("ab") if minute in (8, 9, 10) else {}
        mesh.minute(minute, **{**all_pass(), **failing})
        if happens := events.get(f"after_{minute}"):
            happens(mesh)
    return mesh


def _says(author: str, minute: int, type_: str, subject: str = "", /, **details: str) -> Callable[[Vantages], None]:
    return lambda mesh: mesh.event(author, minute, type_, subject, **details)


def test_each_step_names_its_entry_and_what_it_came_to() -> None:
    answer = _outage().told(since_ms=7 * MINUTE_MS + 30_000, until_ms=10 * MINUTE_MS)
    assert lines(answer) == [
        "21:20 a fail: said fail, 1 of 2",
        "21:30 b fail: said fail, 1 of 2",
        "22:20 a fail: said fail, 2 in a row: votes fail -> partial",
        "22:30 b fail: said fail, 2 in a row: votes fail -> down",
        "22:40 c 2 passes",
        "23:20 a 1 fail",
    ]
    down = answer["steps"][3]
    assert down["leads_to"]["rule"] == "2 of 3 fail >= quorum 2 (majority)"
    assert (down["seq"], down["outcome"], down["vote"], down["run"]) == (26, "fail", "fail", 2)


def test_the_conclusion_says_who_agrees_since_when_and_by_which_rule() -> None:
    answer = _outage().told(since_ms=3 * MINUTE_MS, until_ms=10 * MINUTE_MS)
    assert answer["opening"]["verdict"] == "up"
    assert answer["closing"]["verdict"] == "down"
    assert answer["conclusion"] == (
        "web is down since 2023-11-14T22:22:30.000Z (first failure 2023-11-14T22:21:20.000Z): "
        "2 of 3 fail >= quorum 2 (majority). a, b: fail (said fail); c: pass. "
        "Nobody was told, as far as the logs say: none has a `notified` of it."
    )


def test_a_day_of_a_healthy_check_is_a_few_lines() -> None:
    mesh = Vantages()
    for minute in range(1, 1_441):
        mesh.minute(minute, **all_pass())
    answer = mesh.told(since_ms=2 * MINUTE_MS, until_ms=1_440 * MINUTE_MS)
    assert [line[6:] for line in lines(answer)] == ["b 1438 passes", "c 1438 passes", "a 1439 passes"]


def test_failures_that_never_made_a_vote_are_told_as_such() -> None:
    mesh = Vantages()
    for minute, outcome in enumerate((PASS, PASS, TIMEOUT, PASS, PASS), 1):
        mesh.minute(minute, a=outcome, b=PASS, c=PASS)
    answer = mesh.told(since_ms=2 * MINUTE_MS + 30_000, until_ms=5 * MINUTE_MS)
    assert lines(answer)[:2] == [
        "16:20 a timeout: said timeout, 1 of 2",
        "17:20 a pass; 1 failure did not make a vote (fail_after 2)",
    ]
    assert "It was not down in this time." in answer["conclusion"]


def test_a_minority_is_told_of() -> None:
    mesh = Vantages()
    mesh.minute(1, **all_pass())
    for minute in (2, 3, 4):
        mesh.minute(minute, a=FAIL, b=PASS, c=PASS)
    answer = mesh.told(until_ms=4 * MINUTE_MS)
    assert answer["closing"]["verdict"] == "partial"
    assert "1 of 3 fails < quorum 2 (majority). a: fail (said fail); b, c: pass." in answer["conclusion"]
    assert "1 time a minority saw it fail" in answer["conclusion"]


def test_what_the_node_could_not_run_counts_for_nothing() -> None:
    mesh = Vantages()
    for minute, outcome in enumerate((PASS, ERROR, ERROR, PASS), 1):
        mesh.minute(minute, a=outcome, b=PASS, c=PASS)
    told = [line for line in lines(mesh.told(until_ms=4 * MINUTE_MS)) if " a " in line]
    assert "15:20 a error: said error (it could not run the probe; counts for nothing)" in told
    assert "16:20 a 1 error" in told


def test_a_vote_that_no_result_stands_behind_lapses_by_a_rule_that_is_named() -> None:
    mesh = Vantages()
    mesh.minute(1, **all_pass())
    for minute in range(2, 8):
        mesh.minute(minute, **all_pass("a"))
        for later in (20_000, 40_000, 60_000):
            for name in "bc":
                mesh.write(name, mesh.members[name].results(minute * MINUTE_MS + later))
    answer = mesh.told(since_ms=MINUTE_MS + 30_000, until_ms=7 * MINUTE_MS)
    lapsed = [step for step in answer["steps"] if step["what"] == "lapsed"]
    assert [step["text"] for step in lapsed] == ["its vote lapsed: nothing newer within 2m 30s (2 intervals + 30s)"] * 2
    assert lapsed[1]["leads_to"]["rule"] == "2 of 3 unseen >= quorum 2 (majority)"
    assert answer["closing"]["verdict"] == "unknown"


def test_a_vantage_that_falls_silent_is_not_counted_and_its_promise_is_named() -> None:
    mesh = Vantages()
    for minute in range(1, 5):
        mesh.minute(minute, **all_fail())
    for minute in range(5, 9):
        mesh.minute(minute, **all_fail("ab"))
    answer = mesh.told(since_ms=3 * MINUTE_MS, until_ms=8 * MINUTE_MS)
    (silent,) = [step for step in answer["steps"] if step["what"] == "silent"]
    assert silent["text"] == "went silent: its last entry promised the next within 25s"
    assert silent["leads_to"]["rule"] == "2 of 2 fail >= quorum 2 (majority)"
    assert "not counted: c is silent" in answer["conclusion"]


def test_a_vantage_that_says_bye_is_away_and_comes_back() -> None:
    mesh = Vantages()
    mesh.minute(1, **all_pass())
    mesh.write("c", mesh.members["c"].bye(MINUTE_MS + 61_000))
    mesh.minute(3, **all_pass("ab"))
    mesh.minute(4, **all_pass())
    told = [line for line in lines(mesh.told(since_ms=MINUTE_MS + 30_000, until_ms=5 * MINUTE_MS)) if " c " in line]
    assert told[0] == "15:21 c said bye (stopped), back within 10m"
    assert told[1] == "17:40 c writes again, same boot of its machine: nothing was written for 2m 19s"


def test_a_plan_that_changes_the_definition_takes_its_votes_with_it() -> None:
    mesh = Vantages()
    mesh.minute(1, **all_pass())
    other = row("web", target="https://other.example.net/")
    mesh.write("a", mesh.members["a"].plan(MINUTE_MS + 45_000, other))
    mesh.minute(2, **all_pass())
    mesh.minute(3, **all_pass())
    answer = mesh.told(since_ms=MINUTE_MS + 45_000, until_ms=4 * MINUTE_MS)
    first, second = lines(answer)[:2]
    assert first.startswith("15:05 a its plan defines the check anew (")
    assert second == "15:20 a pass: votes pass (not counted: most hold another definition)"
    assert [each["node"] for each in answer["closing"]["vantages"]] == ["b", "c"]


def test_who_was_told_is_told_and_so_is_what_people_said() -> None:
    mesh = _outage(
        after_9=_says("c", 9, "notified", "web", name="DemeshCheckDown", sink="ops", state="firing"),
        after_11=_says("c", 11, "silence", "", check="we*", by="ann"),
        after_12=_says("c", 12, "notified", "db", name="DemeshCheckDown", sink="ops", state="firing"),
    )
    answer = mesh.told(since_ms=3 * MINUTE_MS, until_ms=14 * MINUTE_MS)
    (down,) = [spell for spell in answer["spells"] if spell["verdict"] == "down"]
    assert [(each["node"], each["sink"], each["state"]) for each in down["told"]] == [("c", "ops", "firing")]
    assert "It was down from 2023-11-14T22:22:30.000Z to 2023-11-14T22:25:20.000Z." in answer["conclusion"]
    assert "c told ops of DemeshCheckDown (firing) at 2023-11-14T22:23:25.000Z." in answer["conclusion"]
    assert "Said of it: silence by c at" in answer["conclusion"]
    assert [step["type"] for step in answer["steps"] if step["what"] == "event"] == ["notified", "silence"]


def test_a_try_that_was_never_noted_as_done_is_no_telling() -> None:
    mesh = _outage(after_9=_says("c", 9, "notifying", "web", name="DemeshCheckDown", sink="ops"))
    answer = mesh.told(since_ms=3 * MINUTE_MS, until_ms=11 * MINUTE_MS)
    assert "Nobody is known to have been told: 1 try was begun" in answer["conclusion"]


def test_an_event_that_names_an_incident_of_it_by_its_id_is_about_it() -> None:
    mesh = _outage(
        after_9=_says("b", 9, "notified", "web", name="DemeshCheckDown", sink="ops", key="a1f3"),
        after_10=_says("c", 10, "acknowledgement", "a1f3", by="ann"),
    )
    answer = mesh.told(since_ms=3 * MINUTE_MS, until_ms=14 * MINUTE_MS)
    assert [step["type"] for step in answer["steps"] if step["what"] == "event"] == ["notified", "acknowledgement"]


def test_a_beginning_that_was_not_seen_is_not_claimed() -> None:
    mesh = Vantages()
    for minute in range(1, 200):
        mesh.minute(minute, **all_fail())
    answer = mesh.told(since_ms=180 * MINUTE_MS, until_ms=199 * MINUTE_MS)
    assert answer["opening"]["verdict"] == "down"
    assert "or before (look further back with --since)" in answer["conclusion"]
    assert answer["spells"][-1]["from_known"] is False


def test_a_new_epoch_goes_on_for_its_member() -> None:
    mesh = Vantages()
    mesh.minute(1, **all_pass())
    again = MemberLog("c", epoch=1, boot=1)
    mesh.members["c"] = again
    mesh.write("c", *again.start(MINUTE_MS + 50_000, mesh.row))
    for minute in (2, 3):
        mesh.minute(minute, **all_fail("bc"), a=PASS)
    answer = mesh.told(since_ms=MINUTE_MS + 45_000, until_ms=3 * MINUTE_MS + 30_000)
    begun, planned = [step for step in answer["steps"] if step["what"] in ("began", "plan")]
    assert (begun["node"], begun["leads_to"]["rule"]) == ("c", "2 of 2 pass")  # what it runs now is not known yet
    assert planned["leads_to"]["rule"] == "2 of 3 pass, 1 unseen < quorum 2 (majority)"
    assert answer["closing"]["verdict"] == "down"


def test_a_name_that_nothing_has_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"No check or node is called 'wbe' .*did you mean 'web'\?"):
        _outage().told("wbe")
    with pytest.raises(UsageError, match=r"There are: a, b, c, web\."):
        _outage().told("something else")


def test_a_name_of_a_check_and_of_a_node_must_be_said_of_which() -> None:
    mesh = Vantages("web", "b")
    mesh.minute(1, **all_pass("b"), web=PASS)
    with pytest.raises(UsageError, match="--check or --node"):
        mesh.told("web")
    assert mesh.told("web", kind="check")["check"] == "web"
    assert mesh.told("web", kind="node")["node"] == "web"


def test_of_entries_that_are_not_held_nothing_is_concluded() -> None:
    mesh = Vantages()
    for minute in range(1, 30):
        mesh.minute(minute, **all_pass())
    held = [(key, entry) for key, entry in mesh.written if entry.seq < 2 or entry.up_ms >= 20 * MINUTE_MS]
    answer = told(Pile(held), "web", 0, 29 * MINUTE_MS)
    missing = [step for step in answer["steps"] if step["what"] == "missing"]
    assert missing[0]["text"] == "57 entries are not held here; what was told there is not known"
    assert len(missing) == 3
    assert not {step["what"] for step in answer["steps"]} & {"silent", "heard", "lapsed"}
    assert answer["closing"]["verdict"] == "up"
