"""Whose clock is off, by the others'."""

from demesh.view.clocks import can_tell_who, deviations_ms


def test_off_is_who_is_away_from_the_middle() -> None:
    assert deviations_ms({b"a": 1_000, b"b": 1_200, b"c": 3_601_000}) == {b"a": -200, b"b": 0, b"c": 3_599_800}


def test_one_that_is_years_off_does_not_move_the_middle() -> None:
    found = deviations_ms({b"a": 0, b"b": 0, b"c": 0, b"d": 10**12})
    assert [found[key] for key in (b"a", b"b", b"c")] == [0, 0, 0]


def test_of_two_it_is_not_known_who() -> None:
    found = deviations_ms({b"a": 0, b"b": 9_000})
    assert found == {b"a": -9_000, b"b": 9_000}
    assert not can_tell_who(found)


def test_one_alone_has_nobody_to_compare_with() -> None:
    assert deviations_ms({b"a": 9}) == {}
