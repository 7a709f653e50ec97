"""What a node says of its own clock: by its own NTP checks, alone, between two, and against the others."""

from pathlib import Path

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from demesh import limits
from demesh.api.mesh_metrics import mesh_metrics
from demesh.checks.check import Check
from demesh.checks.latest import LatestRuns
from demesh.checks.runner import Run
from demesh.doctor.finding import Level
from demesh.doctor.node import running as findings
from demesh.home import Home, Running
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec
from demesh.view.own_clock import OwnClock, own_clock
from demesh.view.vote import fresh_ms
from tests.alerts.watch import Watch
from tests.cluster import Member, Mesh, running
from tests.view.build import MemberLog

_SKEW = "DemeshClockSkew"
_FAR_MS = 2 * limits.CLOCK_SKEW_MS_MAX


def test_the_middle_of_all_servers_counts_and_one_may_lie() -> None:
    assert own_clock([]) is None
    assert own_clock([-20_000]) == OwnClock(20.0, 1, 1)
    assert own_clock([1_000, 3_600_000_000, 2_000]) == OwnClock(-2.0, 3, 2)


def _lives(watch: Watch, seconds: int, *members: MemberLog) -> None:
    watch.live(watch.now_ms + seconds * 1_000, *members)


def _watching(*skews_ms: int) -> tuple[Watch, list[MemberLog]]:
    watch = Watch()
    members = [MemberLog("own" if not n else f"m{n}", skew_ms=skew_ms) for n, skew_ms in enumerate(skews_ms)]
    for member in members:
        watch.hear(member, *member.start(0))
    return watch, members


def test_a_node_alone_says_that_its_clock_is_off_and_that_it_is_right_again() -> None:
    watch, members = _watching(0)
    watch.view.own_clock = lambda: OwnClock(-_FAR_MS, 3, 3)
    _lives(watch, 30, *members)
    assert watch.named() == [], "not before it has been so for a minute"
    _lives(watch, 60, *members)
    assert watch.named() == [(_SKEW, "own")]
    assert dict(watch.open().annotations)["summary"] == "the clock of own is 10 s behind its time servers'"
    watch.view.own_clock = lambda: None
    _lives(watch, 600, *members)
    assert watch.named() == [(_SKEW, "own")], "what is unknown closes nothing"
    watch.view.own_clock = lambda: OwnClock(5.0, 3, 3)
    _lives(watch, 60, *members)
    assert watch.named() == []


@pytest.mark.parametrize(("checks", "agree"), [(1, 1), (2, 2), (5, 2)])
def test_nobody_is_told_on_the_word_of_servers_that_may_be_wrong_themselves(checks: int, agree: int) -> None:
    watch, members = _watching(0)
    watch.view.own_clock = lambda: OwnClock(-_FAR_MS, checks, agree)
    _lives(watch, 300, *members)
    assert watch.named() == []


def test_a_clock_within_the_bound_is_no_incident() -> None:
    watch, members = _watching(0)
    watch.view.own_clock = lambda: OwnClock(limits.CLOCK_SKEW_MS_MAX, 3, 3)
    _lives(watch, 120, *members)
    assert watch.named() == []


def test_whose_clock_agrees_with_the_others_may_still_be_off() -> None:
    watch, members = _watching(0, 0, 0)
    watch.view.own_clock = lambda: OwnClock(_FAR_MS, 3, 3)
    _lives(watch, 120, *members)
    assert watch.named() == [(_SKEW, "own")], "of the others it knows nothing"


def test_servers_that_agree_do_not_excuse_a_clock_that_the_others_find_off() -> None:
    watch, members = _watching(-_FAR_MS, 0, 0)
    watch.view.own_clock = lambda: OwnClock(0.0, 3, 3)
    _lives(watch, 120, *members)
    assert watch.named() == [(_SKEW, "own")]
    assert dict(watch.open().annotations)["summary"] == "the clock of own is 10 s behind the others'"


