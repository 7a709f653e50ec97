"""When a network is built anew: soon, then seldom, never too often, and for ever once it ran."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh import limits
from demesh.mesh.supervision import Supervision

BAD = "It accepts no connections."


def _delays(supervision: Supervision, times: int, lived_seconds: float = 0, chance: float = 0) -> list[float]:
    """The delays of a network that dies again and again, each time after `lived_seconds`."""
    now, delays = 0.0, list[float]()
    for _ in range(times):
        supervision.started(now)
        now += lived_seconds
        delay = supervision.died(now, "It died.", chance)
        assert delay is not None
        delays.append(delay)
        now += delay
    return delays


def test_what_never_ran_is_given_up() -> None:
    assert Supervision().died(0, "The port is taken.", 0) is None


def test_what_ran_once_is_never_given_up() -> None:
    supervision = Supervision()
    supervision.started(0)
    for now in range(1_000):
        assert supervision.died(now, "The port is taken.", 0.5) is not None


def test_the_delay_doubles_up_to_its_bound() -> None:
    delays = _delays(Supervision(), 12)
    assert delays[:4] == [0.5, 1, 2, 4]
    assert delays == sorted(delays)
    assert delays[-1] == limits.NETWORK_REBUILD_SECONDS_MAX


def test_a_network_that_ran_for_long_is_back_at_once() -> None:
    supervision = Supervision()
    _delays(supervision, 12)
    assert _delays(supervision, 3, limits.NETWORK_STEADY_SECONDS) == [limits.NETWORK_REBUILD_SECONDS_MIN] * 3


@given(chance=st.floats(0, 1, exclude_max=True), deaths=st.integers(1, 2_000))
def test_chance_takes_a_delay_short_by_half_at_most(chance: float, deaths: int) -> None:
    full = _delays(Supervision(), deaths)[-1]
    assert full / 2 <= _delays(Supervision(), deaths, chance=chance)[-1] <= full


def test_its_condition_says_since_when_and_why() -> None:
    supervision = Supervision()
    supervision.started(0)
    assert (supervision.condition(5).down_ms, supervision.condition(5).died_ago_ms) == (None, None)
    supervision.died(10, "It died.", 0)
    supervision.died(13, "The port is taken.", 0)
    down = supervision.condition(15)
    assert (down.rebuilds, down.down_ms, down.died_ago_ms, down.problem) == (0, 5_000, 2_000, "The port is taken.")
    assert supervision.started(16) == 6
    up = supervision.condition(20)
    assert (up.rebuilds, up.down_ms, up.died_ago_ms, up.problem) == (1, None, 7_000, "The port is taken.")


def test_one_bad_examination_is_no_death_and_three_in_a_row_are() -> None:
    supervision = Supervision()
    for problem in ("", BAD, BAD, "", BAD, BAD):
        assert not supervision.examined(problem)
    assert supervision.examined(BAD)


def test_what_never_passed_an_examination_is_not_found_dead() -> None:
    supervision = Supervision()
    assert not any(supervision.examined(BAD) for _ in range(100))


@pytest.mark.parametrize("earlier", [1, limits.NETWORK_EXAMINATIONS_FAILED_MAX - 1])
def test_a_network_that_was_built_anew_is_judged_anew(earlier: int) -> None:
    supervision = Supervision()
    supervision.examined("")
    for _ in range(earlier):
        supervision.examined(BAD)
    supervision.started(0)
    assert not supervision.examined(BAD)


def test_network_that_was_built_anew_and_never_passes_is_not_built_without_end() -> None:
    """It passed before: since then something on the machine keeps it from reaching itself."""
    supervision = Supervision()
    supervision.started(0)
    assert not supervision.examined("")
    supervision.died(10, "It accepts no connections.", 0)
    supervision.started(11)
    assert not any(supervision.examined("It accepts no connections.") for _ in range(10))
