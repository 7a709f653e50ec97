"""When a server of a list is parked, tried anew and released."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from demesh import limits
from demesh.checks.parking import Parking
from demesh.log.plan import PlanRow
from demesh.log.sums import DAY_MS
from demesh.view.vote import Observation, VoteState
from tests.log.builders import generated
from tests.view.build import FAIL, result, row

_NODE = b"n" * 32
_NOW_MS = 1_700_000_000_000
_ROWS = tuple(row(f"s{number}", keys=(("listed", "true"),)) for number in range(40))
_DEAD = VoteState(tries=limits.CANDIDATE_TRIES_MAX)
Votes = Mapping[tuple[str, bytes], VoteState]


def _key(each: PlanRow) -> tuple[str, bytes]:
    return each.name, each.definition


def _never(_: PlanRow) -> bool:
    return False


def _tried(wall_ms: int, state: VoteState = _DEAD) -> VoteState:
    return replace(state, last=Observation(result(FAIL, 0), bytes(8), wall_ms))


def _parked(votes: Votes, answered: Callable[[PlanRow], bool] = _never) -> Parking:
    parking = Parking(_NODE)
    parking.look(_ROWS, votes, answered, 0)
    return parking


def test_it_takes_three_tries_and_what_passed_once_is_never_parked() -> None:
    states = [*(VoteState(tries=tries) for tries in range(5)), VoteState(tries=None)]
    votes = {_key(each): state for each, state in zip(_ROWS, states, strict=False)}
    assert _parked(votes).parked == {_key(each) for each in _ROWS[3:5]}


def test_what_is_in_no_list_is_never_parked() -> None:
    own = row("web")
    parking = Parking(_NODE)
    assert not parking.look([own], {_key(own): _DEAD}, _never, 0)


def test_what_another_member_has_seen_answer_is_not_parked_and_is_released() -> None:
    votes = {_key(_ROWS[0]): _DEAD, _key(_ROWS[1]): _DEAD}
    parking = _parked(votes, lambda each: each == _ROWS[0])
    assert parking.parked == {_key(_ROWS[1])}
    assert parking.look(_ROWS, votes, lambda _: True, limits.PARKING_LOOK_MS)
    assert not parking.parked


def test_plans_are_not_told_anew_for_each_that_is_parked_but_at_once_for_one_that_answers() -> None:
    parking = _parked({_key(_ROWS[0]): _DEAD})
    now_ms, both = 0, {_key(each): _DEAD for each in _ROWS[:2]}
    changes: list[int] = []
    while now_ms < limits.PARKED_APART_MS:
        now_ms += 1_000
        if parking.look(_ROWS, both, _never, now_ms):
            changes.append(now_ms)
    assert changes == [limits.PARKED_APART_MS]
    answered = {**both, _key(_ROWS[0]): VoteState(tries=None)}
    assert parking.look(_ROWS, answered, _never, now_ms + limits.PARKING_LOOK_MS)
    assert parking.parked == {_key(_ROWS[1])}


@generated
@given(st.integers(0, DAY_MS), st.integers(1, 5))
def test_each_is_tried_once_a_day_and_not_all_at_once(start_ms: int, days: int) -> None:
    states = {_key(each): _tried(_NOW_MS + start_ms) for each in _ROWS}
    parking, most = _parked(states), 0
    tries = dict.fromkeys(states, 0)
    for wall_ms in range(_NOW_MS + start_ms, _NOW_MS + start_ms + days * DAY_MS, 1_800_000):
        due = parking.due(states, wall_ms + 1)
        most = max(most, len(due))
        for key in due:
            tries[key] += 1
            states[key] = _tried(wall_ms + 1)
    assert set(tries.values()) <= {days - 1, days, days + 1}
    assert most <= len(_ROWS) // 3


def test_a_try_ends_with_its_result_though_the_log_does_not_have_it_yet() -> None:
    key = _key(_ROWS[0])
    votes = {key: _tried(_NOW_MS - 2 * DAY_MS)}
    parking = _parked(votes)
    assert parking.due(votes, _NOW_MS) == {key}
    parking.tried(key, _NOW_MS)
    assert not parking.due(votes, _NOW_MS + 1)
    assert parking.due(votes, _NOW_MS + DAY_MS) == {key}


def test_who_asks_has_it_tried_once_more() -> None:
    one, other = (_key(each) for each in _ROWS[:2])
    votes = {one: _tried(_NOW_MS), other: _tried(_NOW_MS)}
    parking = _parked(votes)
    assert not parking.due(votes, _NOW_MS + 1)
    parking.ask([one, _key(_ROWS[2])], _NOW_MS + 1)
    assert parking.due(votes, _NOW_MS + 2) == {one}
    parking.tried(one, _NOW_MS + 3)
    assert not parking.due(votes, _NOW_MS + 4)


def test_a_clock_that_was_set_back_does_not_keep_it_parked() -> None:
    votes = {_key(_ROWS[0]): _tried(_NOW_MS + 400 * DAY_MS)}
    parking = _parked(votes)
    assert parking.due(votes, _NOW_MS) == {_key(_ROWS[0])}
    parking.tried(_key(_ROWS[0]), _NOW_MS)
    assert not parking.due(votes, _NOW_MS + 1)


def test_what_has_answered_is_said_in_the_plan_and_holds_for_another_definition_of_it() -> None:
    known, dead = _ROWS[:2]
    parking = _parked({_key(known): VoteState(tries=None), _key(dead): _DEAD})
    assert parking.settled(known).answered
    assert parking.settled(replace(known, definition=bytes(16), interval_ms=1_000)).answered
    assert not parking.settled(replace(known, target="https://elsewhere.example.net/")).answered
    assert parking.settled(dead) == replace(dead, runs=False, parked=True)


def test_the_own_plan_is_enough_to_know_that_it_has_answered() -> None:
    parking = Parking(_NODE)
    told = replace(_ROWS[0], answered=True)
    parking.look([told], {_key(told): _DEAD}, _never, 0)
    assert not parking.parked
    assert parking.settled(_ROWS[0]).answered
