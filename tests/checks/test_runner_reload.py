"""A runner takes other checks while it runs. Virtual time."""

from dataclasses import replace

import pytest
import trio
import trio.testing

from demesh import limits
from demesh.checks.politeness import Standing
from demesh.checks.runner import Run
from demesh.outcome import ProbeResult
from demesh.probes.base import ProbeSpec
from tests.checks.bench import PASSED, Bench, at_once, check_of, hang, taking


@pytest.mark.trio
async def test_checks_that_stayed_keep_their_slots(autojump_clock: object) -> None:
    bench = Bench(at_once)
    web, api = check_of("web"), check_of("api")
    async with bench.running(web, api):
        await trio.sleep(90)
        bench.runner.set_checks({7: web})
        await trio.sleep(100)
    assert bench.began_ms("web") == [0, 60_000, 120_000, 180_000]
    assert bench.ended_ms(7) == [120_000, 180_000]
    assert max(bench.began_ms("api")) < 90_000


@pytest.mark.trio
async def test_what_is_made_of_a_result_may_change_without_disturbing_the_check(autojump_clock: object) -> None:
    bench = Bench(at_once, turning=lambda run: len(bench.runs) == 2)
    web = check_of("web")
    async with bench.running(web):
        await trio.sleep(30)
        bench.runner.set_checks({0: replace(web, severity="warning", retry_interval_ms=5_000)})
        await trio.sleep(60)
    assert bench.began_ms() == [0, 60_000, 65_000]


@pytest.mark.trio
async def test_a_run_under_way_goes_on_and_reports_under_the_new_key(autojump_clock: object) -> None:
    bench = Bench(taking(8))
    web = check_of("web")
    async with bench.running(web):
        await trio.sleep(4)
        bench.runner.set_checks({3: web})
        await trio.sleep(10)
    assert [(run.check, run.result) for run in bench.runs] == [(3, PASSED)]


@pytest.mark.trio
async def test_a_check_that_was_taken_out_ends_at_once_and_reports_no_more(autojump_clock: object) -> None:
    ended: list[str] = []

    async def probe(spec: ProbeSpec) -> ProbeResult:
        try:
            return await hang(spec)
        except trio.Cancelled:
            ended.append(spec.target)
            return PASSED  # too late: nobody wants to know

    bench = Bench(probe)
    async with bench.running(check_of("web")):
        await trio.testing.wait_all_tasks_blocked()
        bench.runner.set_checks({})
        await trio.testing.wait_all_tasks_blocked()
        assert len(ended) == 1
        await trio.sleep(300)
    assert bench.runs == []
    assert len(bench.began) == 1


@pytest.mark.trio
async def test_a_check_that_was_taken_out_when_it_was_just_due_does_not_begin(autojump_clock: object) -> None:
    bench = Bench(hang)
    async with bench.running(check_of("web"), check_of("next")):
        await trio.testing.wait_all_tasks_blocked()
        due = bench.runner._scheduled["next"]
        claim = bench.runner._places.ask(due, "fake", None, Standing.NEW, 0)
        bench.runner.set_checks({})
        with trio.fail_after(1):
            await bench.runner._run(due, claim)
    assert bench.began_ms("next") == []


@pytest.mark.trio
async def test_a_host_is_not_crowded_by_taking_the_same_checks_again(autojump_clock: object) -> None:
    bench = Bench(hang)
    most = int(limits.HOST_PLACES_MAX * limits.UNPROVEN_SHARE)
    crowd = [check_of(f"n{n}", target=f"https://crowd.example.net/{n}", interval_ms=1_000) for n in range(most)]
    more = [
        replace(check, name=f"more{n}", probe=replace(check.probe, timeout_ms=50_000)) for n, check in enumerate(crowd)
    ]
    async with bench.running(*crowd):
        await trio.sleep(0.5)
        bench.runner.set_checks(dict(enumerate([*crowd, *more])))
        await trio.sleep((limits.PROBE_TURN_MS - 60) / 1_000)
        assert len(bench.began) <= most + 4  # those whose turn was over
        await trio.sleep(1)
    assert len(bench.began) == 2 * most


@pytest.mark.trio
async def test_a_check_that_was_taken_out_while_it_waited_for_a_place_leaves_the_others_in_line(
    autojump_clock: object,
) -> None:
    bench = Bench(taking(0.2))
    crowd = [check_of(f"n{n}", target=f"https://crowd.example.net/{n}", interval_ms=1_000) for n in range(60)]
    async with bench.running(*crowd):
        await trio.sleep(0.51)
        kept = {n: check for n, check in enumerate(crowd) if n % 2}
        begun = len(bench.began)
        assert begun < 30
        bench.runner.set_checks(kept)
        await trio.sleep(2.4)
    assert {run.check for run in bench.runs} >= kept.keys()
    assert len({target for target, _ in bench.began}) <= begun + 30


@pytest.mark.trio
@pytest.mark.parametrize(
    "changed",
    [{"timeout_ms": 9_000}, {"interval_ms": 30_000}, {"target": "https://web.example.net/other"}],
)
async def test_a_check_that_asks_otherwise_starts_anew(autojump_clock: object, changed: dict[str, object]) -> None:
    bench = Bench(taking(30))
    async with bench.running(check_of("web", timeout_ms=40_000)):
        await trio.sleep(10)
        bench.runner.set_checks({0: check_of("web", **changed)})
        await trio.sleep(1)
    assert bench.began_ms() == [0, 10_000]
    assert bench.runs == []


@pytest.mark.trio
async def test_new_checks_answer_soon_and_not_all_at_once(autojump_clock: object) -> None:
    bench = Bench(at_once)
    web = check_of("web")
    async with bench.running(web):
        await trio.sleep(17)
        bench.runner.set_checks({0: web, **{n: check_of(f"new{n}") for n in range(1, 11)}})
        await trio.sleep(5)
    assert bench.began_ms("new") == list(range(17_000, 19_500, 250))


@pytest.mark.trio
async def test_checks_may_be_taken_out_by_whoever_takes_the_report(autojump_clock: object) -> None:
    def leave(run: Run) -> bool:
        bench.runner.set_checks({})
        return True

    bench = Bench(at_once, turning=leave)
    async with bench.running(check_of("web")):
        await trio.sleep(5)
        assert bench.runner._heap == []
        await trio.sleep(300)
    assert len(bench.runs) == 1


@pytest.mark.trio
async def test_a_runner_without_checks_waits_for_some(autojump_clock: object) -> None:
    bench = Bench(at_once)
    async with bench.running(check_of("web")):
        bench.runner.set_checks({})
        await trio.sleep(1_000)
        bench.runner.set_checks({0: check_of("late")})
        await trio.sleep(1)
    assert bench.began_ms("late") == [1_000_000]
