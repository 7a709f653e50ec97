"""A node hangs when any of the loops that it lives by does, and never for what is not its fault. Whole nodes on virtual time."""

from pathlib import Path

import pytest
import trio

from demesh import limits
from demesh.pulse import AUTHOR, INTAKE, SYNCER
from tests.cluster import FLUSH_SECONDS, Member, Mesh, running, web_check

MINUTE = 60
LATE = limits.PULSE_LATE_MS_MAX / 1_000


def _pair(tmp_path: Path) -> tuple[Member, Member]:
    mesh = Mesh(tmp_path)
    ann, ben = mesh.member("ann", [web_check()]), mesh.member("ben", [web_check()])
    ann.meets = [ben]
    return ann, ben


async def _found(member: Member, seconds: float) -> list[str]:
    """The first that hangs within that time, looked at every second."""
    deadline = trio.current_time() + seconds
    while trio.current_time() < deadline:
        await trio.sleep(1)
        if hanging := member.node.hanging():
            return hanging
    return []


@pytest.mark.trio
async def test_a_node_that_is_well_does_not_hang_with_peers_or_without(tmp_path: Path, autojump_clock: object) -> None:
    ann, ben = _pair(tmp_path)
    async with running(ben, ann, seconds=20 * MINUTE):
        assert await _found(ann, 5 * MINUTE) == []
        ann.swarm.networks[ann.key].die()
        assert await _found(ann, 5 * MINUTE) == []


@pytest.mark.trio
async def test_a_disk_that_does_not_answer_for_minutes_is_no_hang(tmp_path: Path, autojump_clock: object) -> None:
    ann, ben = _pair(tmp_path)
    async with running(ben, ann, seconds=20 * MINUTE):
        await trio.sleep(60)
        ann.storage.gate = trio.Event()
        assert await _found(ann, 5 * MINUTE) == []
        ann.storage.gate.set()
        ann.storage.gate = None
        assert await _found(ann, 5 * MINUTE) == []


@pytest.mark.trio
async def test_an_author_that_waits_for_itself_is_a_hang(tmp_path: Path, autojump_clock: object) -> None:
    ann, ben = _pair(tmp_path)
    async with running(ben, ann, seconds=20 * MINUTE):
        await trio.sleep(60)
        async with ann.node._own_log._author._one_at_a_time:  # and whoever took it forgot to give it back
            assert await _found(ann, FLUSH_SECONDS + LATE + 2) == [AUTHOR]
            assert ben.node.hanging() == []
        assert await _found(ann, 5 * MINUTE) == []


@pytest.mark.trio
async def test_an_intake_that_does_not_get_through_with_a_message_is_a_hang(
    tmp_path: Path, autojump_clock: object
) -> None:
    ann, ben = _pair(tmp_path)
    async with running(ben, ann, seconds=20 * MINUTE):
        await trio.sleep(60)
        async with ann.node._intake._one_at_a_time:
            assert await _found(ann, FLUSH_SECONDS + LATE + 2) == [INTAKE]
        assert await _found(ann, 5 * MINUTE) == []


@pytest.mark.trio
async def test_a_syncer_that_asks_nobody_any_more_is_a_hang(
    tmp_path: Path, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, ben = _pair(tmp_path)
    async with running(ben, ann, seconds=20 * MINUTE):
        await trio.sleep(60)

        async def never(_: bytes) -> None:
            await trio.sleep_forever()

        monkeypatch.setattr(ann.node._intake, "lost", never)
        ann.swarm.cut(ann.key, ben.key)
        assert await _found(ann, 2 * limits.SYNC_INTERVAL_SECONDS + LATE + 2) == [SYNCER]