def _time_checks(mesh: Mesh, *, count: int = 4) -> Member:
    checks = [Check(f"t{n}", ProbeSpec("ntp", f"ntp://192.0.2.{n}", 1_000)) for n in range(count)]
    member = mesh.member("ann", checks=checks)

    async def probe(spec: ProbeSpec) -> ProbeResult:
        await trio.lowlevel.checkpoint()
        place = int(spec.target[-1])
        offsets_us = (-7_000_000, -8_000_000, None, -7_500_000)
        outcome = (Outcome.PASS, Outcome.MISMATCH, Outcome.TIMEOUT, Outcome.MISMATCH)[place]
        return ProbeResult(outcome, 100, clock_offset_us=offsets_us[place])

    member.probe = probe
    return member


@pytest.mark.trio
async def test_a_node_tells_what_its_checks_tell_whether_or_not_they_pass(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann = _time_checks(mesh)
    async with running(ann):
        assert ann.node.status()["clock"] is None
        await trio.sleep(180)
        assert ann.node.status()["clock"] == {"ahead_ms": 7_500.0, "checks": 3}
        assert (_SKEW, "ann") in {(each["name"], each["subject"]) for each in ann.node.status()["incidents"]}
        assert any(alert["labels"]["alertname"] == _SKEW for _, alerts, _ in ann.posts for alert in alerts)


@pytest.mark.trio
async def test_what_checks_told_long_ago_is_not_told(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann = _time_checks(mesh)
    async with running(ann):
        await trio.sleep(120)
        assert ann.node.status()["clock"]["checks"] == 3

        async def silent(spec: ProbeSpec) -> ProbeResult:
            await trio.lowlevel.checkpoint()
            return ProbeResult(Outcome.TIMEOUT)

        ann.probe = silent
        await trio.sleep(200)
        assert ann.node.status()["clock"] is None


def test_what_no_run_has_confirmed_for_long_counts_no_more() -> None:
    check, latest = Check("t", ProbeSpec("ntp", "ntp://192.0.2.1", 1_000)), LatestRuns()
    latest.note(check, Run(0, 5_000, ProbeResult(Outcome.PASS, 100, clock_offset_us=7), 0))
    last_ms = 5_000 + fresh_ms(check.interval_ms)
    assert list(latest.clock_offsets_us([check], last_ms)) == [7]
    assert list(latest.clock_offsets_us([check], last_ms + 1)) == []
    assert list(latest.clock_offsets_us([], last_ms)) == [], "nor of a check that is gone"


def test_the_metric_is_what_the_clock_lacks() -> None:
    def told(clock: OwnClock | None) -> list[float]:
        text = mesh_metrics("0a1b2c3d", [], [], [], 0, 0, clock)
        found = [each for each in text_string_to_metric_families(text) if each.name == "demesh_clock_offset_seconds"]
        return [sample.value for family in found for sample in family.samples]

    assert told(OwnClock(-1_500.0, 3, 3)) == [1.5]
    assert told(None) == []


@pytest.mark.parametrize(
    ("clock", "level", "sentence"),
    [
        (
            {"ahead_ms": 12.345, "checks": 1},
            Level.GOOD,
            "this node's clock is 12.3 ms ahead of the time of 1 NTP check.",
        ),
        (
            {"ahead_ms": -9_000, "checks": 3},
            Level.WARNING,
            "this node's clock is 9,000.0 ms behind the time of 3 NTP checks.",
        ),
    ],
)
def test_the_doctor_tells_by_how_much_it_is_off(clock: dict, level: Level, sentence: str, tmp_path: Path) -> None:
    answer = {"node": "nas", "as_of": "2026-01-01T12:00:00Z", "checks": [], "nodes": [], "clock": clock}
    (found,) = [each for each in findings(Home(tmp_path), Running(1, "", None), answer) if each.topic == "time"]
    assert (found.level, found.sentence) == (level, sentence)
