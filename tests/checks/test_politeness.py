"""No host is crowded, blocking types have pools of their own, and what answers goes first. Virtual time."""

from collections import Counter
from itertools import pairwise

import pytest
import trio

from demesh import limits
from demesh.checks.check import Check
from demesh.checks.politeness import Standing, host_of
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec
from tests.checks.bench import Bench, at_once, check_of, hang, taking


def _most_within(turn_ms: int, began_ms: list[int]) -> int:
    """The most starts in any time of `turn_ms`, its end not included."""
    return max(sum(0 <= later - first < turn_ms for later in began_ms[n:]) for n, first in enumerate(began_ms))


@pytest.mark.trio
async def test_one_host_gets_few_probes_at_a_time_and_the_others_wait_for_nothing(autojump_clock: object) -> None:
    count = 6 * limits.HOST_PLACES_MAX
    bench = Bench(taking(0.2))
    crowd = [check_of(f"crowd{n}", target=f"https://crowd.example.net/{n}", interval_ms=1_000) for n in range(count)]
    async with bench.running(*crowd, check_of("web", interval_ms=1_000)):
        await trio.sleep(1.2)
    assert bench.in_flight_max <= int(limits.HOST_PLACES_MAX * limits.UNPROVEN_SHARE) + 1
    assert bench.ended_ms(count)[0] < 750
    assert max(run.lateness_ms for run in bench.runs) > 300


@pytest.mark.trio
async def test_starts_at_one_host_keep_their_distance(autojump_clock: object) -> None:
    bench = Bench(at_once)
    async with bench.running(
        *(check_of(f"n{n}", target=f"tcp://db.example.net:{n}", interval_ms=1_000) for n in range(1, 40))
    ):
        await trio.sleep(0.999)
    gaps_ms = [after - before for before, after in pairwise(bench.began_ms())]
    assert len(gaps_ms) == 38
    assert min(gaps_ms) == limits.HOST_SPACING_MS


@pytest.mark.trio
@pytest.mark.parametrize(
    ("type_", "most"), [("command", limits.COMMAND_PLACES_MAX), ("python", limits.PLUGIN_PLACES_MAX)]
)
async def test_blocking_types_have_a_smaller_pool_and_starve_nobody(
    autojump_clock: object, type_: str, most: int
) -> None:
    async def probe(spec: ProbeSpec) -> ProbeResult:
        return await (taking(30) if spec.type == type_ else at_once)(spec)

    bench = Bench(probe)
    blocking = [check_of(f"slow{n}", type=type_, target=f"//slow{n}", timeout_ms=60_000) for n in range(300)]
    async with bench.running(*blocking, check_of("web", interval_ms=1_000)):
        await trio.sleep(20)
    assert _most_within(limits.BLOCKING_TURN_MS, bench.began_ms("slow")) == int(most * limits.UNPROVEN_SHARE)
    assert len(bench.ended_ms(300)) >= 15
    assert all(run.lateness_ms == 0 for run in bench.runs if run.check == 300)


_POOLS = [
    ("command", limits.COMMAND_PLACES_MAX),
    ("python", limits.PLUGIN_PLACES_MAX),
    ("fake", limits.PROBE_PLACES_MAX),
]


async def _hung_or_quick(spec: ProbeSpec) -> ProbeResult:
    return await (hang if "hung" in spec.target else at_once)(spec)


def _hung(type_: str, count: int, **changed: object) -> list[Check]:
    return [
        check_of(f"hung{n}", type=type_, **({"timeout_ms": 15_000, "interval_ms": 15_000} | changed))
        for n in range(count)
    ]


@pytest.mark.trio
@pytest.mark.parametrize("type_", ["command", "python"])
async def test_twenty_that_hang_from_the_start_do_not_delay_a_quick_one(autojump_clock: object, type_: str) -> None:
    bench = Bench(_hung_or_quick)
    async with bench.running(check_of("quick", type=type_, interval_ms=2_000), *_hung(type_, 20)):
        late = check_of("late", type=type_, interval_ms=2_000)
        await trio.sleep(6)
        bench.runner.set_checks(dict(enumerate([*(each.check for each in bench.runner._scheduled.values()), late])))
        await trio.sleep(34)
    assert len(bench.began_ms("quick")) >= 18
    assert len(bench.began_ms("late")) >= 15
    assert all(run.lateness_ms == 0 for run in bench.runs if run.check in {0, 21})


