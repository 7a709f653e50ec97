"""A node whose network dies goes on by itself, accuses nobody, and is back with its peers; on virtual time."""

from pathlib import Path

import pytest
import trio
from prometheus_client import REGISTRY

from demesh import limits
from demesh.address import parse_peer
from demesh.config.load import Settings
from demesh.errors import NetworkError
from demesh.outcome import Outcome
from demesh.view.presence import Presence
from tests.cluster import FLUSH_SECONDS, Member, Mesh, running, web_check

MINUTE = 60
PORT_TAKEN = "192.0.2.1:8471 is taken by another process."


def _dialling(mesh: Mesh, member: Member, peer: Member) -> None:
    """`member` has `peer` in its configuration."""
    mesh.swarm.listening["192.0.2.9", 8471] = peer.key
    settings = member.configured
    assert isinstance(settings, Settings)
    member.configured = Settings(
        settings.name,
        flush_interval_ms=settings.flush_interval_ms,
        alertmanagers=settings.alertmanagers,
        checks=settings.checks,
        peers=(parse_peer("192.0.2.9:8471"),),
    )


def _pair(tmp_path: Path) -> tuple[Member, Member]:
    """Two nodes; ann dials ben, and is the only one that has a check."""
    mesh = Mesh(tmp_path)
    ann, ben = mesh.member("ann", [web_check()]), mesh.member("ben")
    _dialling(mesh, ann, ben)
    return ann, ben


async def _together(ann: Member, ben: Member, seconds: float = 10) -> None:
    with trio.fail_after(seconds):
        while ann.key not in ben.swarm.networks[ben.key].peers():  # noqa: ASYNC110 nothing tells
            await trio.sleep(0.1)


def _restarts() -> float:
    return REGISTRY.get_sample_value("demesh_network_restarts_total") or 0.0


