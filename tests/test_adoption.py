"""Checks taken over from another member, on whole nodes and by the rules alone."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from demesh import limits
from demesh.checks.check import Check
from demesh.config.adopt import check_of
from demesh.config.load import Settings
from demesh.identity import peer_id
from demesh.log.entry import Kind
from demesh.probes.base import ProbeSpec
from demesh.view.presence import Presence
from tests.cluster import Member, Mesh, running

pytestmark = pytest.mark.trio
_SETTLED_SECONDS = limits.ADOPTED_SETTLED_MS / 1_000 + 3


def _check(name: str = "web", **rest: object) -> Check:
    return check_of({"name": name, "target": f"https://{name}.example.org/", "interval": "4s", "timeout": "1s", **rest})


def _adopting(member: Member, *sources: str, own: Sequence[Check] = (), tags: tuple[str, ...] = ()) -> Member:
    assert isinstance(member.configured, Settings)
    member.configured = replace(member.configured, adopt_checks=sources, checks=tuple(own), tags=tags)
    return member


def _configure(member: Member, *checks: Check) -> None:
    assert isinstance(member.configured, Settings)
    member.configured = replace(member.configured, checks=checks)


def _held(member: Member) -> dict[str, tuple[bool, str | None]]:
    """By name: whether it runs there, and where it comes from."""
    return {each["name"]: (each["runs_here"], each["from"]) for each in member.node.held_checks()}


def _vantages(observer: Member, name: str) -> dict[str, str | None]:
    (check,) = (each for each in observer.node.status()["checks"] if each["name"] == name)
    return {each["node"]: each["from"] for each in check["vantages"]}


async def test_one_file_serves_a_whole_mesh_and_the_votes_are_counted_together(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    fra = mesh.member("fra", [_check(), _check("eu", nodes=["tag:eu"])])
    nas, vps = _adopting(mesh.member("nas"), "fra"), _adopting(mesh.member("vps"), peer_id(fra.key), tags=("eu",))
    async with running(fra, nas, vps):
        mesh.connect(fra, nas, vps)
        await trio.sleep(_SETTLED_SECONDS + 10)
        assert _held(nas) == {"web": (True, "fra"), "eu": (False, "fra")}
        assert _held(vps) == {"web": (True, "fra"), "eu": (True, "fra")}
        for observer in (fra, nas, vps):
            assert _vantages(observer, "web") == {"fra": None, "nas": "fra", "vps": "fra"}
            assert [each["vote"] for each in observer.node.status()["checks"][1]["vantages"]] == ["pass"] * 3
            assert _vantages(observer, "eu") == {"vps": "fra"}


async def test_changes_are_followed_once_they_settled_and_silence_changes_nothing(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    fra, nas = mesh.member("fra", [_check()]), _adopting(mesh.member("nas"), "fra")
    async with running(fra, nas):
        mesh.connect(fra, nas)
        await trio.sleep(_SETTLED_SECONDS)
        plans = _plans(nas)
        for n in range(8):  # somebody edits the file again and again
            _configure(fra, _check(), _check(f"c{n}"))
            await fra.node.reload()
            await trio.sleep(1)
        assert set(_held(nas)) == {"web"}
        await trio.sleep(_SETTLED_SECONDS)
        assert set(_held(nas)) == {"web", "c7"}
        assert _plans(nas) == plans + 1
        mesh.forget(fra)
        await trio.sleep(120)
        assert nas.presence_of(fra) == Presence.SILENT
        assert set(_held(nas)) == {"web", "c7"}
    async with running(nas):  # and so it is after a restart without it
        assert set(_held(nas)) == {"web", "c7"}
        assert _plans(nas) == plans + 1


async def test_what_the_member_drops_is_dropped(autojump_clock: MockClock, mesh: Mesh) -> None:
    fra, nas = mesh.member("fra", [_check(), _check("old")]), _adopting(mesh.member("nas"), "fra")
    async with running(fra, nas):
        mesh.connect(fra, nas)
        await trio.sleep(_SETTLED_SECONDS)
        assert set(_held(nas)) == {"web", "old"}
        _configure(fra, _check())
        await fra.node.reload()
        await trio.sleep(_SETTLED_SECONDS)
        assert set(_held(nas)) == {"web"}
        assert isinstance(nas.configured, Settings)
        nas.configured = replace(nas.configured, adopt_checks=())
        await nas.node.reload()
        assert _held(nas) == {}


async def test_own_checks_win_and_what_was_taken_over_is_not_passed_on(
    autojump_clock: MockClock, mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    own, shop = _check(interval="8s"), replace(_check("shop"), own_login=True)
    fra = mesh.member("fra", [_check(), _check("more"), shop])
    nas = _adopting(mesh.member("nas"), "fra", own=[own, shop])
    far = _adopting(mesh.member("far"), "nas")
    async with running(fra, nas, far):
        mesh.connect(fra, nas, far)
        await trio.sleep(2 * _SETTLED_SECONDS)
        assert _held(nas) == {"web": (True, None), "shop": (True, None), "more": (True, "fra")}
        assert "of 'fra' is not taken over" not in caplog.text, "nobody asked for it"
        assert nas.node.settings.checks[0].interval_ms == 8_000
        assert _held(far) == {"web": (True, "nas")}


async def test_two_members_that_take_over_from_each_other_do_not_keep_checks_alive(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann, ben = _adopting(mesh.member("ann"), "ben", own=[_check()]), _adopting(mesh.member("ben"), "ann")
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(_SETTLED_SECONDS)
        assert set(_held(ben)) == {"web"}
        _configure(ann)
        await ann.node.reload()
        await trio.sleep(3 * _SETTLED_SECONDS)
        assert (_held(ann), _held(ben)) == ({}, {})


async def test_commands_plug_ins_and_what_holds_a_secret_are_left_out_and_named_once(
    autojump_clock: MockClock, mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    command = Check("disk", ProbeSpec("http", "command:check_disk", 1_000), interval_ms=4_000)
    login = replace(_check("shop"), own_login=True)
    fra, nas = mesh.member("fra", [command, login, _check()]), _adopting(mesh.member("nas"), "fra")
    async with running(fra, nas):
        mesh.connect(fra, nas)
        await trio.sleep(_SETTLED_SECONDS + 60)
        assert set(_held(nas)) == {"web"}
    said = [record.getMessage() for record in caplog.records if "not taken over" in record.getMessage()]
    assert sorted(each.split("'")[1] for each in said) == ["disk", "shop"]


async def test_a_name_that_two_bear_means_nobody_new(
    autojump_clock: MockClock, mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    fra, nas = mesh.member("fra", [_check()]), _adopting(mesh.member("nas"), "fra")
    late = _adopting(mesh.member("late"), "fra")
    fake = mesh.member("fake", [_check("evil")])
    assert isinstance(fake.configured, Settings)
    fake.configured = replace(fake.configured, name="fra")
    async with running(fra, nas):
        mesh.connect(fra, nas)
        await trio.sleep(_SETTLED_SECONDS)
        async with running(fake, late):
            mesh.connect(fra, nas, fake, late)
            await trio.sleep(30)
            assert set(_held(nas)) == {"web"}, "whose checks it has it goes on to follow"
            assert set(_held(late)) == set()
            assert "Several members are named 'fra'" in caplog.text


async def test_a_member_that_is_nowhere_is_told_once(
    autojump_clock: MockClock, mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    nas = _adopting(mesh.member("nas"), "frq")
    async with running(nas):
        await trio.sleep(30)
        assert "frq" not in caplog.text
        await trio.sleep(120)
    assert caplog.text.count("No member is named 'frq' yet") == 1


async def test_no_more_than_the_bound_are_taken_over(
    autojump_clock: MockClock, mesh: Mesh, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "ADOPTED_CHECKS_MAX", 3)
    fra, nas = mesh.member("fra", [_check(f"c{n}") for n in range(5)]), _adopting(mesh.member("nas"), "fra")
    async with running(fra, nas):
        mesh.connect(fra, nas)
        await trio.sleep(_SETTLED_SECONDS)
        assert set(_held(nas)) == {"c0", "c1", "c2"}
        assert "At most 3 checks are taken over" in caplog.text


async def test_many_checks_are_looked_at_bit_by_bit_and_taken_over_at_once(
    autojump_clock: MockClock, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ADOPTED_BUILT_PER_LOOK_MAX", 2)
    fra, nas = mesh.member("fra", [_check(f"c{n}") for n in range(9)]), _adopting(mesh.member("nas"), "fra")
    async with running(fra, nas):
        plans = _plans(nas)
        mesh.connect(fra, nas)
        await trio.sleep(_SETTLED_SECONDS)
        assert _held(nas) == {}
        await trio.sleep(5)
        assert len(_held(nas)) == 9
        assert _plans(nas) == plans + 1


async def test_spread_holds_for_those_who_took_a_check_over(autojump_clock: MockClock, mesh: Mesh) -> None:
    fra = mesh.member("fra", [_check(spread=1, nodes=["nas", "vps"])])
    nas, vps = _adopting(mesh.member("nas"), "fra"), _adopting(mesh.member("vps"), "fra")
    async with running(fra, nas, vps):
        mesh.connect(fra, nas, vps)
        await trio.sleep(limits.SPREAD_HAND_BACK_MS / 1_000 + 30)
        assert sorted(_held(each)["web"][0] for each in (fra, nas, vps)) == [False, False, True]
        assert not _held(fra)["web"][0], "its own file says that others run it"


def _plans(member: Member) -> int:
    return sum(entry.kind == Kind.PLAN for entry in member.own_log())
