"""What the mesh says of a check, for every small number of vantages."""

from collections.abc import Iterator
from itertools import product

import pytest

from demesh.log.plan import QUORUM_ALL, QUORUM_MAJORITY
from demesh.view.verdict import Tally, Verdict, tally
from demesh.view.vote import Vote

_QUORUMS = {"any": 1, "two": 2, "three": 3, "more than there are": 9, "majority": QUORUM_MAJORITY, "all": QUORUM_ALL}


def _tallies(quorum: int) -> Iterator[Tally]:
    for passes, fails, unseen in product(range(5), repeat=3):
        yield tally([Vote.UNSEEN] * unseen + [Vote.FAIL] * fails + [Vote.PASS] * passes, quorum)


@pytest.mark.parametrize(
    ("quorum", "needed"),
    [
        ("any", [1, 1, 1, 1, 1, 1]),
        ("two", [1, 1, 2, 2, 2, 2]),
        ("three", [1, 1, 2, 3, 3, 3]),
        ("more than there are", [1, 1, 2, 3, 4, 5]),
        ("majority", [1, 1, 2, 2, 3, 3]),
        ("all", [1, 1, 2, 3, 4, 5]),
    ],
)
def test_the_quorum_is_counted_over_all_assigned_vantages(quorum: str, needed: list[int]) -> None:
    for vote in Vote:
        assert [tally([vote] * assigned, _QUORUMS[quorum]).quorum for assigned in range(6)] == needed


@pytest.mark.parametrize("quorum", _QUORUMS)
def test_every_small_tally_has_the_verdict_that_is_documented(quorum: str) -> None:
    for each in _tallies(_QUORUMS[quorum]):
        if each.passes == each.fails == each.unseen == 0:
            expected = Verdict.UNKNOWN
        elif each.fails >= each.quorum:
            expected = Verdict.DOWN
        elif each.fails > 0:
            expected = Verdict.PARTIAL
        elif each.unseen < each.quorum:
            expected = Verdict.UP
        else:
            expected = Verdict.UNKNOWN
        assert each.verdict == expected, each


@pytest.mark.parametrize(
    ("votes", "quorum", "expected"),
    [
        ("", "majority", "unknown"),
        ("P", "majority", "up"),
        ("F", "majority", "down"),
        (".", "majority", "unknown"),
        ("PF", "majority", "partial"),
        ("FF", "majority", "down"),
        ("P.", "majority", "up"),
        ("F.", "majority", "partial"),
        ("PPF", "majority", "partial"),
        ("PFF", "majority", "down"),
        ("P..", "majority", "unknown"),
        ("PP.", "majority", "up"),
        ("PF.", "majority", "partial"),
        ("PPF", "any", "down"),
        ("PP.", "any", "unknown"),
        ("PPP", "any", "up"),
        ("PFF", "all", "partial"),
        ("P..", "all", "up"),
        ("...", "all", "unknown"),
        ("FFF", "all", "down"),
        ("PPFF", "two", "down"),
        ("PPPF", "two", "partial"),
        ("F", "two", "down"),
    ],
)
def test_verdicts_that_people_rely_on(votes: str, quorum: str, expected: str) -> None:
    meant = {"P": Vote.PASS, "F": Vote.FAIL, ".": Vote.UNSEEN}
    assert tally([meant[vote] for vote in votes], _QUORUMS[quorum]).verdict == expected


@pytest.mark.parametrize("quorum", _QUORUMS)
def test_recovery_is_proven_only_if_no_answer_of_the_unseen_could_make_it_down(quorum: str) -> None:
    for each in _tallies(_QUORUMS[quorum]):
        could_be_down = any(
            Tally(each.passes + each.unseen - failing, each.fails + failing, 0, each.quorum).verdict == Verdict.DOWN
            for failing in range(each.unseen + 1)
        )
        assert each.proves_not_down == (each.passes > 0 and not could_be_down), each


@pytest.mark.parametrize("quorum", _QUORUMS)
def test_a_failure_is_always_visible_and_what_nobody_saw_is_never_up(quorum: str) -> None:
    for each in _tallies(_QUORUMS[quorum]):
        if each.fails:
            assert each.verdict in (Verdict.DOWN, Verdict.PARTIAL)
        if not each.passes:
            assert each.verdict != Verdict.UP
            assert not each.proves_not_down
