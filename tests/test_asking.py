"""Trying something from several nodes at once, on whole nodes: who answers what, who says no, and what a hostile peer gets."""

from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from demesh import limits
from demesh.asking import Question
from demesh.checks.check import Check
from demesh.config.adopt import check_of
from demesh.config.load import Settings
from demesh.config.values import AllowRequests
from demesh.errors import NetworkError, UsageError
from demesh.log.codec import encode
from demesh.mesh.ask import No, Refused, question, read_answer
from demesh.mesh.network import ASK, Stream
from demesh.mesh.session import Frames
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec
from tests.cluster import Member, Mesh, running
from tests.log.builders import MESH, counted

pytestmark = pytest.mark.trio
_URL = {"target": "https://shop.example.org/health", "timeout": "2s"}


def _settings(member: Member, **changed: Any) -> Member:
    assert isinstance(member.configured, Settings)
    member.configured = replace(member.configured, **changed)
    return member


async def _answers(asked: Question) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Who is asked, and the answers by node, in the order in which they came."""
    told: list[dict[str, Any]] = []

    async def tell(line: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        told.append(line)

    with trio.fail_after(60):
        await asked.run(tell)
    return told[0], {each["node"]: each for each in told[1:]}


def _says(member: Member, result: ProbeResult, after_seconds: float = 0) -> list[ProbeSpec]:
    """Let a member's probes find that; returns what they are asked for from now on."""
    specs: list[ProbeSpec] = []

    async def probe(spec: ProbeSpec) -> ProbeResult:
        specs.append(spec)
        await trio.sleep(after_seconds)
        return result

    member.probe = probe
    return specs