@pytest.mark.trio
@pytest.mark.parametrize(("type_", "most"), _POOLS)
async def test_what_answers_waits_for_none_of_many_that_hang_in_their_first_runs(
    autojump_clock: object, type_: str, most: int
) -> None:
    bench = Bench(_hung_or_quick)
    quick = check_of("quick", type=type_, interval_ms=2_000)
    async with bench.running(quick):
        await trio.sleep(1)
        bench.runner.set_checks(dict(enumerate([quick, *_hung(type_, 3 * most)])))
        await trio.sleep(39)
    assert len(bench.began_ms("quick")) >= 18
    assert all(run.lateness_ms == 0 for run in bench.runs if run.check == 0)


@pytest.mark.trio
@pytest.mark.parametrize(("type_", "most"), _POOLS)
async def test_a_new_check_does_not_wait_for_those_known_to_hang(autojump_clock: object, type_: str, most: int) -> None:
    bench = Bench(_hung_or_quick)
    hung = _hung(type_, 3 * most)
    async with bench.running(*hung):
        await trio.sleep(90)
        bench.runner.set_checks(dict(enumerate([*hung, check_of("quick", type=type_)])))
        await trio.sleep(5)
    assert [run.lateness_ms for run in bench.runs if run.check == len(hung)] == [0]


@pytest.mark.trio
async def test_what_hangs_at_a_host_does_not_delay_what_answers_there(autojump_clock: object) -> None:
    bench = Bench(_hung_or_quick)
    host = "https://db.example.net"
    quick = check_of("quick", target=f"{host}/quick", interval_ms=2_000)
    hung = [check_of(f"n{n}", target=f"{host}/hung{n}", timeout_ms=15_000, interval_ms=15_000) for n in range(30)]
    async with bench.running(quick, *hung):
        await trio.sleep(120)
    lateness_ms = [run.lateness_ms for run in bench.runs if run.check == 0]
    assert len(lateness_ms) >= 50
    assert max(lateness_ms) <= limits.LATENESS_NOTED_MS + limits.HOST_SPACING_MS * limits.HOST_PLACES_MAX


@pytest.mark.trio
async def test_a_plugin_that_hangs_and_then_refuses_to_run_stays_among_those_that_hang(autojump_clock: object) -> None:
    runs: Counter[str] = Counter()

    async def probe(spec: ProbeSpec) -> ProbeResult:
        runs[spec.target] += 1
        if "hung" in spec.target and runs[spec.target] % 2 == 0:
            return ProbeResult(Outcome.ERROR, detail="an earlier run of it still hangs")
        return await _hung_or_quick(spec)

    bench = Bench(probe)
    async with bench.running(
        check_of("quick", type="python", interval_ms=2_000), *_hung("python", 4 * limits.PLUGIN_PLACES_MAX)
    ):
        await trio.sleep(300)
    lateness_ms = [run.lateness_ms for run in bench.runs if run.check == 0]
    assert len(lateness_ms) >= 130
    assert max(lateness_ms) == 0


@pytest.mark.parametrize("before", list(Standing))
def test_whoever_uses_up_its_time_counts_as_hanging_whatever_it_says_then(before: Standing) -> None:
    for outcome in Outcome:
        assert before.after(outcome, in_time=False) is Standing.TIMED_OUT
    assert before.after(Outcome.TIMEOUT, in_time=True) is Standing.TIMED_OUT
    assert before.after(Outcome.ERROR, in_time=True) is before
    for outcome in (Outcome.PASS, Outcome.FAIL, Outcome.MISMATCH):
        assert before.after(outcome, in_time=True) is Standing.ANSWERED


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("https://me:sesame@example.org:8443/health", "example.org"),
        ("tcp://[2001:db8::1]:22", "2001:db8::1"),
        ("http://192.0.2.1/", "192.0.2.1"),
        ("http://127.0.0.1:8080/", None),
        ("http://[::1]/", None),
        ("http://localhost/", None),
        ("http://app.localhost/", None),
        ("/usr/lib/nagios/plugins/check_disk", None),
        ("", None),
        ("http://[half", None),
    ],
)
def test_the_host_of_a_target_unless_it_is_this_machine(target: str, host: str | None) -> None:
    assert host_of(ProbeSpec("http", target, 1_000)) == host
