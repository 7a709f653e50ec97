"""Machines that sleep, and processes that are stopped, raise no false alarm when they go on; on virtual time."""

from pathlib import Path

import pytest
import trio

from demesh.outcome import Outcome
from tests.cluster import Member, Mesh, running, web_check

_TWO_HOURS_MS = 7_200_000


async def _three(tmp_path: Path) -> tuple[Mesh, list[Member]]:
    mesh = Mesh(tmp_path)
    checks = [web_check(interval_ms=20_000, retry_interval_ms=2_000)]
    return mesh, [mesh.member(name, checks) for name in ("ann", "ben", "cid")]


@pytest.mark.trio
async def test_nobody_is_told_anything_when_suspended_machines_wake(tmp_path: Path, autojump_clock: object) -> None:
    mesh, members = await _three(tmp_path)
    async with running(*members, seconds=3_600):
        mesh.connect(*members)
        await trio.sleep(120)
        assert [each.incidents() for each in members] == [[], [], []]
        for each in members:
            each.sleep(_TWO_HOURS_MS)
        for _ in range(300):
            await trio.sleep(1)
            assert [each.incidents() for each in members] == [[], [], []]
        assert all(each.posts == [] for each in members)


@pytest.mark.trio
async def test_a_lone_node_that_was_suspended_is_not_missing_its_own_results(
    tmp_path: Path, autojump_clock: object
) -> None:
    node = Mesh(tmp_path).member("ann", [web_check(interval_ms=20_000, retry_interval_ms=2_000)])
    async with running(node, seconds=3_600):
        await trio.sleep(60)
        node.sleep(_TWO_HOURS_MS)
        await trio.sleep(200)
        assert node.incidents() == []
        assert node.posts == []


@pytest.mark.trio
async def test_an_outage_that_goes_on_over_a_sleep_is_still_one_incident(
    tmp_path: Path, autojump_clock: object
) -> None:
    node = Mesh(tmp_path).member("ann", [web_check(interval_ms=20_000, retry_interval_ms=2_000)])
    node.says = iter(lambda: Outcome.FAIL, None)
    async with running(node, seconds=3_600):
        await trio.sleep(120)
        assert node.incidents() == [("DemeshCheckDown", "web")]
        node.sleep(_TWO_HOURS_MS)
        for _ in range(120):
            await trio.sleep(1)
            assert node.incidents() == [("DemeshCheckDown", "web")]