async def test_the_answers_of_all_stand_side_by_side_as_they_come(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben, cat = (mesh.member(name) for name in ("ann", "ben", "cat"))
    _says(ann, ProbeResult(Outcome.TIMEOUT, detail="no answer within 2000 ms"), 2)
    asked = _says(ben, ProbeResult(Outcome.PASS, 12_300, "", {"dns": 100}, None, "192.0.2.7", 200), 0.1)
    _says(cat, ProbeResult(Outcome.FAIL, detail="connection refused"), 0.05)
    async with running(ann, ben, cat):
        mesh.connect(ann, ben, cat)
        await trio.sleep(1)
        before = [len(each.own_log()) for each in (ben, cat)]
        head, answers = await _answers(ann.node.question(None, _URL, ["*"]))
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
        assert [spec.timeout_ms for spec in asked] == [2_000]
        await trio.sleep(0.5)
        assert [len(each.own_log()) for each in (ben, cat)] <= [each + 2 for each in before], "nothing is recorded"
        assert ben.node.status()["checks"] == []


async def test_names_and_tags_select_whom_to_ask(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben, cat = mesh.member("ann"), _settings(mesh.member("ben"), tags=("eu",)), mesh.member("cat")
    async with running(ann, ben, cat):
        mesh.connect(ann, ben, cat)
        await trio.sleep(1)
        for selectors, others in ((["tag:eu"], {"ben"}), (["cat"], {"cat"}), (["ann"], set()), (["*"], {"ben", "cat"})):
            _, answers = await _answers(ann.node.question(None, _URL, selectors))
            assert set(answers) == {"ann"} | others
        for selectors in (["dan"], ["ben", "dan"], ["tag:us", "dan"]):
            with pytest.raises(UsageError, match="there are ann, ben, cat"):
                ann.node.question(None, _URL, selectors)


async def test_a_check_is_asked_for_as_it_is_configured(autojump_clock: MockClock, mesh: Mesh) -> None:
    check = check_of({"name": "shop", **_URL, "method": "HEAD", "expect": {"status": [200, 204]}, "interval": "7d"})
    ann, ben = mesh.member("ann", [check]), mesh.member("ben")
    specs = _says(ben, ProbeResult(Outcome.PASS))
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        await _answers(ann.node.question("shop", {}, ["ben"]))
        (spec,) = specs
        assert replace(spec, actual_key=b"") == replace(check.probe, actual_key=b"")
        with pytest.raises(UsageError, match="no check named 'blog'"):
            ann.node.question("blog", {}, ["ben"])


@pytest.mark.parametrize(
    "check",
    [
        replace(check_of({"name": "shop", **_URL}), own_login=True),
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
        _, answers = await _answers(ann.node.question("shop", {}, ["ann"]))
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
    ann, ben = mesh.member("ann"), _settings(mesh.member("ben"), allow_requests=allowed)
    specs = _says(ben, ProbeResult(Outcome.PASS))
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        _, answers = await _answers(ann.node.question(None, _URL, ["ben"]))
        assert len(specs) == probed
        assert ben.public == (specs if allowed == "public" else [])
        assert answers["ben"]["answered"] == (allowed != "none")
        if allowed == "none":
            assert "answers no requests" in answers["ben"]["why_not"]
            stream = await _open(ann, ben)  # who asks all the same is told so
            refused = await _ask(stream, question(check_of({"name": "a", **_URL}).row(MESH, False)))
            assert isinstance(refused, No)
            assert (refused.code, "mesh.allow_requests" in refused.sentence) == (Refused.POLICY, True)


async def test_what_is_not_there_is_named_and_holds_nobody_up(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben, cat = (mesh.member(name) for name in ("ann", "ben", "cat"))
    _says(ben, ProbeResult(Outcome.PASS), after_seconds=100)
    async with running(ann, ben, cat):
        mesh.connect(ann, ben, cat)
        await trio.sleep(1)
        mesh.swarm.cut(ann.key, cat.key)
        began = trio.current_time()
        _, answers = await _answers(ann.node.question(None, _URL, ["*"]))
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
            _, answers = await _answers(ann.node.question(None, _URL, ["ben"]))
            assert answers["ben"]["answered"]
        _, answers = await _answers(ann.node.question(None, _URL, ["ben"]))
        assert "often enough" in answers["ben"]["why_not"]
        assert counted("demesh_refused_total", room="ask", reason="member_rate") == before + 1
        await trio.sleep(60)
        _, answers = await _answers(ann.node.question(None, _URL, ["ben"]))
        assert answers["ben"]["answered"]


async def test_nothing_is_changed_on_behalf_of_others(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        _, answers = await _answers(ann.node.question(None, {**_URL, "method": "DELETE"}, ["ben"]))
        assert "nothing that may change something" in answers["ben"]["why_not"]
        _, answers = await _answers(ann.node.question(None, {"target": "dns:///inside.example"}, ["ben"]))
        assert "own resolver" in answers["ben"]["why_not"]


async def _open(asker: Member, asked: Member) -> Stream:
    return await asker.node._asker._network.open_stream(asked.key, ASK)


async def _ask(stream: Stream, message: bytes) -> ProbeResult | No:
    frames = Frames(stream, limits.ASK_FRAME_BYTES_MAX)
    await frames.send(message)
    return read_answer(await frames.expect())


_ROW = check_of({"name": "a", **_URL}).row(MESH, False)
_MANY = check_of({"name": "a", **_URL, "expect": {"header": {f"h{n}": "(a+)+$" for n in range(5)}}}).row(MESH, False)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", Refused.MALFORMED),
        (b"\xff" * 100, Refused.MALFORMED),
        (encode([1]), Refused.MALFORMED),
        (encode([1, []]), Refused.MALFORMED),
        (encode([9, "x"]), Refused.MALFORMED),
        (question(replace(_ROW, definition=bytes(16))), Refused.CANNOT),
        (question(replace(_ROW, target="https://127.0.0.1/")), Refused.CANNOT),
        (question(replace(_ROW, type="command", target="command:reboot")), Refused.CANNOT),
        (question(replace(_ROW, keys=(("body_file", '"/etc/passwd"'),))), Refused.CANNOT),
        (question(replace(_ROW, options=(("body", '"(a+)+$"'),))), Refused.CANNOT),
        (question(_MANY), Refused.POLICY),
    ],
)
async def test_a_hostile_question_gets_a_refusal_and_no_probe(
    autojump_clock: MockClock, mesh: Mesh, message: bytes, code: Refused
) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    specs = _says(ben, ProbeResult(Outcome.PASS))
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        answer = await _ask(await _open(ann, ben), message)
        assert isinstance(answer, No)
        assert answer.code == code
        assert not specs
        assert not ben.public
        # and the node answers the next one
        assert isinstance(await _ask(await _open(ann, ben), question(_ROW)), ProbeResult)


async def test_a_question_that_is_announced_too_long_or_never_comes_ends(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        stream = await _open(ann, ben)
        await stream.send((limits.ASK_FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
        answer = read_answer(await Frames(stream).expect())
        assert isinstance(answer, No)
        silent = await _open(ann, ben)
        with trio.fail_after(limits.SYNC_IDLE_SECONDS_MAX + 1):
            assert await silent.receive() == b""


@pytest.mark.parametrize("garbage", [b"\x00\x00\x00\x01\x07", b"\x7f\xff\xff\xff", b""])
async def test_a_peer_that_answers_with_garbage_is_named_as_such(
    autojump_clock: MockClock, mesh: Mesh, garbage: bytes
) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)

        async def serve(stream: Stream) -> None:
            try:
                await stream.receive()
                await stream.send(garbage)
            except NetworkError:
                pass
            await stream.close()

        ben.node._answerer.serve = serve
        _, answers = await _answers(ann.node.question(None, _URL, ["ben"]))
        assert not answers["ben"]["answered"]
        assert answers["ben"]["why_not"] in (
            "gave an answer that makes no sense",
            "gave no answer in time, or broke off",
        )


async def test_a_stranger_is_not_answered(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    mesh.swarm.lossy = True
    async with running(ann, ben):
        mesh.connect(ann, ben)
        ben.node.view._members.pop(ann.key, None)
        answer = await _ask(await _open(ann, ben), question(_ROW))
        assert isinstance(answer, No)
        assert "does not know who asks" in answer.sentence


async def test_this_node_asks_for_so_many_at_once(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    _says(ann, ProbeResult(Outcome.PASS), after_seconds=1)
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            for _ in range(limits.ASKS_AT_ONCE_MAX):
                nursery.start_soon(_answers, ann.node.question(None, _URL, ["ben"]))
            await trio.sleep(0.1)
            with pytest.raises(UsageError, match="at the moment"):
                ann.node.question(None, _URL, ["ben"])
        await _answers(ann.node.question(None, _URL, ["ben"]))
