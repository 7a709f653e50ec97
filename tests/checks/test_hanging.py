"""However many checks hang, and of whatever kind, the others run within the times that `demesh.checks.politeness` states. Virtual
time."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
import trio

from demesh import limits
from demesh.checks.check import Check
from demesh.checks.politeness import Places, Standing
from demesh.outcome import ProbeResult
from demesh.probes.base import ProbeSpec
from tests.checks.bench import Bench, at_once, check_of, hang

_TIMEOUT_MS = 20_000
_INTERVAL_MS = 30_000
_FIRST_RUNS_MS = 2_500


@dataclass(frozen=True)
class _Kind:
    """Checks that share a pool, and the pool's bounds."""

    places: int
    lingering: int
    turn_ms: int
    type_: str = "fake"
    host: str | None = None

    def check(self, name: str, **changed: object) -> Check:
        target = f"https://{self.host or name + '.example.net'}/{name}"
        given = {"type": self.type_, "target": target, "timeout_ms": _TIMEOUT_MS, "interval_ms": _INTERVAL_MS}
        return check_of(name, **(given | changed))

    def hung(self, count: int) -> list[Check]:
        return [self.check(f"hung{n}") for n in range(count)]

    def first_delay_ms(self, hung: int) -> float:
        """The longest that so many that hang may delay a first run."""
        delay_ms = hung * self.turn_ms / int(self.places * limits.UNPROVEN_SHARE) + self.turn_ms
        if hung > self.lingering:
            delay_ms += hung * (_TIMEOUT_MS + 500) / (int(self.places * limits.UNPROVEN_SHARE) + self.lingering)
        return delay_ms


_HTTP = _Kind(limits.PROBE_PLACES_MAX, limits.PROBES_LINGERING_MAX, limits.PROBE_TURN_MS)
_COMMAND = _Kind(limits.COMMAND_PLACES_MAX, limits.COMMANDS_LINGERING_MAX, limits.BLOCKING_TURN_MS, "command")
_PLUGIN = _Kind(limits.PLUGIN_PLACES_MAX, limits.PLUGINS_LINGERING_MAX, limits.BLOCKING_TURN_MS, "python")
_SAME_HOST = _Kind(limits.HOST_PLACES_MAX, limits.HOST_LINGERING_MAX, limits.PROBE_TURN_MS, "fake", "one.example.net")
_KINDS = [
    pytest.param(_HTTP, 8, id="socket"),
    pytest.param(_COMMAND, 6, id="command"),
    pytest.param(_PLUGIN, 12, id="plugin"),
    pytest.param(_SAME_HOST, 24, id="host"),
]


async def _hung_or_quick(spec: ProbeSpec) -> ProbeResult:
    return await (hang if "hung" in spec.target else at_once)(spec)