@pytest.mark.trio
async def test_a_network_that_dies_is_back_within_seconds_and_knows_its_peers(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    ann, ben = _pair(tmp_path)
    before = _restarts()
    async with running(ben, ann):
        await _together(ann, ben)
        assert ann.node.status()["network"] == {
            "running": True,
            "cut_off": False,
            "down_since": None,
            "rebuilds": 0,
            "failed_at": None,
            "problem": None,
        }
        ann.swarm.networks[ann.key].die()
        await trio.sleep(0.01)
        assert ann.swarm.networks[ann.key].peers() == ben.swarm.networks[ben.key].peers() == frozenset()
        assert ann.node.status()["network"]["running"] is False
        assert ann.node.status()["network"]["down_since"]
        await _together(ann, ben, 3)
        told = ann.node.status()["network"]
        assert (told["running"], told["rebuilds"], told["problem"]) == (True, 1, "A service of the network stopped.")
        assert _restarts() == before + 1
        head = ben.head_of(ann)
        await trio.sleep(3 * FLUSH_SECONDS)
        assert ben.head_of(ann) > head, "what it writes arrives again"
        warnings = next(each for each in ben.node.status()["nodes"] if each["name"] == "ann")["warnings"]
        assert [each["subject"] for each in warnings] == ["network"], "the mesh hears of it"
    lines = [each.getMessage() for each in caplog.records if "network of this node" in each.getMessage()]
    assert [line.split(":")[0].split(",")[0] for line in lines] == [
        "The network of this node stopped",
        "The network of this node runs again",
    ]


@pytest.mark.trio
async def test_a_node_without_its_network_goes_on_and_accuses_nobody(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    ann, ben = _pair(tmp_path)
    network = ann.swarm.networks
    async with running(ben, ann, seconds=3_600):
        await _together(ann, ben)
        await trio.sleep(MINUTE)
        network[ann.key].cannot_start = PORT_TAKEN
        network[ann.key].die()
        caplog.clear()
        written, probed = len(ann.own_log()), len(ann.probed_s)
        ann.says = iter(lambda: Outcome.FAIL, None)
        await trio.sleep(10 * MINUTE)
        assert len(ann.probed_s) >= probed + 9
        assert len(ann.own_log()) > written + 100
        # It has not heard of ben for ten minutes because it cannot hear; ben has every reason to call it silent.
        assert ann.presence_of(ben) == Presence.ALIVE
        assert ben.presence_of(ann) == Presence.SILENT
        assert ("DemeshNodeSilent", "ben") not in ann.incidents()
        assert ("DemeshNodeSilent", "ann") in ben.incidents()
        assert ("DemeshCheckDown", "web") in ann.incidents()
        assert ann.posts, "it alerts, too"
        down = ann.node.status()["network"]
        assert (down["running"], down["rebuilds"], down["problem"]) == (False, 0, PORT_TAKEN)
        lines = [each for each in caplog.records if each.name == "demesh.mesh.supervisor"]
        assert len(lines) == 2, "one for each reason, none for each attempt"
        network[ann.key].cannot_start = ""
        await _together(ann, ben, 2 * limits.NETWORK_REBUILD_SECONDS_MAX)
        await trio.sleep(30)
        assert ann.presence_of(ben) == ben.presence_of(ann) == Presence.ALIVE
        assert ben.head_of(ann) >= written + 100, "ben has all that was written meanwhile"
        assert ann.node.status()["network"]["rebuilds"] == 1


@pytest.mark.trio
async def test_who_dies_while_the_network_is_down_is_found_silent_afterwards(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    ann, ben = _pair(tmp_path)
    async with running(ben, ann, seconds=3_600):
        await _together(ann, ben)
        await trio.sleep(MINUTE)
        ann.swarm.networks[ann.key].cannot_start = PORT_TAKEN
        ann.swarm.networks[ann.key].die()
        await trio.sleep(MINUTE)
        del ann.swarm.listening["192.0.2.9", 8471]  # ben cannot be had any more
        ann.swarm.networks[ann.key].cannot_start = ""
        await trio.sleep(3 * MINUTE)
        assert ann.node.status()["network"]["running"]
        assert ann.presence_of(ben) == Presence.SILENT


@pytest.mark.trio
async def test_a_network_that_is_dead_without_a_word_is_built_anew(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    ann, ben = _pair(tmp_path)
    async with running(ben, ann, seconds=3_600):
        await _together(ann, ben)
        await trio.sleep(limits.NETWORK_EXAMINE_SECONDS + 1)
        network = ann.swarm.networks[ann.key]
        network.ails = "Its gossip router has not moved."
        await trio.sleep(limits.NETWORK_EXAMINE_SECONDS * (limits.NETWORK_EXAMINATIONS_FAILED_MAX - 1))
        assert ann.node.status()["network"]["rebuilds"] == 0, "once may be chance"
        await trio.sleep(limits.NETWORK_EXAMINE_SECONDS + 5)
        assert ann.node.status()["network"]["rebuilds"] == 1
        assert ann.node.status()["network"]["problem"] == "Its gossip router has not moved."
        network.ails = ""
        await _together(ann, ben)


@pytest.mark.trio
async def test_an_examination_that_does_not_end_is_a_bad_one(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, ben = _pair(tmp_path)
    async with running(ben, ann, seconds=3_600):
        await trio.sleep(limits.NETWORK_EXAMINE_SECONDS + 1)
        monkeypatch.setattr(ann.swarm.networks[ann.key], "examine", trio.sleep_forever)
        seconds = limits.NETWORK_EXAMINE_SECONDS + limits.NETWORK_EXAMINE_SECONDS_MAX
        await trio.sleep(limits.NETWORK_EXAMINATIONS_FAILED_MAX * seconds)
        assert "did not answer to itself" in ann.node.status()["network"]["problem"]


@pytest.mark.trio
async def test_a_network_that_cannot_start_at_first_ends_the_node(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = Mesh(tmp_path).member("ann")
    build = ann._network

    def taken(*args: object) -> object:
        network = build(*args)  # pyright: ignore[reportArgumentType]
        network.cannot_start = PORT_TAKEN
        return network

    monkeypatch.setattr(ann, "_network", taken)
    with pytest.RaisesGroup(pytest.RaisesExc(NetworkError, match="taken"), flatten_subgroups=True):
        async with running(ann):
            pass
