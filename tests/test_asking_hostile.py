"""What a hostile peer gets from a node that it asks, or that asks it."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from demesh import limits
from demesh.config.adopt import check_of
from demesh.errors import NetworkError, UsageError
from demesh.log.codec import encode
from demesh.mesh.ask import No, Refused, question, read_answer
from demesh.mesh.network import Stream
from demesh.mesh.session import Frames
from demesh.outcome import Outcome, ProbeResult
from tests.asking import URL, answers_to, asked, lets_find, opened
from tests.cluster import Mesh, running
from tests.log.builders import MESH

pytestmark = pytest.mark.trio

_ROW = check_of({"name": "a", **URL}).row(MESH, False)
_MANY = check_of({"name": "a", **URL, "expect": {"header": {f"h{n}": "(a+)+$" for n in range(5)}}}).row(MESH, False)


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
    specs = lets_find(ben, ProbeResult(Outcome.PASS))
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        answer = await asked(await opened(ann, ben), message)
        assert isinstance(answer, No)
        assert answer.code == code
        assert not specs
        assert not ben.public
        # and the node answers the next one
        assert isinstance(await asked(await opened(ann, ben), question(_ROW)), ProbeResult)


async def test_a_question_that_is_announced_too_long_or_never_comes_ends(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        stream = await opened(ann, ben)
        await stream.send((limits.ASK_FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
        answer = read_answer(await Frames(stream).expect())
        assert isinstance(answer, No)
        silent = await opened(ann, ben)
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

        ben.node.incoming._answerer.serve = serve
        _, answers = await answers_to(ann.node.question(None, URL, ["ben"]))
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
        answer = await asked(await opened(ann, ben), question(_ROW))
        assert isinstance(answer, No)
        assert "does not know who asks" in answer.sentence


async def test_this_node_asks_for_so_many_at_once(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    lets_find(ann, ProbeResult(Outcome.PASS), after_seconds=1)
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            for _ in range(limits.ASKS_AT_ONCE_MAX):
                nursery.start_soon(answers_to, ann.node.question(None, URL, ["ben"]))
            await trio.sleep(0.1)
            with pytest.raises(UsageError, match="at the moment"):
                ann.node.question(None, URL, ["ben"])
        await answers_to(ann.node.question(None, URL, ["ben"]))
