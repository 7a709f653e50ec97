"""Whether a node is cut off or the others are gone: the table, row by row."""

import pytest

from demesh import limits
from demesh.view.isolation import Isolation, Ran, Seen, vanished_ms
from demesh.view.presence import Presence

_LONG_AGO_MS = -10_000_000
_ALIVE, _AWAY = (Seen(each, 99_000, _LONG_AGO_MS) for each in (Presence.ALIVE, Presence.AWAY))
_SILENT = Seen(Presence.SILENT, 50_000, _LONG_AGO_MS)


def _targets(passed: int, failed: int, *, anchors: bool = False) -> list[Ran]:
    return [Ran(n < passed, f"198.51.{n}.0/24", anchors) for n in range(passed + failed)]


@pytest.mark.parametrize(
    ("others", "since"),
    [
        ([], None),
        ([_ALIVE, _ALIVE], None),
        ([_ALIVE, _SILENT], None),
        ([_SILENT], 50_000),
        ([_SILENT, _SILENT], 50_000),
        ([_ALIVE, _SILENT, _SILENT], 50_000),
        ([_ALIVE, _ALIVE, _SILENT, _SILENT], None),
        ([_SILENT, _AWAY], 50_000),
        ([_AWAY, _AWAY], None),
    ],
)
def test_half_of_those_that_were_there_or_fewer(others: list[Seen], since: int | None) -> None:
    assert vanished_ms(others) == since


def test_who_was_dead_long_before_is_not_counted() -> None:
    dead = Seen(Presence.SILENT, 50_000 - limits.STEADY_MS, _LONG_AGO_MS)
    assert vanished_ms([_ALIVE, _SILENT, dead]) is None
    assert vanished_ms([_ALIVE, _SILENT, _SILENT, dead]) == 50_000


def test_who_was_there_for_a_moment_only_is_not_counted() -> None:
    newcomer = Seen(Presence.SILENT, 50_000, 50_000 - limits.STEADY_MS + 1)
    never = Seen(Presence.SILENT, 50_000, None)
    assert vanished_ms([newcomer, never]) is None


@pytest.mark.parametrize(
    ("ran", "cut_off"),
    [
        (_targets(0, 1, anchors=True), True),
        (_targets(1, 3, anchors=True), False),
        (_targets(5, 0) + _targets(0, 2, anchors=True), True),
        (_targets(0, 9) + _targets(1, 0, anchors=True), False),
        (_targets(1, 3), True),
        (_targets(3, 3), False),
        (_targets(2, 0), False),
        (_targets(0, 2), False),
        ([Ran(False, "198.51.0.0/24")] * 9, False),
        ([], False),
    ],
    ids=[
        "all anchors fail",
        "one anchor passes",
        "anchors count for more than targets that pass",
        "and for more than those that fail",
        "most fail in three networks",
        "as many pass",
        "all pass",
        "two fail: too little to tell",
        "one network: too little to tell",
        "nothing ran",
    ],
)
def test_what_its_checks_say(ran: list[Ran], cut_off: bool) -> None:
    isolation = Isolation()
    isolation.look(50_000, ran, 85_000)
    assert isolation.cut_off is cut_off


def test_who_sees_the_others_is_not_cut_off_whatever_fails() -> None:
    isolation = Isolation()
    isolation.look(50_000, _targets(0, 9), 85_000)
    isolation.look(None, _targets(0, 9), 86_000)
    assert not isolation.cut_off


def test_it_stays_cut_off_until_something_says_otherwise() -> None:
    isolation = Isolation()
    isolation.look(50_000, _targets(0, 3), 85_000)
    isolation.look(50_000, [], 500_000)
    assert isolation.cut_off, "its results are errors now, and say nothing"
    isolation.look(50_000, _targets(1, 0), 501_000)
    assert not isolation.cut_off


def test_it_is_undecided_for_a_while_and_then_speaks() -> None:
    isolation = Isolation()
    isolation.look(50_000, _targets(0, 1), 85_000)
    assert isolation.undecided
    isolation.look(50_000, _targets(0, 1), 85_000 + limits.UNDECIDED_MS_MAX)
    assert not isolation.undecided
    assert not isolation.cut_off
