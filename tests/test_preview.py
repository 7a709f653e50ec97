"""A late joiner says how things are before it holds the logs that say so; whole nodes on virtual time."""

from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import trio

from demesh import limits
from demesh.outcome import Outcome
from demesh.view.presence import Presence
from tests.cluster import Member, Mesh, running, web_check
from tests.test_catching_up import SlowNetwork

_AGE_SECONDS = 600


@pytest.fixture(autouse=True)
def long_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is long in days is long in minutes."""
    for name, value in {
        "SYNC_PAGE_ENTRIES_MAX": 32,
        "SHOWN_BEHIND_MAX": 48,
        "PREVIEW_BEHIND_MIN": 96,
        "STARTUP_TAIL_ENTRIES_MAX": 32,
    }.items():
        monkeypatch.setattr(limits, name, value)


def _down(mesh: Mesh, name: str) -> Member:
    member = mesh.member(name, [web_check(interval_ms=10_000)])
    member.says = repeat(Outcome.TIMEOUT)
    return member


def _said(member: Member) -> dict[str, Any]:
    return {check["name"]: check["state"] for check in member.node.status()["checks"]}


async def _until(holds: Callable[[], bool], seconds: float = 60) -> None:
    with trio.fail_after(seconds):
        while not holds():  # noqa: ASYNC110 nothing tells
            await trio.sleep(0.1)


def _is_complete(member: Member) -> bool:
    return member.node.status()["logs"]["complete"]


@pytest.mark.trio
async def test_a_late_joiner_tells_the_right_verdict_long_before_it_holds_the_log(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    mesh = Mesh(tmp_path, SlowNetwork)
    ann, cid = _down(mesh, "ann"), mesh.member("cid")
    ann.says = chain(repeat(Outcome.PASS, _AGE_SECONDS // 10), repeat(Outcome.TIMEOUT))
    async with running(ann, seconds=3_600):
        await trio.sleep(_AGE_SECONDS + 60)
        async with running(cid, seconds=3_600):
            mesh.connect(ann, cid)
            await _until(lambda: _said(cid) == {"web": "down"}, 15)
            assert cid.head_of(ann) < ann.head_of(ann) / 2
            assert not _is_complete(cid)
            assert [each["node"] for each in cid.node.status()["logs"]["lacks"]] == ["ann"]
            while not _is_complete(cid):
                assert _said(cid) == {"web": "down"}, "what is known already is not thrown back by what was before"
                assert cid.presence_of(ann) == Presence.ALIVE
                await trio.sleep(0.5)
            await trio.sleep(60)
            assert _said(cid) == _said(ann)
            assert cid.node.status()["checks"][0]["since"] == ann.node.status()["checks"][0]["since"]
    assert cid.history() == cid.history_made_anew()


@pytest.mark.trio
async def test_the_log_of_a_third_one_is_told_by_whoever_holds_it(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    mesh = Mesh(tmp_path, SlowNetwork)
    ann, ben, cid = mesh.member("ann"), _down(mesh, "ben"), mesh.member("cid")
    async with running(ann, ben, seconds=3_600):
        mesh.connect(ann, ben)
        await trio.sleep(_AGE_SECONDS)
        async with running(cid, seconds=3_600):
            mesh.connect(ann, cid)
            await _until(lambda: cid.node.view.member(ben.key) is not None, 30)
            assert not _is_complete(cid)
            await _until(lambda: _said(cid) == {"web": "down"}, 40)
            assert cid.presence_of(ben) == Presence.ALIVE, "gossip goes on from where the preview ends"
            assert cid.head_of(ben) < ben.head_of(ben)
            await _until(lambda: _is_complete(cid), 300)
            assert (_said(cid), cid.presence_of(ben)) == ({"web": "down"}, Presence.ALIVE)


@pytest.mark.trio
async def test_what_was_shown_of_a_log_goes_with_the_peer_if_nothing_of_it_is_stored(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    mesh = Mesh(tmp_path, SlowNetwork)
    ann, ben, cid = mesh.member("ann"), _down(mesh, "ben"), mesh.member("cid")
    async with running(ann, ben, seconds=3_600):
        mesh.connect(ann, ben)
        await trio.sleep(_AGE_SECONDS)
        async with running(cid, seconds=3_600):
            mesh.connect(ann, cid)
            await _until(lambda: cid.node.view.member(ben.key) is not None)
            assert cid.head_of(ben) == -1
            mesh.forget(cid)
            await trio.sleep(20)
            assert cid.node.view.member(ben.key) is None
            assert _said(cid) == {}
            ann_now = cid.node.view.member(ann.key)
            assert (ann_now is not None) == (cid.head_of(ann) >= 0)
            if ann_now is not None:
                assert ann_now.current.newest is not None
                assert ann_now.current.newest.seq == cid.head_of(ann), "of a log that broke off what is stored is shown"
            mesh.connect(ann, cid)
            await _until(lambda: _is_complete(cid), 300)
            await _until(lambda: _said(cid) == {"web": "down"}, 40)


@pytest.mark.trio
async def test_a_node_that_was_away_for_long_is_shown_the_end_first_too(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    mesh = Mesh(tmp_path, SlowNetwork)
    ann, cid = mesh.member("ann", [web_check(interval_ms=10_000)]), mesh.member("cid")
    async with running(ann, seconds=7_200):
        async with running(cid, seconds=3_600):
            mesh.connect(ann, cid)
            await _until(lambda: _said(cid) == {"web": "up"})
        mesh.forget(cid)
        ann.says = repeat(Outcome.TIMEOUT)
        await trio.sleep(_AGE_SECONDS)
        async with running(cid, seconds=3_600):
            mesh.connect(ann, cid)
            await _until(lambda: _said(cid) == {"web": "down"}, 15)
            assert not _is_complete(cid)
            await _until(lambda: _is_complete(cid), 300)
            assert _said(cid) == {"web": "down"}


@pytest.mark.trio
async def test_votes_of_a_preview_are_not_saved(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh(tmp_path, SlowNetwork)
    ann, cid = _down(mesh, "ann"), mesh.member("cid")
    async with running(ann, seconds=7_200):
        await trio.sleep(_AGE_SECONDS)
        async with running(cid, seconds=3_600):
            mesh.connect(ann, cid)
            await _until(lambda: _said(cid) == {"web": "down"}, 15)
        mesh.forget(cid)
        async with running(cid, seconds=3_600):
            known = cid.node.view.member(ann.key)
            assert known is None or known.current.voted_seq <= cid.head_of(ann)
            mesh.connect(ann, cid)
            await _until(lambda: cid.head_of(ann) >= ann.head_of(ann) - 1, 300)
            assert _said(cid) == {"web": "down"}
