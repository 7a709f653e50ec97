"""Trying something from several nodes at once, on whole nodes: who answers what, and who says no."""

from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from demesh import limits
from demesh.checks.check import Check
from demesh.config.adopt import check_of
from demesh.config.values import AllowRequests
from demesh.errors import UsageError
from demesh.mesh.ask import No, Refused, question
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec
from tests.asking import URL, answers_to, asked, configured, lets_find, opened
from tests.cluster import Mesh, running
from tests.log.builders import MESH, counted

pytestmark = pytest.mark.trio


async def test_the_answers_of_all_stand_side_by_side_as_they_come(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben, cat = (mesh.member(name) for name in ("ann", "ben", "cat"))
    lets_find(ann, ProbeResult(Outcome.TIMEOUT, detail="no answer within 2000 ms"), 2)
    specs = lets_find(ben, ProbeResult(Outcome.PASS, 12_300, "", {"dns": 100}, None, "192.0.2.7", 200), 0.1)
    lets_find(cat, ProbeResult(Outcome.FAIL, detail="connection refused"), 0.05)
    async with running(ann, ben, cat):
        mesh.connect(ann, ben, cat)
        await trio.sleep(1)
        before = [len(each.own_log()) for each in (ben, cat)]
        head, answers = await answers_to(ann.node.question(None, URL, ["*"]))
        assert head == {
            "asked": ["ann", "ben", "cat"],
            "check": "shop.example.org/health",
            "target": "https://shop.example.org/health",
            "type": "http",
        }
        assert list(answers) == ["cat", "ben", "ann"]
        assert [each["outcome"] for each in answers.values()] == ["fail", "pass", "timeout"]
        assert [each["own"] for each in answers.values()] == [False, False, True]
        assert answers["cat"]["detail"] == "connection refused"
        assert (answers["ben"]["latency_ms"], answers["ben"]["address"], answers["ben"]["status"]) == (
            *(12.3, "192.0.2.7"),
            200,
        )
        assert answers["ben"]["took_ms"] < 1_000
        assert [spec.timeout_ms for spec in specs] == [2_000]
        await trio.sleep(0.5)
        assert [len(each.own_log()) for each in (ben, cat)] <= [each + 2 for each in before], "nothing is recorded"
        assert ben.node.status()["checks"] == []


async def test_names_and_tags_select_whom_to_ask(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben, cat = mesh.member("ann"), configured(mesh.member("ben"), tags=("eu",)), mesh.member("cat")
    async with running(ann, ben, cat):
        mesh.connect(ann, ben, cat)
        await trio.sleep(1)
        for selectors, others in ((["tag:eu"], {"ben"}), (["cat"], {"cat"}), (["ann"], set()), (["*"], {"ben", "cat"})):
            _, answers = await answers_to(ann.node.question(None, URL, selectors))
            assert set(answers) == {"ann"} | others
        for selectors in (["dan"], ["ben", "dan"], ["tag:us", "dan"]):
            with pytest.raises(UsageError, match="there are ann, ben, cat"):
                ann.node.question(None, URL, selectors)


async def test_a_check_is_asked_for_as_it_is_configured(autojump_clock: MockClock, mesh: Mesh) -> None:
    check = check_of({"name": "shop", **URL, "method": "HEAD", "expect": {"status": [200, 204]}, "interval": "7d"})
    ann, ben = mesh.member("ann", [check]), mesh.member("ben")
    specs = lets_find(ben, ProbeResult(Outcome.PASS))
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        await answers_to(ann.node.question("shop", {}, ["ben"]))
        (spec,) = specs
        assert replace(spec, actual_key=b"") == replace(check.probe, actual_key=b"")
        with pytest.raises(UsageError, match="no check named 'blog'"):
            ann.node.question("blog", {}, ["ben"])


@pytest.mark.parametrize(
    "check",
    [
        replace(check_of({"name": "shop", **URL}), own_login=True),
        Check("shop", ProbeSpec("http", "command:check_disk", 1_000), interval_ms=86_400_000),
        Check("shop", ProbeSpec("http", "https://me:sesame@a.example/", 1_000), interval_ms=86_400_000),
        Check("shop", ProbeSpec("http", "https://a.example/?k=sesame", 1_000), interval_ms=86_400_000),
    ],
)
async def test_what_only_this_node_can_run_is_asked_of_nobody_else(
    autojump_clock: MockClock, mesh: Mesh, check: Check
) -> None:
    ann, ben = mesh.member("ann", [check]), mesh.member("ben")
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(6)
        with pytest.raises(UsageError, match="cannot be tried from other nodes") as refused:
            ann.node.question("shop", {}, ["*"])
        assert "sesame" not in str(refused.value)
        _, answers = await answers_to(ann.node.question("shop", {}, ["ann"]))
        assert list(answers) == ["ann"]


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"target": 7},
        {"target": "file:///etc/passwd"},
        {"target": "https://me:sesame@a.example/"},
        {"target": "https://a.example", "body_file": "/etc/passwd"},
        {"target": "https://a.example", "command": ["reboot"]},
        {"target": "https://a.example", "timeout": "for ever"},
    ],
)
async def test_what_cannot_be_tried_is_refused_in_a_sentence(
    autojump_clock: MockClock, mesh: Mesh, table: dict[str, Any]
) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        with pytest.raises(UsageError) as refused:
            ann.node.question(None, table, ["*"])
        assert str(refused.value).endswith(".")
        assert "sesame" not in str(refused.value)


