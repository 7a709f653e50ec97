"""However long two histories are and wherever they part, the search finds the place, in few questions."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from demesh import limits
from demesh.log.entry import Entry
from demesh.mesh.fork_search import ForkSearch
from demesh.mesh.sync_server import lean
from tests.log.builders import Pen, lean_but_tip, log_of

_LENGTH = 200
_OURS = log_of("ann", _LENGTH)


def _forked(at: int, length: int) -> list[Entry]:
    """Another history of the same log from `at` on, by a pen that was turned back to there."""
    pen = Pen("ann")
    pen.fill(at)
    pen.clock.now_ms += 7
    return pen.fill(length)


def _search(ours: list[Entry], theirs: list[Entry], low: int = 0) -> tuple[list[Entry], int]:
    search = ForkSearch(ours[0].log, low, min(len(ours), len(theirs)) - 1, len(theirs) - 1)
    questions = 0
    while (want := search.want) is not None:
        questions += 1
        search.answer(theirs[want.first : want.last + 1], ours[want.first].hash if want.first < len(ours) else None)
    return search.their_segment(), questions


@settings(max_examples=40)
@given(st.integers(1, _LENGTH - 1), st.integers(1, 40), st.integers(0, _LENGTH))
def test_place_where_two_histories_part_is_found_by_halving(at: int, more: int, low: int) -> None:
    theirs = _forked(at, at + more)
    low = min(low, min(_LENGTH, len(theirs)) - 1)
    segment, questions = _search(_OURS, theirs, low)
    assert [entry.seq for entry in segment] == [max(at, low)]
    assert segment[0] == theirs[max(at, low)]
    assert questions <= math.ceil(math.log2(_LENGTH)) + 2


def test_equal_histories_give_nothing() -> None:
    assert _search(_OURS, _OURS[:50])[0] == []


@given(st.lists(st.integers(0, 40), max_size=30))
def test_peer_that_contradicts_itself_ends_the_search(answers: list[int]) -> None:
    search, theirs = ForkSearch(_OURS[0].log, 0, 2**40, 2**40), _forked(5, 45)
    said = iter(answers)
    questions = 0
    while (want := search.want) is not None:
        assert want.first <= want.last
        questions += 1
        at = next(said, None)
        search.answer(theirs[at:] if at is not None else [], b"ours" * 8)
    assert questions <= limits.FORK_QUESTIONS_MAX


def test_page_reaches_further_where_the_next_signed_entry_is_far() -> None:
    ours, theirs = lean_but_tip(Pen("ann").fill(400)), lean_but_tip(_forked(5, 400))
    search = ForkSearch(ours[0].log, 0, 399, 399)
    while (want := search.want) is not None:
        search.answer(lean(theirs[want.first : want.last + 1]), ours[want.first].hash)
    assert search.their_segment()[0].seq == 5
    near = ForkSearch(ours[0].log, 0, 399, 399)
    assert near.want is not None
    assert near.want.last - near.want.first < limits.FORK_REACH_ENTRIES, "a short one is asked for first"
