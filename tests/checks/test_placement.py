"""Who runs a check with spread: the choice as properties, and how slowly a node follows it."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from demesh import limits
from demesh.checks.placement import Candidate, Damping, chosen, takeover_ms, wish
from tests.log.builders import generated

_DEFINITION = b"d" * 16
_KEYS = st.lists(st.binary(min_size=32, max_size=32), max_size=20, unique=True)
_DEFINITIONS = st.binary(min_size=16, max_size=16)


def _candidates(keys: Sequence[bytes], spread: int) -> list[Candidate]:
    return [Candidate(key, spread, runs=False) for key in keys]


@generated
@given(_KEYS, st.integers(1, 25), _DEFINITIONS, st.randoms(use_true_random=False))
def test_as_many_as_asked_for_are_chosen_whatever_the_order_in_which_they_are_seen(
    keys: list[bytes], spread: int, definition: bytes, random
) -> None:
    seen = _candidates(keys, spread)
    first = chosen(definition, seen)
    random.shuffle(seen)
    assert chosen(definition, seen) == first
    assert len(first) == min(spread, len(keys))
    assert first <= set(keys)


@generated
@given(_KEYS.filter(bool), st.integers(1, 25), _DEFINITIONS)
def test_who_comes_or_goes_moves_nothing_but_its_own_place(keys: list[bytes], spread: int, definition: bytes) -> None:
    newcomer, *others = keys
    before = chosen(definition, _candidates(others, spread))
    after = chosen(definition, _candidates(keys, spread))
    assert len(before - after) <= 1
    assert after - before <= {newcomer}
    if newcomer not in after:
        assert after == before


def test_checks_are_spread_over_the_members_and_not_heaped_on_some() -> None:
    keys = [bytes([n]) * 32 for n in range(10)]
    counts = dict.fromkeys(keys, 0)
    for n in range(1_000):
        for key in chosen(n.to_bytes(16), _candidates(keys, 3)):
            counts[key] += 1
    assert min(counts.values()) > 240
    assert max(counts.values()) < 360


def test_each_member_is_held_to_the_number_in_its_own_plan() -> None:
    keys = [bytes([n]) * 32 for n in range(6)]
    last = next(key for key in keys if chosen(_DEFINITION, _candidates(keys, 5)) == frozenset(keys) - {key})
    assert chosen(_DEFINITION, [Candidate(key, 1 if key == last else 6, runs=False) for key in keys]) == set(keys) - {
        last
    }


@generated
@given(_KEYS.filter(bool), st.integers(1, 25), st.data())
def test_nobody_stops_before_all_who_are_chosen_say_that_they_run_it(keys: list[bytes], spread: int, data) -> None:
    candidates = [replace(each, runs=data.draw(st.booleans())) for each in _candidates(keys, spread)]
    keep = [
        each for each in candidates if wish(_DEFINITION, each, [other for other in candidates if other.key != each.key])
    ]
    assert {each.key for each in keep} >= chosen(_DEFINITION, candidates)
    stopping = [each for each in candidates if each.runs and each not in keep]
    assert not stopping or sum(each.runs for each in keep) >= min(spread, len(keys))


_KEY = ("web", _DEFINITION)


def _due(damping: Damping, wanted: bool, runs: bool, now_ms: int) -> bool:
    return _KEY in damping.due({_KEY: wanted}, {_KEY: runs}, now_ms)


def test_a_wish_is_followed_once_it_has_stood_for_a_while() -> None:
    for wanted, settled_ms in ((True, limits.SPREAD_TAKE_OVER_MS), (False, limits.SPREAD_HAND_BACK_MS)):
        damping = Damping()
        assert not _due(damping, wanted, not wanted, 1_000)
        assert not _due(damping, wanted, not wanted, 1_000 + settled_ms - 1)
        assert _due(damping, wanted, not wanted, 1_000 + settled_ms)


def test_a_wish_that_lapsed_meanwhile_stands_anew() -> None:
    damping = Damping()
    assert not _due(damping, True, False, 0)
    assert not _due(damping, False, False, limits.SPREAD_TAKE_OVER_MS - 1)
    assert not _due(damping, True, False, limits.SPREAD_TAKE_OVER_MS)
    assert not _due(damping, True, False, 2 * limits.SPREAD_TAKE_OVER_MS - 1)
    assert _due(damping, True, False, 2 * limits.SPREAD_TAKE_OVER_MS)


def test_the_time_until_somebody_takes_over_is_told() -> None:
    assert takeover_ms(10_000) == (2 * 10_000 + 5_000 + 10_000) + 10_000 + 2_000