@pytest.mark.parametrize(("allowed", "probed"), [("any", 1), ("public", 1), ("none", 0)])
async def test_each_node_answers_as_its_owner_allows(
    autojump_clock: MockClock, mesh: Mesh, allowed: AllowRequests, probed: int
) -> None:
    ann, ben = mesh.member("ann"), configured(mesh.member("ben"), allow_requests=allowed)
    specs = lets_find(ben, ProbeResult(Outcome.PASS))
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        _, answers = await answers_to(ann.node.question(None, URL, ["ben"]))
        assert len(specs) == probed
        assert ben.public == (specs if allowed == "public" else [])
        assert answers["ben"]["answered"] == (allowed != "none")
        if allowed == "none":
            assert "answers no requests" in answers["ben"]["why_not"]
            stream = await opened(ann, ben)  # who asks all the same is told so
            refused = await asked(stream, question(check_of({"name": "a", **URL}).row(MESH, False)))
            assert isinstance(refused, No)
            assert (refused.code, "mesh.allow_requests" in refused.sentence) == (Refused.POLICY, True)


async def test_what_is_not_there_is_named_and_holds_nobody_up(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben, cat = (mesh.member(name) for name in ("ann", "ben", "cat"))
    lets_find(ben, ProbeResult(Outcome.PASS), after_seconds=100)
    async with running(ann, ben, cat):
        mesh.connect(ann, ben, cat)
        await trio.sleep(1)
        mesh.swarm.cut(ann.key, cat.key)
        began = trio.current_time()
        _, answers = await answers_to(ann.node.question(None, URL, ["*"]))
        assert list(answers) == ["cat", "ann", "ben"] or list(answers) == ["ann", "cat", "ben"]
        assert answers["cat"]["why_not"] == "not connected with this node"
        assert answers["ben"]["outcome"] == "timeout", "its own deadline ended it"
        assert trio.current_time() - began < 2 + limits.ASK_GRACE_SECONDS


async def test_who_asks_too_often_is_told_and_counted(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        before = counted("demesh_refused_total", room="ask", reason="member_rate")
        for _ in range(limits.ASKED_PER_MEMBER_PER_MINUTE_MAX):
            _, answers = await answers_to(ann.node.question(None, URL, ["ben"]))
            assert answers["ben"]["answered"]
        _, answers = await answers_to(ann.node.question(None, URL, ["ben"]))
        assert "often enough" in answers["ben"]["why_not"]
        assert counted("demesh_refused_total", room="ask", reason="member_rate") == before + 1
        await trio.sleep(60)
        _, answers = await answers_to(ann.node.question(None, URL, ["ben"]))
        assert answers["ben"]["answered"]


async def test_nothing_is_changed_on_behalf_of_others(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        _, answers = await answers_to(ann.node.question(None, {**URL, "method": "DELETE"}, ["ben"]))
        assert "nothing that may change something" in answers["ben"]["why_not"]
        _, answers = await answers_to(ann.node.question(None, {"target": "dns:///inside.example"}, ["ben"]))
        assert "own resolver" in answers["ben"]["why_not"]
        broker = {"target": "mqtt://broker.example"}
        _, answers = await answers_to(ann.node.question(None, {**broker, "topic": "lights"}, ["ben"]))
        assert "no topic that they name" in answers["ben"]["why_not"]
        _, answers = await answers_to(ann.node.question(None, broker, ["ben"]))
        assert answers["ben"]["answered"]
        with pytest.raises(UsageError, match="a login"):
            ann.node.question(None, {"target": "mqtt://me:sesame@broker.example"}, ["ben"])


async def test_a_check_of_a_list_is_tried_at_public_addresses_only_whoever_asks_whom(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    check = check_of({"name": "shop", **URL, "listed": True, "interval": "7d"})
    ann, ben = mesh.member("ann", [check]), configured(mesh.member("ben"), allow_requests="any")
    for each in (ann, ben):
        lets_find(each, ProbeResult(Outcome.PASS))
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(6)
        before = len(ann.public)
        await answers_to(ann.node.question("shop", {}, ["*"]))
        assert (len(ann.public) - before, len(ben.public)) == (1, 1)
        await answers_to(ann.node.question(None, {**URL, "listed": True}, ["*"]))
        assert (len(ann.public) - before, len(ben.public)) == (2, 2)
        await answers_to(ann.node.question(None, URL, ["*"]))
        assert (len(ann.public) - before, len(ben.public)) == (2, 2), "others are asked as the owners allow"