def _are_on_the_grid(ended_ms: list[int], allowance_ms: int) -> bool:
    """Whether every run came an interval after the one before, a walk to its place included."""
    gaps_ms = [after - before for before, after in pairwise(ended_ms)]
    return all(_INTERVAL_MS - allowance_ms <= gap_ms <= _INTERVAL_MS * 9 // 8 + allowance_ms for gap_ms in gaps_ms)


@pytest.mark.trio
@pytest.mark.parametrize(("kind", "times"), _KINDS)
async def test_a_first_run_behind_many_that_hang_comes_within_the_stated_time_and_the_next_ones_on_the_grid(
    autojump_clock: object, kind: _Kind, times: int
) -> None:
    hung = kind.hung(times * kind.places)
    assert len(hung) <= kind.lingering
    bench = Bench(_hung_or_quick)
    async with bench.running(*hung, kind.check("quick")):
        await trio.sleep(300)
    first, *later = [run for run in bench.runs if run.check == len(hung)]
    assert first.lateness_ms <= kind.first_delay_ms(len(hung))
    assert len(later) >= 7
    assert max(run.lateness_ms for run in later) <= (200 if kind.host else 0)  # the distance between starts at a host
    assert _are_on_the_grid(bench.ended_ms(len(hung))[1:], 200 if kind.host else 0)


@pytest.mark.trio
@pytest.mark.parametrize("kind", [_COMMAND, _PLUGIN, _SAME_HOST], ids=["command", "plugin", "host"])
async def test_more_that_hang_than_may_linger_delay_a_first_run_by_their_share_of_a_timeout(
    autojump_clock: object, kind: _Kind
) -> None:
    hung = kind.hung(3 * kind.lingering)
    bench = Bench(_hung_or_quick)
    bound_ms = kind.first_delay_ms(len(hung))
    async with bench.running(*hung, kind.check("quick")):
        await trio.sleep((_FIRST_RUNS_MS + bound_ms) / 1_000 + 120)
    first, *later = [run for run in bench.runs if run.check == len(hung)]
    assert _TIMEOUT_MS / 2 <= first.lateness_ms <= bound_ms
    assert len(later) >= 3
    assert max(run.lateness_ms for run in later) <= (200 if kind.host else 0)


@pytest.mark.trio
@pytest.mark.parametrize(("kind", "times"), _KINDS)
async def test_what_answered_waits_for_none_of_those_that_begin_to_hang_in_their_first_runs(
    autojump_clock: object, kind: _Kind, times: int
) -> None:
    bench = Bench(_hung_or_quick)
    quick = kind.check("quick", interval_ms=1_000)
    async with bench.running(quick):
        await trio.sleep(0.5)
        bench.runner.set_checks(dict(enumerate([quick, *kind.hung(times * kind.places)])))
        await trio.sleep(60)
    runs = [run for run in bench.runs if run.check == 0]
    assert len(runs) >= 53
    assert max(run.lateness_ms for run in runs) <= (200 if kind.host else 0)


@pytest.mark.trio
async def test_hundreds_that_answered_and_hang_at_once_delay_each_other_by_a_turn_for_each_poolful(
    autojump_clock: object,
) -> None:
    hanging = False

    async def probe(spec: ProbeSpec) -> ProbeResult:
        return await (hang if hanging and "turns" in spec.target else at_once)(spec)

    bench = Bench(probe)
    many = 4 * limits.PROBE_PLACES_MAX
    async with bench.running(
        *(_HTTP.check(f"turns{n}", interval_ms=1_000) for n in range(many)), _HTTP.check("quick", interval_ms=1_000)
    ):
        await trio.sleep(20)
        hanging = True
        bench.runs.clear()
        await trio.sleep(60)
    lateness_ms = [run.lateness_ms for run in bench.runs if run.check == many]
    assert len(lateness_ms) >= 53
    assert max(lateness_ms) <= 4 * limits.PROBE_TURN_MS


def _descriptors_for(lingering: int) -> int:
    at_work = limits.PROBE_PLACES_MAX + limits.OTHER_ADDRESSES_MAX
    return limits.DESCRIPTORS_KEPT + limits.PROBE_DESCRIPTORS_MAX * (at_work + lingering)


@pytest.mark.parametrize("lingering", [0, 10])
def test_no_more_linger_than_there_are_descriptors_for(lingering: int) -> None:
    places = Places[int](_descriptors_for(lingering))
    claims = [places.ask(n, "http", None, Standing.ANSWERED, 0) for n in range(1_000)]
    at_ms = 0
    while (next_ms := places.turn_over_ms) < float("inf"):
        assert next_ms > at_ms
        places.turn_over(at_ms := int(next_ms))
    begun = [claim for claim in claims if claim.begins_ms is not None]
    assert len(begun) == limits.PROBE_PLACES_MAX + lingering
    ended = [begun[-1], begun[0]]
    admitted = [claim for each in ended for claim in places.leave(each, at_ms)]
    assert [claim.run for claim in admitted] == [len(begun), len(begun) + 1]


def test_whoever_waits_no_more_is_not_begun() -> None:
    places = Places[int](_descriptors_for(0))
    claims = [places.ask(n, "http", None, Standing.ANSWERED, 0) for n in range(limits.PROBE_PLACES_MAX + 2)]
    *_, gone, next_ = claims
    assert places.leave(gone, 1) == []
    assert places.leave(claims[0], 2) == [next_]
