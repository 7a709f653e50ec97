"""Decisions about alerts in a mesh of whole nodes in memory: made on one, heeded by all, kept over restarts."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from demesh import limits
from demesh.alerts.received import read_webhook
from demesh.config.load import Settings
from demesh.deciding import Wanted
from demesh.errors import UsageError
from demesh.identity import peer_id
from demesh.log.decision import Maintenance
from demesh.log.entry import Kind
from demesh.log.event import read_event
from demesh.log.matcher import Matcher
from demesh.outcome import Outcome
from tests.cluster import Member, Mesh, running, web_check
from tests.log.builders import counted

pytestmark = pytest.mark.trio
_WEB = (Matcher("check", "=", "web"),)
_HOUR_MS = 3_600_000


def _three(mesh: Mesh, *owners: str) -> list[Member]:
    return [mesh.member(owner, [web_check(interval_ms=4_000)]) for owner in owners or ("ann", "ben", "cat")]


def _settings(member: Member, **changed: Any) -> None:
    assert isinstance(member.configured, Settings)
    member.configured = replace(member.configured, **changed)


def _fail(*members: Member) -> None:
    for each in members:
        each.says = repeat(Outcome.FAIL)


def _told(member: Member) -> list[str]:
    """The names of the alerts that it has posted."""
    return sorted({alert["labels"]["alertname"] for _, alerts, _ in member.posts for alert in alerts})


def _events(member: Member, kind: Kind = Kind.EVENT) -> list[str]:
    return [read_event(each.payload).type for each in member.own_log() if each.kind == kind]


def _incident(member: Member) -> dict[str, Any]:
    (incident,) = member.node.status()["incidents"]
    return incident


async def test_a_silence_made_on_one_node_is_heeded_on_all_and_its_end_too(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann, ben, cat = _three(mesh)
    async with running(ann, ben, cat):
        mesh.connect(ann, ben, cat)
        await trio.sleep(20)
        await ann.node.deciding.silence(Wanted(_WEB, _HOUR_MS, "deploy", "ann"))
        await trio.sleep(5)
        _fail(ann, ben, cat)
        await trio.sleep(60)
        for each in (ann, ben, cat):
            assert each.incidents() == [("DemeshCheckDown", "web")], "it is shown"
            assert each.posts == [], "and nobody is notified"
            muted = _incident(each)["muted"]
            assert (muted["kind"], muted["by"], muted["comment"]) == ("silence", "ann", "deploy")
        (silence,) = cat.node.deciding.silences()
        assert (silence["node"], silence["matchers"]) == ("ann", ["check=web"])
        await cat.node.deciding.end_silence(silence["id"])
        await trio.sleep(5)
        for each in (ann, ben, cat):
            assert _told(each) == ["DemeshCheckDown"]
            assert _incident(each)["muted"] is None


async def test_a_silence_that_runs_out_while_it_is_still_wrong_lets_it_be_notified(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    (ann,) = _three(mesh, "ann")
    async with running(ann):
        await ann.node.deciding.silence(Wanted(_WEB, 120_000))
        _fail(ann)
        await trio.sleep(110)
        assert (ann.incidents(), ann.posts) == ([("DemeshCheckDown", "web")], [])
        await trio.sleep(15)
        assert _told(ann) == ["DemeshCheckDown"]


async def test_what_fires_goes_on_firing_when_it_is_silenced_and_is_resolved_when_it_is_over(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    (ann,) = _three(mesh, "ann")
    async with running(ann):
        _fail(ann)
        await trio.sleep(60)
        await ann.node.deciding.silence(Wanted(_WEB, _HOUR_MS))
        ann.posts.clear()
        await trio.sleep(65)
        assert len(ann.posts) >= 2
        assert _incident(ann)["muted"]["kind"] == "silence"
        ann.says = repeat(Outcome.PASS)
        await trio.sleep(60)
        assert ann.incidents() == []
        (alert,) = ann.posts[-1][1]
        assert alert["endsAt"] <= ann.node.status()["as_of"], "it is told that it is over"
        assert ann.node.deciding.alerts()["closed"][0]["subject"] == "web"


async def test_restarts_keep_a_silence_and_acknowledgements(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = _three(mesh, "ann", "ben")
    _fail(ann, ben)
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(60)
        await ann.node.deciding.silence(Wanted((Matcher("check", "=", "api"),), _HOUR_MS))
        assert await ann.node.deciding.acknowledge("web", "on it", "ann") == ["DemeshCheckDown web"]
        await trio.sleep(5)
        assert _incident(ben)["acknowledged"]["by"] == "ann"
    for member in (ann, ben):
        member.posts.clear()
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(60)
        for each in (ann, ben):
            assert [silence["matchers"] for silence in each.node.deciding.silences()] == [["check=api"]]
            assert _incident(each)["acknowledged"]["comment"] == "on it"
            assert _told(each) == ["DemeshCheckDown"], "Alertmanager is told as before"
        assert await ben.node.deciding.unacknowledge("DemeshCheckDown/web") == ["DemeshCheckDown web"]
        await trio.sleep(5)
        assert _incident(ann)["acknowledged"] is None


async def test_only_operators_are_heeded_where_some_are_named(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben, cat = _three(mesh)
    _settings(ann, operators=frozenset({"cat"}))
    _settings(ben, operators=frozenset({peer_id(cat.key)}))
    async with running(ann, ben, cat):
        mesh.connect(ann, ben, cat)
        await trio.sleep(20)
        await ann.node.deciding.silence(Wanted(_WEB, _HOUR_MS))
        await cat.node.deciding.silence(Wanted((Matcher("check", "=", "api"),), _HOUR_MS))
        await trio.sleep(5)
        shown = [[silence["node"] for silence in each.node.deciding.silences()] for each in (ann, ben, cat)]
        assert [sorted(each) for each in shown] == [["cat"], ["cat"], ["ann", "cat"]]
        _settings(ann, operators=None)
        await ann.node.reload()
        assert len(ann.node.deciding.silences()) == 2


async def test_configured_maintenance_is_told_once_and_ends_when_it_is_taken_out(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann, ben = _three(mesh, "ann", "ben")
    always = Maintenance("always", "daily 00:00-24:00 Europe/Berlin", checks=("web",), configured=True)
    weekly = Maintenance("weekly", "Sun 02:00-03:00", configured=True)
    _settings(ann, maintenance=(always, weekly))
    for _ in range(2):
        async with running(ann, ben):
            mesh.connect(ann, ben)
            await trio.sleep(60)
            assert _events(ann) == ["maintenance"] * 2
            told = {each["name"]: each for each in ben.node.deciding.maintenance()}
            assert {name: each["active"] for name, each in told.items()} == {"always": True, "weekly": False}
            assert told["always"]["node"] == "ann"
    _fail(ann, ben)
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(60)
        assert _incident(ben)["muted"]["kind"] == "maintenance"
        assert ben.posts == []
        _settings(ann, maintenance=(weekly,))
        await ann.node.reload()
        await trio.sleep(10)
        assert _events(ann) == ["maintenance"] * 2 + ["maintenance_end"]
        assert _told(ben) == ["DemeshCheckDown"]
        (left,) = ben.node.deciding.maintenance()
        await ben.node.deciding.end_maintenance(left["id"])
        await trio.sleep(65)
        assert ann.node.deciding.maintenance() == [], "what was ended by hand is not begun again"


async def test_maintenance_by_hand_mutes_until_it_is_over(autojump_clock: MockClock, mesh: Mesh) -> None:
    (ann,) = _three(mesh, "ann")
    async with running(ann):
        await ann.node.deciding.maintain(Wanted((), _HOUR_MS, "new disk", "ann"), "disk")
        _fail(ann)
        await trio.sleep(60)
        assert ann.posts == []
        (going_on,) = ann.node.deciding.maintenance()
        assert (going_on["name"], going_on["active"], going_on["configured"]) == ("disk", True, False)
        await ann.node.deciding.end_maintenance(going_on["id"])
        await trio.sleep(5)
        assert _told(ann) == ["DemeshCheckDown"]


async def test_what_cannot_be_decided_is_refused_in_a_sentence(autojump_clock: MockClock, mesh: Mesh) -> None:
    (ann,) = _three(mesh, "ann")
    async with running(ann):
        deciding = ann.node.deciding
        for wanted in (
            Wanted((), 1),
            Wanted((Matcher("check", "!=", "web"),), 1),
            Wanted((Matcher("check", "=~", ".*"),), 1),
            Wanted(_WEB, 0),
            Wanted(_WEB, limits.DECISION_MS_MAX + 1),
            Wanted(_WEB, 1, "x" * 1_000),
        ):
            with pytest.raises(UsageError, match=r"[.]$|silence everything"):
                await deciding.silence(wanted)
        for refused in (
            deciding.end_silence("ab-1"),
            deciding.acknowledge("web", "", ""),
            deciding.unacknowledge("web"),
        ):
            with pytest.raises(UsageError):
                await refused
        assert _events(ann) == []


def _webhook(*alerts: dict[str, Any], receiver: str = "demesh") -> Any:
    return read_webhook({"version": "4", "receiver": receiver, "alerts": list(alerts), "later": 1})


def _alert(status: str = "firing", starts_at: str = "2023-11-14T22:00:00.123456789Z", **labels: str) -> dict[str, Any]:
    labels = labels or {"alertname": "DiskFull", "host": "nas"}
    return {"status": status, "labels": labels, "startsAt": starts_at, "fingerprint": "0123456789abcdef", "later": {}}


def _watchdog(node: str, mesh: str, **more: str) -> dict[str, Any]:
    return _alert(alertname="DemeshWatchdog", mesh=mesh, node=node, severity="none", **more)


def _foreign(members: Sequence[Member]) -> list[list[str]]:
    return [
        [each["labels"]["alertname"] for each in member.node.deciding.alerts()["from_alertmanager"]]
        for member in members
    ]


async def test_what_an_alertmanager_tells_one_node_is_shown_by_all_and_told_once(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann, ben = _three(mesh, "ann", "ben")
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(20)
        for _ in range(3):
            await ann.node.deciding.hook(_webhook(_alert()))
        await trio.sleep(5)
        assert await ben.node.deciding.hook(_webhook(_alert())) == 0, "another member has told it"
        assert _foreign((ann, ben)) == [["DiskFull"]] * 2
        await ben.node.deciding.hook(_webhook(_alert("resolved")))
        await trio.sleep(5)
        assert await ann.node.deciding.hook(_webhook(_alert("resolved"))) == 0
        assert _foreign((ann, ben)) == [[]] * 2
        assert await ann.node.deciding.hook(_webhook(_alert(starts_at="2023-11-14T23:00:00Z"))) == 1, "it fires again"
        own = _alert(alertname="DemeshCheckDown", mesh=ann.node.mesh, check="web")
        assert await ann.node.deciding.hook(_webhook({**own, "fingerprint": "ff"})) == 0, "that is known better here"
        assert (_events(ann, Kind.NOTICE), _events(ben, Kind.NOTICE)) == (["alert"] * 2, ["alert"])


async def test_a_flood_of_alerts_is_bounded_and_counted(autojump_clock: MockClock, mesh: Mesh) -> None:
    (ann,) = _three(mesh, "ann")
    flood = [{**_alert(), "fingerprint": f"{number:x}"} for number in range(limits.HOOK_NOTICES_BURST + 10)]
    before = counted("demesh_refused_total", room="hook", reason="rate")
    async with running(ann, seconds=9_000):
        assert await ann.node.deciding.hook(_webhook(*flood)) == limits.HOOK_NOTICES_BURST
        assert counted("demesh_refused_total", room="hook", reason="rate") == before + 10
        await trio.sleep(600)
        assert await ann.node.deciding.hook(_webhook(*flood)) == 10, "what was left out is told later"


async def test_a_watchdog_that_comes_back_proves_the_path_and_one_that_does_not_is_an_incident(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann, ben = _three(mesh, "ann", "ben")
    _settings(ann, watchdog=True)
    async with running(ann, ben, seconds=9_000):
        mesh.connect(ann, ben)
        await trio.sleep(40)
        (sent,) = [alert for _, alerts, _ in ann.posts[-1:] for alert in alerts]
        assert sent["labels"] == {
            "alertname": "DemeshWatchdog",
            "mesh": ann.node.mesh,
            "node": "ann",
            "severity": "none",
        }
        assert ben.posts == []
        for _ in range(6):
            await ben.node.deciding.hook(_webhook(_watchdog("ann", ann.node.mesh)))
            await trio.sleep(60)
        assert _events(ben, Kind.NOTICE) == ["alert_path"] * 2, "every few minutes at most"
        (path,) = ann.node.deciding.alerts()["alert_paths"]
        assert (path["node"], path["receiver"], path["to"], path["works"]) == ("ann", "demesh", ["ben"], True)
        await trio.sleep(limits.ALERT_PATH_STOPPED_MS / 1_000)
        for each in (ann, ben):
            assert each.incidents() == [("DemeshAlertPathBroken", "ann")]
        await ben.node.deciding.hook(_webhook(_watchdog("ann", ann.node.mesh)))
        await trio.sleep(5)
        assert ann.incidents() == ben.incidents() == []
        _settings(ann, watchdog=False)
        await ann.node.reload()
        await trio.sleep(2 * limits.ALERT_PATH_STOPPED_MS / 1_000)
        assert ann.incidents() == ben.incidents() == [], "a watchdog that is not sent any more is not missed"
        assert ben.node.deciding.alerts()["alert_paths"] == []


async def test_a_watchdog_of_another_mesh_proves_nothing(autojump_clock: MockClock, mesh: Mesh) -> None:
    (ann,) = _three(mesh, "ann")
    async with running(ann):
        await ann.node.deciding.hook(_webhook(_watchdog("ann", "ffffffff")))
        assert ann.node.deciding.alerts()["alert_paths"] == []
        assert _foreign([ann]) == [["DemeshWatchdog"]], "it is an alert as any other"
