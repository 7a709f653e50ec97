from collections.abc import Callable
from dataclasses import replace

import pytest

from demesh.log.audit import audit
from demesh.log.codec import values
from demesh.log.entry import BadRow, Entry, Kind
from demesh.log.state import LogState
from tests.log.builders import (
    MESH,
    OTHER_MESH,
    Pen,
    damaged,
    key_of,
    lean_but_tip,
    log_of,
    public_key_of,
    rewritten,
    stripped,
)

_LOG = log_of("ann", 6)
_STATE = LogState(_LOG[0].log, public_key_of("ann"), _LOG[-1].head)


def _faults(rows: list[Entry | BadRow], state: LogState = _STATE, mesh_id: bytes = MESH) -> list[tuple[int, str]]:
    return [(fault.seq, fault.sentence) for fault in audit(mesh_id, state, rows)]


def test_whole_log_has_no_fault() -> None:
    assert _faults([*_LOG]) == []
    assert _faults([*lean_but_tip(_LOG)]) == []


def test_pruned_log_has_no_fault() -> None:
    pruned = replace(_STATE, pruned_to=3)
    assert _faults([*_LOG[3:]], pruned) == []
    assert _faults([*_LOG[4:]], pruned) == [(3, "entries 3 to 3 are missing")]


def _with(seq: int, change: Callable[[Entry], Entry | BadRow]) -> list[Entry | BadRow]:
    return [change(each) if each.seq == seq else each for each in _LOG]


@pytest.mark.parametrize(
    ("rows", "seq", "sentence"),
    [
        ([*_LOG[:2], *_LOG[4:]], 2, "entries 2 to 3 are missing"),
        (_with(2, lambda e: BadRow(e.log, e.seq)), 2, "the stored bytes are damaged"),
        (_with(2, lambda e: e._replace(signature=damaged(e.signature))), 2, "its signature is wrong"),
        (_with(0, stripped), 0, "its signature is missing"),
        (_with(5, stripped), 5, "no later signature vouches for it"),
        (_with(3, lambda e: rewritten(e, key_of("ann"))), 4, "its link is not the hash of the entry before it"),
        (_with(5, lambda e: rewritten(e, key_of("ann"))), 5, "the log does not end at its recorded head"),
        ([*_LOG[:5]], 5, "the log does not end at its recorded head"),
        ([], 5, "the log does not end at its recorded head"),
    ],
)
def test_fault_is_found_and_named(rows: list[Entry | BadRow], seq: int, sentence: str) -> None:
    assert _faults(rows) == [(seq, sentence)]


def test_log_of_another_mesh_is_all_faults() -> None:
    assert len(_faults([*_LOG], mesh_id=OTHER_MESH)) == len(_LOG)


def test_no_signature_vouches_over_a_break() -> None:
    lean = lean_but_tip(_LOG)
    assert _faults([*lean[:3], BadRow(_STATE.log, 3), *lean[4:]]) == [
        (1, "no later signature vouches for it"),
        (3, "the stored bytes are damaged"),
    ]
    assert _faults([*lean[:3], *lean[4:]]) == [
        (3, "entries 3 to 3 are missing"),
        (1, "no later signature vouches for it"),
    ]


def test_log_that_does_not_begin_with_its_hello_is_found() -> None:
    no_hello = "the log does not begin with its hello"
    other = rewritten(_LOG[0], key_of("ann"), kind=Kind.RESULTS)
    assert _faults([other], replace(_STATE, head=other.head)) == [(0, no_hello)]
    other = rewritten(_LOG[0], key_of("ann"), payload=Pen("ann", epoch=1).greeting().payload())
    assert _faults([other], replace(_STATE, head=other.head)) == [(0, no_hello)]
    assert (0, no_hello) in _faults([*_LOG], replace(_STATE, public_key=public_key_of("bob")))


def _days() -> list[Entry]:
    """A log with an entry of another kind than results in each of its first places."""
    pen = Pen("ann")
    pen.hello()
    for _ in range(3):
        pen.write(Kind.EVENT, values([]))
    return pen.fill(6)


_DAYS = _days()
_PRUNED = replace(_STATE, head=_DAYS[-1].head, pruned_to=4)


def test_below_what_is_whole_entries_may_be_missing_but_each_must_be_signed() -> None:
    assert _faults([_DAYS[0], _DAYS[2], *_DAYS[4:]], _PRUNED) == []
    assert _faults([_DAYS[0], stripped(_DAYS[2]), *_DAYS[4:]], _PRUNED) == [(2, "its signature is missing")]
    wrong = _DAYS[2]._replace(signature=damaged(_DAYS[2].signature))
    assert _faults([_DAYS[0], wrong, *_DAYS[4:]], _PRUNED) == [(2, "its signature is wrong")]
    assert _faults([_DAYS[0], BadRow(_STATE.log, 2), *_DAYS[4:]], _PRUNED) == [(2, "the stored bytes are damaged")]


def test_neighbours_below_what_is_whole_must_be_linked() -> None:
    other = rewritten(_DAYS[1], key_of("ann"))
    assert _faults([_DAYS[0], other, _DAYS[2], *_DAYS[4:]], _PRUNED) == [
        (2, "its link is not the hash of the entry before it")
    ]
    other = rewritten(_DAYS[3], key_of("ann"))
    assert _faults([_DAYS[0], other, *_DAYS[4:]], _PRUNED) == [(4, "its link is not the hash of the entry before it")]


def test_log_of_which_nothing_is_whole_yet_has_no_fault() -> None:
    begun = replace(_STATE, head=_DAYS[3].head, pruned_to=4)
    assert _faults([_DAYS[0], _DAYS[2]], begun) == []
    assert _faults([_DAYS[0], _DAYS[3]], begun) == []
    other = rewritten(_DAYS[3], key_of("ann"))
    assert _faults([_DAYS[0], other], begun) == [(3, "the log does not end at its recorded head")]


def test_results_below_what_is_whole_are_found() -> None:
    assert _faults([_DAYS[0], *_DAYS[4:]], replace(_PRUNED, pruned_to=5)) == [
        (4, "it holds results, which are not kept here")
    ]


def test_below_what_is_whole_nothing_else_vouches_for_a_rollup() -> None:
    pen = Pen("ann")
    pen.hello()
    pen.write(Kind.ROLLUP, values([]))
    entries = pen.fill(4)
    lean = [entries[0], stripped(entries[1]), *entries[2:]]
    state = replace(_STATE, head=entries[-1].head)
    assert _faults([*lean], state) == []
    assert _faults([*lean], replace(state, pruned_to=2)) == [(1, "its signature is missing")]
