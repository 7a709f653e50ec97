"""A late joiner says how far it is behind, and of whom, until it is not; on virtual time."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from demesh import limits
from demesh.config.load import Settings
from demesh.errors import NetworkError
from demesh.log.admission import Policy
from demesh.mesh.memory import MemoryNetwork
from demesh.mesh.network import SYNC, Stream
from tests.cluster import Member, Mesh, running, web_check


class _Slow:
    """A stream of which every message takes a second to come, and that breaks while its network is `broken`."""

    def __init__(self, stream: Stream, network: "SlowNetwork") -> None:
        self.peer, self.protocol = stream.peer, stream.protocol
        self._stream, self._network = stream, network
        self.send, self.close, self.reset = stream.send, stream.close, stream.reset

    async def receive(self) -> bytes:
        await trio.sleep(1)
        if self._network.broken:
            raise NetworkError("the stream broke")
        return await self._stream.receive()


class SlowNetwork(MemoryNetwork):
    broken = False

    async def open_stream(self, peer: bytes, protocol: str = SYNC) -> Stream:
        return _Slow(await super().open_stream(peer, protocol), self)


def _said(member: Member) -> tuple[bool, dict[str | None, int]]:
    logs = member.node.status()["logs"]
    return logs["complete"], {each["node"]: each["entries"] for each in logs["lacks"]}


async def _until_complete(member: Member, complete: bool) -> None:
    with trio.fail_after(300):
        while _said(member)[0] is not complete:  # noqa: ASYNC110 nothing tells
            await trio.sleep(0.1)


async def _until_lacks(member: Member) -> None:
    with trio.fail_after(60):
        while not _said(member)[1]:  # noqa: ASYNC110 nothing tells
            await trio.sleep(0.1)


@pytest.mark.trio
async def test_whoever_is_alone_is_complete(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    ann = Mesh(tmp_path).member("ann")
    async with running(ann):
        assert _said(ann) == (True, {})


@pytest.mark.trio
async def test_a_late_joiner_tells_whose_logs_it_lacks_until_it_has_them(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SYNC_PAGE_ENTRIES_MAX", 32)
    mesh = Mesh(tmp_path, SlowNetwork)
    ann, ben, cid = (mesh.member(name, [web_check()]) for name in ("ann", "ben", "cid"))
    async with running(ann, ben, seconds=3_600):
        mesh.connect(ann, ben)
        await trio.sleep(200)
        async with running(cid, seconds=3_600):
            mesh.connect(ann, cid)
            await _until_complete(cid, False)
            assert _said(cid) == (False, {}), "nobody has said yet what there is"
            await _until_lacks(cid)
            complete, lacks = _said(cid)
            assert not complete
            assert None in lacks, "whose log it is is not known before its first entry"
            assert cid.node.status()["logs"]["behind"] > 150
            behind = [cid.node.status()["logs"]["behind"]]
            while not _said(cid)[0]:
                await trio.sleep(2)
                behind.append(cid.node.status()["logs"]["behind"])
            assert behind == sorted(behind, reverse=True)
            assert behind[-1] <= limits.LOGS_BEHIND_MAX
            for other in (ann, ben):
                assert cid.head_of(other) >= other.head_of(other) - limits.LOGS_BEHIND_MAX


@pytest.mark.trio
async def test_a_catch_up_that_broke_off_is_not_called_complete(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SYNC_PAGE_ENTRIES_MAX", 32)
    mesh = Mesh(tmp_path, SlowNetwork)
    ann, cid = mesh.member("ann", [web_check()]), mesh.member("cid")
    async with running(ann, seconds=3_600):
        await trio.sleep(200)
        async with running(cid, seconds=3_600):
            mesh.connect(ann, cid)
            await _until_lacks(cid)
            network = mesh.swarm.networks[cid.key]
            assert isinstance(network, SlowNetwork)
            network.broken = True
            await trio.sleep(2)
            mesh.swarm.cut(ann.key, cid.key)
            await trio.sleep(10)
            assert _said(cid) == (False, {}), "nobody is there to tell how much is missing"
            network.broken = False
            mesh.connect(ann, cid)
            await _until_complete(cid, True)
            assert cid.head_of(ann) >= ann.head_of(ann) - limits.LOGS_BEHIND_MAX


@pytest.mark.trio
async def test_what_is_not_taken_in_is_not_missed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh(tmp_path)
    ann, ben, cid = (mesh.member(name, [web_check()]) for name in ("ann", "ben", "cid"))
    assert isinstance(cid.configured, Settings)
    cid.configured = replace(cid.configured, policy=Policy(denied=frozenset({ben.key})))
    async with running(ann, ben, seconds=3_600):
        mesh.connect(ann, ben)
        await trio.sleep(60)
        async with running(cid, seconds=3_600):
            mesh.connect(ann, cid)
            await trio.sleep(60)
            assert cid.head_of(ben) == -1
            assert _said(cid)[0]
