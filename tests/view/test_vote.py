"""What one vantage says of one check."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.outcome import Outcome
from demesh.view.vote import Observation, Vote, VoteState, advance, fresh_ms, is_turning
from tests.view.build import result

_LETTERS = {"p": Outcome.PASS, "f": Outcome.FAIL, "m": Outcome.MISMATCH, "t": Outcome.TIMEOUT, "e": Outcome.ERROR}


_INTERVAL_MS = 10_000


def _seen(outcome: Outcome, number: int, **changed: object) -> Observation:
    return Observation(result(outcome, number, 0, **changed), b"boot0000", 1_000 + number)


def _next(state: VoteState, seen: Observation, fail_after: int = 2, recover_after: int = 2) -> VoteState:
    return advance(state, seen, interval_ms=_INTERVAL_MS, fail_after=fail_after, recover_after=recover_after)


def _fold(outcomes: Sequence[Outcome], fail_after: int = 2, recover_after: int = 2) -> VoteState:
    state = VoteState()
    for number, outcome in enumerate(outcomes):
        state = _next(state, _seen(outcome, number), fail_after, recover_after)
    return state


def _states(letters: str, fail_after: int = 2, recover_after: int = 2) -> list[VoteState]:
    outcomes = [_LETTERS[letter] for letter in letters]
    return [_fold(outcomes[:count], fail_after, recover_after) for count in range(1, len(outcomes) + 1)]


@pytest.mark.parametrize(
    ("letters", "fail_after", "recover_after", "votes"),
    [
        ("p", 2, 2, "P"),  # the first pass counts at once
        ("p", 5, 5, "P"),
        ("f", 2, 2, "."),
        ("ff", 2, 2, ".F"),
        ("f", 1, 1, "F"),
        ("fpf", 2, 2, ".PP"),
        ("pfpff", 2, 2, "PPPPF"),
        ("pfmt", 3, 2, "PPPF"),  # all that blame the target are one run
        ("ffpp", 2, 2, ".FFP"),
        ("ffpfpp", 2, 2, ".FFFFP"),
        ("ffppp", 2, 3, ".FFFP"),
        ("eeee", 1, 1, "...."),
        ("pfef", 2, 2, "PPPF"),  # an error does not break a run
        ("pfe", 2, 2, "PPP"),  # nor does it count
        ("ffpep", 2, 2, ".FFFP"),
    ],
)
def test_a_vote_turns_after_a_run(letters: str, fail_after: int, recover_after: int, votes: str) -> None:
    shown = {Vote.PASS: "P", Vote.FAIL: "F", Vote.UNSEEN: "."}
    assert "".join(shown[state.vote] for state in _states(letters, fail_after, recover_after)) == votes


@pytest.mark.parametrize(
    ("letters", "turning"),
    [
        ("p", "n"),
        ("f", "y"),
        ("ff", "yn"),
        ("pfp", "nyn"),
        ("ffpp", "ynyn"),
        ("pe", "nn"),
        ("pfef", "nyyn"),
        ("e", "n"),
    ],
)
def test_a_vote_is_turning_while_the_last_results_contradict_it(letters: str, turning: str) -> None:
    assert "".join("yn"[not is_turning(state)] for state in _states(letters)) == turning


def test_since_is_the_first_of_the_run_that_turned_the_vote() -> None:
    since = [state.since.result.up_ms if state.since else None for state in _states("pfeffpp")]
    assert since == [0, 0, 0, 1, 1, 1, 5]


def test_an_error_is_the_last_result_and_not_the_one_that_counts() -> None:
    state = _states("pe")[-1]
    assert state.last is not None
    assert state.counted is not None
    assert (state.last.result.outcome, state.counted.result.outcome) == (Outcome.ERROR, Outcome.PASS)


def test_certificate_and_address_stay_known_until_told_anew() -> None:
    state = _next(VoteState(), _seen(Outcome.PASS, 0, certificate_expires_s=99, address="192.0.2.7"))
    state = _next(state, _seen(Outcome.PASS, 1))
    assert (state.certificate_expires_s, state.address) == (99, "192.0.2.7")
    state = _next(state, _seen(Outcome.FAIL, 2, certificate_expires_s=100))
    assert (state.certificate_expires_s, state.address) == (100, "192.0.2.7")


def _slow_vote(outcomes: Sequence[Outcome], fail_after: int, recover_after: int) -> Vote:
    """The table of demesh.view.vote, word for word, over the whole history at every step."""
    counted = [each != Outcome.PASS for each in outcomes if each != Outcome.ERROR]
    vote = Vote.UNSEEN
    for end in range(1, len(counted) + 1):
        history = counted[:end]
        fails = len(history) >= fail_after and all(history[-fail_after:])
        passes = not any(history[-(1 if vote == Vote.UNSEEN else recover_after) :])
        recovers = passes and (vote == Vote.UNSEEN or len(history) >= recover_after)
        if vote != Vote.FAIL and fails:
            vote = Vote.FAIL
        elif vote != Vote.PASS and recovers:
            vote = Vote.PASS
    return vote


@given(st.lists(st.sampled_from(Outcome), max_size=30), st.integers(1, 5), st.integers(1, 5))
def test_the_machine_says_what_a_look_at_the_whole_history_says(
    outcomes: list[Outcome], fail_after: int, recover_after: int
) -> None:
    state = _fold(outcomes, fail_after, recover_after)
    assert state.vote == _slow_vote(outcomes, fail_after, recover_after)
    counted = [each for each in outcomes if each != Outcome.ERROR]
    contradicts = bool(counted) and {Outcome.PASS: Vote.PASS}.get(counted[-1], Vote.FAIL) != state.vote
    assert is_turning(state) == contradicts


@given(st.lists(st.sampled_from(Outcome), max_size=20), st.integers(1, 4), st.integers(1, 4))
def test_errors_change_no_vote(outcomes: list[Outcome], fail_after: int, recover_after: int) -> None:
    without = [each for each in outcomes if each != Outcome.ERROR]
    assert _fold(outcomes, fail_after, recover_after).vote == _fold(without, fail_after, recover_after).vote


def test_an_old_failure_is_not_revived_by_a_new_pass() -> None:
    failing = _fold([Outcome.FAIL, Outcome.FAIL])
    assert failing.vote == Vote.FAIL
    assert _next(failing, _seen(Outcome.PASS, fresh_ms(_INTERVAL_MS) + 1)).vote == Vote.FAIL
    assert _next(failing, _seen(Outcome.PASS, fresh_ms(_INTERVAL_MS) + 2)).vote == Vote.PASS
    rebooted = replace(_seen(Outcome.PASS, 2), boot8=b"boot0001")
    assert _next(failing, rebooted).vote == Vote.PASS
    assert _next(failing, replace(_seen(Outcome.FAIL, 2), boot8=b"boot0001")).vote == Vote.UNSEEN


@pytest.mark.parametrize(
    ("letters", "flaps"),
    [
        ("p" * 21, False),
        ("p" * 10 + "f" * 11, False),
        ("pf" * 3, False),  # five changes
        ("pf" * 3 + "p", True),
        ("ppff" * 3, False),
        ("ppff" * 3 + "p", True),
        ("p" * 10 + "f" * 3 + "p" * 20, False),  # one outage
        ("pf" * 10 + "p" * 9, True),
        ("pf" * 10 + "p" * 10, False),  # ten in a row
        ("pf" * 10 + "ppppf" * 3, True),
        ("pf" * 10 + "pppppppf" * 2 + "pp", True),
        ("pf" * 10 + "p" * 9 + "ff" + "p" * 9, False),  # three changes are left of the last twenty
        ("pe" * 20, False),  # what could not be run is no result
    ],
)
def test_flapping_is_six_changes_in_twenty_and_ends_below_four_or_with_ten_in_a_row(letters: str, flaps: bool) -> None:
    assert _fold([_LETTERS[letter] for letter in letters]).flapping is flaps
