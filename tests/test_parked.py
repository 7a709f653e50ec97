"""Candidates and parked servers on whole nodes: from a list of hosts of which some never answer."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat

import pytest
import trio
from trio.testing import MockClock

from demesh import limits
from demesh.checks.check import Check
from demesh.config.load import Settings
from demesh.errors import UsageError
from demesh.log.entry import Kind
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec
from tests.cluster import Member, Mesh, running

pytestmark = pytest.mark.trio
_DEAD = ("stun-1", "stun-2")
_DAY_SECONDS = 86_400
_PARKED_SECONDS = 180
"""Three tries, and the look that follows."""


def _list(**rest) -> list[Check]:
    return [
        Check(
            name,
            ProbeSpec("http", f"https://{name}.example.net/", 1_000),
            interval_ms=60_000,
            listed=True,
            notify=False,
            definition=(("listed", "true"),),
            **rest,
        )
        for name in (*_DEAD, "stun-3")
    ]


class _Target:
    """What answers, and how often each was asked."""

    def __init__(self, *members: Member) -> None:
        self.dead: set[str] = set(_DEAD)
        self.asked: list[tuple[str, float]] = []
        for each in members:
            each.probe = self.probe

    async def probe(self, spec: ProbeSpec) -> ProbeResult:
        name = spec.target.removeprefix("https://").split(".")[0]
        self.asked.append((name, trio.current_time()))
        return ProbeResult(Outcome.TIMEOUT if name in self.dead else Outcome.PASS)

    def times(self, name: str, since: float = 0) -> int:
        return sum(each == name and at >= since for each, at in self.asked)


def _states(member: Member) -> dict[str, str]:
    return {each["name"]: each["state"] for each in member.node.status()["checks"]}


def _parked(member: Member) -> set[str]:
    return {row.name for row in member.node.duty.rows if row.parked}


def _plans(member: Member) -> int:
    return sum(entry.kind == Kind.PLAN for entry in member.own_log())


async def test_what_never_answers_is_parked_and_tried_once_a_day(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann = mesh.member("ann", _list())
    target = _Target(ann)
    async with running(ann, seconds=3_600):
        await trio.sleep(20)
        assert {_states(ann)[name] for name in _DEAD} == {"unknown"}, "a candidate is not down"
        await trio.sleep(_PARKED_SECONDS)
        assert _parked(ann) == set(_DEAD)
        assert _states(ann) == {"stun-1": "paused", "stun-2": "paused", "stun-3": "up"}
        assert ann.incidents() == []
        plans, since = _plans(ann), trio.current_time()
        for day in (1, 2, 3):
            ann.sleep(1_000 * _DAY_SECONDS)
            await trio.sleep(60)
            assert day <= target.times("stun-1", since) <= 2 * day, "a second time at most before that is known"
        assert _plans(ann) == plans, "no plan is told anew for that"
        assert _parked(ann) == set(_DEAD)


async def test_one_that_answers_after_all_is_run_from_then_on(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann = mesh.member("ann", _list())
    target = _Target(ann)
    async with running(ann, seconds=3_600):
        await trio.sleep(_PARKED_SECONDS + 20)
        target.dead = set()
        assert ann.node.retry(["stun-1"]) == ["stun-1"]
        assert ann.node.retry(["https://stun-1.example.net/"]) == ["stun-1"], "as `demesh servers parked` shows it"
        await trio.sleep(limits.PARKING_LOOK_MS / 1_000 + 15)
        assert _parked(ann) == {"stun-2"}
        assert _states(ann)["stun-1"] == "up"
        target.dead = {"stun-1"}
        await trio.sleep(150)
        assert _states(ann)["stun-1"] == "down", "it has answered once, so its failures count"
        assert _parked(ann) == {"stun-2"}
        with pytest.raises(UsageError, match="stun-1"):
            ann.node.retry(["stun-1"])


async def test_a_restart_neither_forgets_nor_tries_all_anew(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann = mesh.member("ann", _list())
    target = _Target(ann)
    async with running(ann, seconds=3_600):
        await trio.sleep(_PARKED_SECONDS + 20)
        plans = _plans(ann)
    since = trio.current_time()
    async with running(ann, seconds=3_600):
        await trio.sleep(120)
        assert _parked(ann) == set(_DEAD)
        assert target.times("stun-1", since) + target.times("stun-2", since) <= 2
        assert _plans(ann) <= plans + 1, "what has answered since it was told last"


async def test_what_answers_one_member_is_run_by_all(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann", _list()), mesh.member("ben", _list())
    target = _Target(ann)
    ben.says = repeat(Outcome.PASS)
    async with running(ann, ben, seconds=3_600):
        await trio.sleep(_PARKED_SECONDS + 20)
        assert _parked(ann) == set(_DEAD), "they have not met yet"
        mesh.connect(ann, ben)
        await trio.sleep(150)
        assert _parked(ann) == set()
        assert _states(ann)["stun-1"] == _states(ben)["stun-1"] == "partial"
        assert target.times("stun-1") > 3


async def test_others_try_what_one_of_those_chosen_has_parked(autojump_clock: MockClock, mesh: Mesh) -> None:
    members = [mesh.member(name, _list(spread=1), flush_seconds=15) for name in ("ann", "ben", "cat")]
    _Target(*members)
    async with running(*members, seconds=7_200):
        mesh.connect(*members)
        await trio.sleep(1_500)
        assert [_parked(each) for each in members] == [set(_DEAD)] * 3
        assert len({name for each in members for name in _runs(each)}) == 1, "stun-3 alone is run"


async def _known_and_down(mesh: Mesh, ann: Member, target: _Target) -> None:
    """ann knows that all of the list have answered, and then one is down."""
    target.dead = set()
    await trio.sleep(limits.PARKING_LOOK_MS / 1_000 + 10)
    assert all(row.answered for row in ann.node.duty.rows), "the plan says so"
    target.dead = {"stun-1"}
    await trio.sleep(300)
    assert (_states(ann)["stun-1"], _parked(ann)) == ("down", set())


async def test_one_that_is_down_is_so_after_the_view_is_lost_and_for_who_joins(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann, ben = mesh.member("ann", _list()), mesh.member("ben", _list())
    target = _Target(ann, ben)
    async with running(ann, seconds=3_600):
        await _known_and_down(mesh, ann, target)
    ann.lose_history()
    async with running(ann, ben, seconds=3_600):
        mesh.connect(ann, ben)
        await trio.sleep(_PARKED_SECONDS + 60)
        assert _states(ann)["stun-1"] == _states(ben)["stun-1"] == "down"
        assert _parked(ann) == _parked(ben) == set()


async def test_another_interval_makes_no_candidate_of_one_that_is_down(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann = mesh.member("ann", _list())
    target = _Target(ann)
    async with running(ann, seconds=3_600):
        await _known_and_down(mesh, ann, target)
        assert isinstance(ann.configured, Settings)
        checks = tuple(replace(each, interval_ms=50_000) for each in ann.configured.checks)
        ann.configured = replace(ann.configured, checks=checks)
        await ann.node.reload()
        await trio.sleep(_PARKED_SECONDS)
        assert (_states(ann)["stun-1"], _parked(ann)) == ("down", set())


async def test_what_a_candidate_failed_is_in_no_uptime(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann = mesh.member("ann", _list())
    target = _Target(ann)
    async with running(ann, seconds=3_600):
        await trio.sleep(25)
        target.dead = set()
        await trio.sleep(200)
        (told,) = (each for each in ann.node.status()["checks"] if each["name"] == "stun-1")
        assert told["state"] == "up"
        assert told["uptime"]["24h"]["ratio"] == 1.0


def _runs(member: Member) -> list[str]:
    return [row.name for row in member.node.duty.rows if row.runs]


async def test_a_list_that_is_taken_over_is_judged_by_who_took_it_over(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann", _list()), mesh.member("ben")
    _Target(ann)
    assert isinstance(ben.configured, Settings)
    ben.configured = replace(ben.configured, adopt_checks=("ann",))
    async with running(ann, ben, seconds=3_600):
        mesh.connect(ann, ben)
        await trio.sleep(_PARKED_SECONDS + 60)
        assert _names(ben) == {"stun-1", "stun-2", "stun-3"}
        assert _parked(ann) == _parked(ben) == set(), "ben sees them answer"


def _names(member: Member) -> Sequence[str] | set[str]:
    return {row.name for row in member.node.duty.rows if row.runs}
