"""Who vanished together, and who is silent by itself."""

from hypothesis import given
from hypothesis import strategies as st

from demesh import limits
from demesh.view.vanished import Gone, Vanished

_A, _B, _C = b"a", b"b", b"c"
_NEXT_MS = 25_000


def _gone(heard_ms: int, *, suspect: bool = False) -> Gone:
    return Gone(heard_ms, _NEXT_MS, suspect)


def test_one_that_is_silent_is_alone() -> None:
    vanished = Vanished()
    vanished.look({_A: _gone(0)}, (), 35_000)
    assert (vanished.alone, vanished.together) == ({_A}, {})


def test_those_last_heard_at_about_one_time_vanished_together() -> None:
    vanished = Vanished()
    vanished.look({_A: _gone(0), _B: _gone(12_500), _C: _gone(40_000)}, (), 80_000)
    assert vanished.together == {_A: 80_000, _B: 80_000}
    assert vanished.alone == {_C}


def test_one_waits_while_another_that_may_follow_is_suspect() -> None:
    vanished = Vanished()
    vanished.look({_A: _gone(0), _B: _gone(9_000, suspect=True)}, (), 35_000)
    assert (vanished.alone, vanished.together) == (set(), {})
    vanished.look({_A: _gone(0), _B: _gone(9_000)}, (), 44_000)
    assert vanished.together.keys() == {_A, _B}


def test_a_suspicion_that_ends_well_leaves_the_other_alone() -> None:
    vanished = Vanished()
    vanished.look({_A: _gone(0), _B: _gone(9_000, suspect=True)}, (), 35_000)
    vanished.look({_A: _gone(0)}, (), 36_000)
    assert vanished.alone == {_A}


def test_the_last_of_those_that_vanished_together_is_gone_by_itself() -> None:
    vanished = Vanished()
    vanished.look({_A: _gone(0), _B: _gone(0), _C: _gone(0)}, (), 35_000)
    vanished.look({_B: _gone(0), _C: _gone(0)}, (), 60_000)
    assert (vanished.alone, vanished.together.keys()) == (set(), {_B, _C})
    vanished.look({_B: _gone(0)}, (), 70_000)
    assert (vanished.alone, vanished.together) == ({_B}, {})


def test_who_vanishes_while_others_are_long_gone_is_told_of_by_itself() -> None:
    vanished = Vanished()
    vanished.look({_A: _gone(0), _B: _gone(0)}, (), 35_000)
    later_ms = 36_000 + limits.PARTITION_VOTES_MS
    vanished.look({_A: _gone(0), _B: _gone(0), _C: _gone(later_ms), b"d": _gone(later_ms)}, (), later_ms + 35_000)
    assert (vanished.alone, vanished.together.keys()) == ({_C, b"d"}, {_A, _B})


def test_who_was_told_of_alone_stays_so_when_another_follows() -> None:
    vanished = Vanished()
    vanished.look({_A: _gone(0)}, (), 35_000)
    vanished.look({_A: _gone(0), _B: _gone(10_000)}, (), 46_000)
    assert vanished.alone == {_A, _B}


def test_after_a_restart_what_was_told_is_not_told_otherwise() -> None:
    vanished = Vanished()
    vanished.restore([_A], [_B], 0)
    vanished.look({}, [_A, _B], 10_000)
    assert (vanished.together.keys(), vanished.alone) == ({_A}, {_B}), "nobody is silent yet, and nobody was heard"
    vanished.look({_A: _gone(0), _B: _gone(0), _C: _gone(0)}, (), 60_000)
    assert vanished.together.keys() == {_A, _C}
    assert vanished.alone == {_B}


_EVENTS = st.lists(st.tuples(st.sampled_from([_A, _B, _C]), st.integers(0, 60_000), st.booleans(), st.booleans()))


@given(_EVENTS)
def test_nobody_is_both_and_only_who_is_silent_is_either(events: list[tuple[bytes, int, bool, bool]]) -> None:
    vanished, gone = Vanished(), dict[bytes, Gone]()
    for now_ms, (key, heard_ms, suspect, back) in enumerate(events):
        if back:
            gone.pop(key, None)
        else:
            gone[key] = _gone(heard_ms, suspect=suspect)
        vanished.look(gone, (), now_ms)
        silent = {each for each, found in gone.items() if not found.suspect}
        assert vanished.alone.isdisjoint(vanished.together)
        assert vanished.alone | vanished.together.keys() <= silent
