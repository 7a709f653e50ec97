"""Whole nodes with direct sinks, on virtual time: each incident reaches each sink once, whichever node is there to tell it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat

import pytest
import trio
from trio.testing import MockClock

from demesh import limits
from demesh.alerts.ladder import _weight
from demesh.alerts.sink import Sink
from demesh.config.load import Settings
from demesh.deciding import Wanted
from demesh.log.entry import Kind
from demesh.log.event import read_event
from demesh.log.matcher import Matcher
from demesh.outcome import Outcome
from tests.cluster import Member, Mesh, running, web_check
from tests.log.builders import MESH, counted

pytestmark = pytest.mark.trio
_HOOK = Sink("https://hooks.example.net/a-secret", "hook")
_HOLD_SECONDS = limits.NOTIFY_HOLD_MS_MIN / 1_000
_SILENT_SECONDS = 20
_STATES = ("firing", "reminder", "resolved")


def _mesh_of(mesh: Mesh, *sinks: Sink, owners: Sequence[str] = ("ann", "ben", "cat")) -> list[Member]:
    members = [mesh.member(owner, [web_check(interval_ms=4_000, retry_interval_ms=1_000)]) for owner in owners]
    for member in members:
        _configure(member, *(sinks or (_HOOK,)))
    return members


def _configure(member: Member, *sinks: Sink) -> None:
    assert isinstance(member.configured, Settings)
    member.configured = replace(member.configured, sinks=sinks)


def _in_order(members: Sequence[Member], sink: Sink = _HOOK) -> list[Member]:
    """The members as they come to tell `sink` that the check is down."""
    key = ("DemeshCheckDown", "web", sink.digest(MESH))
    return sorted(members, key=lambda member: _weight(key, member.key))


def _say(members: Sequence[Member], outcome: Outcome) -> None:
    for member in members:
        member.says = repeat(outcome)


def _told(members: Sequence[Member], subject: str = "web") -> list[str]:
    """What arrived of a subject, in the order in which it did."""
    found = [(at, state) for member in members for state, about, at in member.notified if about == subject]
    return [state for _, state in sorted(found)]


def _stands(member: Member) -> tuple[bool | None, bool]:
    """How a member says that its sink stands: whether it works, and whether it ever did."""
    (sink,) = [each for each in member.node.status()["sinks"] if each["name"] == _HOOK.name]
    return sink["ok"], sink["last_ok_at"] is not None


async def test_an_outage_is_told_once_by_three_nodes_and_so_is_its_end(autojump_clock: MockClock, mesh: Mesh) -> None:
    members = _mesh_of(mesh)
    async with running(*members):
        mesh.connect(*members)
        await trio.sleep(_HOLD_SECONDS + 5)
        _say(members, Outcome.FAIL)
        await trio.sleep(12)
        assert _told(members) == ["firing"]
        await trio.sleep(100)
        _say(members, Outcome.PASS)
        await trio.sleep(100)
        assert _told(members) == ["firing", "resolved"]
        _say(members, Outcome.FAIL)
        await trio.sleep(100)
        assert _told(members) == ["firing", "resolved", "firing"], "it is another one"


async def test_another_tells_when_the_first_in_order_is_killed_before_it_could(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    members = _mesh_of(mesh)
    first, *others = _in_order(members)
    first.sink_answers = lambda: False  # it holds the lease when it dies
    async with running(*others):
        async with trio.open_nursery() as dying:
            await dying.start(first.run, trio.Event())
            mesh.connect(*members)
            await trio.sleep(_HOLD_SECONDS + 5)
            _say(members, Outcome.FAIL)
            await trio.sleep(12)
            assert _told(members) == []
            mesh.forget(first)
            dying.cancel_scope.cancel()
        await trio.sleep(_SILENT_SECONDS + 2 * limits.NOTIFY_RANK_MS / 1_000 + 60)
        assert _told(members) == ["firing"]
        await trio.sleep(120)
        assert _told(members) == ["firing"]
        assert _told(members, first.name) == ["firing"], "that it is silent is told once, too"


async def test_a_sink_that_was_away_hears_of_it_once_afterwards(autojump_clock: MockClock, mesh: Mesh) -> None:
    members = _mesh_of(mesh)
    async with running(*members, seconds=2_000):
        mesh.connect(*members)
        await trio.sleep(_HOLD_SECONDS + 5)
        away_until = trio.current_time() + 300
        for member in members:
            member.sink_answers = lambda: trio.current_time() > away_until
        _say(members, Outcome.FAIL)
        await trio.sleep(299)
        assert _told(members) == []
        assert [sinks for sinks in map(_stands, members) if sinks == (False, False)], "who tried says that it failed"
        await trio.sleep(limits.NOTIFY_RETRY_MS_MAX / 1_000 + limits.NOTIFY_LEASE_MARGIN_MS / 1_000 + 35)
        assert _told(members) == ["firing"]
        await trio.sleep(600)
        assert _told(members) == ["firing"]
        assert (True, True) in map(_stands, members)


async def test_what_only_one_node_can_reach_is_told_by_that_one(autojump_clock: MockClock, mesh: Mesh) -> None:
    members = _mesh_of(mesh)
    *others, last = _in_order(members)
    for member in others:
        member.sink_answers = lambda: False
    async with running(*members):
        mesh.connect(*members)
        await trio.sleep(_HOLD_SECONDS + 5)
        _say(members, Outcome.FAIL)
        await trio.sleep(400)
        assert [state for state, _, _ in last.notified] == ["firing"]


async def test_a_restart_of_all_tells_nothing_anew_and_takes_nothing_back(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    members = _mesh_of(mesh)
    async with running(*members):
        mesh.connect(*members)
        await trio.sleep(_HOLD_SECONDS + 5)
        _say(members, Outcome.FAIL)
        await trio.sleep(60)
        assert _told(members) == ["firing"]
    for epoch in (1, 2):  # the second time as after a reboot: each begins a new log
        async with running(*members):
            mesh.connect(*members)
            await trio.sleep(300)
            assert _told(members) == ["firing"], f"restart {epoch}"
        for member in members:
            member.marker = None
    _say(members, Outcome.PASS)
    async with running(*members):
        mesh.connect(*members)
        await trio.sleep(200)
        assert _told(members) == ["firing", "resolved"], "nobody saw it open in this run, and it is over all the same"
        _say(members, Outcome.FAIL)
        await trio.sleep(60)
        assert _told(members) == ["firing", "resolved", "firing"]


async def test_each_sink_gets_what_it_wants(autojump_clock: MockClock, mesh: Mesh) -> None:
    quiet = replace(_HOOK, url="https://quiet.example.net/", name="quiet", send_resolved=False)
    other = replace(_HOOK, url="https://other.example.net/", name="other", severities=frozenset({"warning"}))
    members = _mesh_of(mesh, quiet, other)
    async with running(*members):
        mesh.connect(*members)
        await trio.sleep(_HOLD_SECONDS + 5)
        for outcome in (Outcome.FAIL, Outcome.PASS, Outcome.FAIL):
            _say(members, outcome)
            await trio.sleep(60)
        assert _told(members) == ["firing", "firing"]


async def test_what_stays_open_is_reminded_of_as_often_as_asked_by_one_node(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    members = _mesh_of(mesh, replace(_HOOK, repeat_every_ms=300_000))
    async with running(*members, seconds=2_000):
        mesh.connect(*members)
        await trio.sleep(_HOLD_SECONDS + 5)
        _say(members, Outcome.FAIL)
        await trio.sleep(1_000)
        assert _told(members) == ["firing", "reminder", "reminder", "reminder"]
        _say(members, Outcome.PASS)
        await trio.sleep(400)
        assert _told(members)[4:] == ["resolved"]


async def test_what_is_muted_is_told_when_the_mute_ends_if_it_is_still_open(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    members = _mesh_of(mesh)
    async with running(*members):
        mesh.connect(*members)
        await members[0].node.deciding.silence(Wanted((Matcher("check", "=", "web"),), 100_000))
        await trio.sleep(_HOLD_SECONDS + 5)
        _say(members, Outcome.FAIL)
        await trio.sleep(80)
        assert _told(members) == []
        await trio.sleep(10)
        assert _told(members) == ["firing"]


async def test_two_that_see_it_differently_do_not_take_turns(autojump_clock: MockClock, mesh: Mesh) -> None:
    check = web_check(interval_ms=4_000, retry_interval_ms=1_000, quorum=1)
    ann, ben = members = [mesh.member(owner, [check]) for owner in ("ann", "ben")]
    for member in members:
        _configure(member, _HOOK)
    async with running(*members, seconds=2_000):
        mesh.connect(*members)
        await trio.sleep(_HOLD_SECONDS + 5)
        ann.says = repeat(Outcome.FAIL)
        await trio.sleep(20)
        assert _told(members) == ["firing"]
        mesh.swarm.cut(ann.key, ben.key)  # each thinks that the other is gone
        await trio.sleep(200)
        before = len(_told(members))
        assert before <= 3
        mesh.connect(*members)
        await trio.sleep(600)
        assert len(_told(members)) <= before + 1


async def test_a_plan_names_the_sinks_by_digest_and_says_so_when_they_change(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    (ann,) = _mesh_of(mesh, owners=["ann"])
    other = Sink("https://other.example.net/a-secret", "other")
    async with running(ann):
        plan = ann.node.view.member(ann.key).current.plan  # pyright: ignore[reportOptionalMemberAccess]
        assert plan is not None
        assert plan.sinks == (_HOOK.digest(MESH),)
        _configure(ann, other)
        await ann.node.reload()
        changed = ann.node.view.member(ann.key).current.plan  # pyright: ignore[reportOptionalMemberAccess]
        assert changed is not None
        assert (changed.sinks, changed.rows) == ((other.digest(MESH),), plan.rows)
        ann.says = repeat(Outcome.FAIL)
        await trio.sleep(30)
        events = [read_event(entry.payload) for entry in ann.own_log() if entry.kind == Kind.EVENT]
        plans = sum(entry.kind == Kind.PLAN for entry in ann.own_log())
        whole = b"".join(entry.body for entry in ann.own_log())
    assert [(event.type, event.subject) for event in events] == [("notifying", "web"), ("notified", "web")]
    assert {event.details["sink"] for event in events} == {other.digest(MESH).hex()}
    assert b"secret" not in whole
    async with running(ann):
        assert sum(entry.kind == Kind.PLAN for entry in ann.own_log()) == plans, "what was told is not told again"


async def test_the_heartbeat_is_fetched_every_minute_while_the_store_writes(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    (ann,) = _mesh_of(mesh, owners=["ann"])
    assert isinstance(ann.configured, Settings)
    ann.configured = replace(ann.configured, heartbeat_url="https://beats.example.net/a-secret")
    async with running(ann):
        await trio.sleep(185)
        assert ann.fetched == ["https://beats.example.net/a-secret"] * 4
        held_back = counted("demesh_heartbeats_total", outcome="held_back")
        ann.storage.gate = trio.Event()
        await trio.sleep(120)
        assert len(ann.fetched) == 4
        assert counted("demesh_heartbeats_total", outcome="held_back") == held_back + 2
        ann.storage.gate.set()
        await trio.sleep(60)
        assert len(ann.fetched) == 5


async def test_a_node_that_can_tell_nobody_says_so_at_its_start(
    autojump_clock: MockClock, mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    (ann,) = _mesh_of(mesh, owners=["ann"])
    async with running(ann):
        assert "Nobody will be told" not in caplog.text
    assert isinstance(ann.configured, Settings)
    ann.configured = replace(ann.configured, sinks=(), alertmanagers=())
    async with running(ann):
        await trio.sleep(10)
        await ann.node.reload()
    assert caplog.text.count("Nobody will be told when something fails") == 1, "of a reload it is no news"


async def test_a_node_whose_network_is_gone_tells_what_it_sees(autojump_clock: MockClock, mesh: Mesh) -> None:
    members = _mesh_of(mesh)
    for member in members:
        assert isinstance(member.configured, Settings)
        checks = tuple(replace(check, quorum=1) for check in member.configured.checks)
        member.configured = replace(member.configured, checks=checks)
    async with running(*members, seconds=2_000):
        mesh.connect(*members)
        await trio.sleep(_HOLD_SECONDS + 5)
        alone, *others = members
        network = mesh.swarm.networks[alone.key]
        network.cannot_start = "the port is taken"
        network.die()
        await trio.sleep(30)
        _say(members, Outcome.FAIL)
        for other in others:
            other.sink_answers = lambda: False
        await trio.sleep(200)
        assert _told([alone]) == ["firing"]
