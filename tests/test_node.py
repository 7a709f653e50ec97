"""The promises of `demesh.node` as a whole: its wiring, with a network, a store, a probe and a clock of the test's own."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain, cycle, pairwise, repeat
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from demesh import limits
from demesh.address import parse_peer
from demesh.checks.check import Check
from demesh.config.load import Settings
from demesh.errors import ConfigError
from demesh.log.entry import Entry, Kind
from demesh.log.event import warning
from demesh.log.hello import read_hello
from demesh.log.plan import read_plan_part
from demesh.log.results import read_results
from demesh.log.rollup import read_rollup
from demesh.outcome import Outcome
from demesh.probes.base import ProbeSpec
from demesh.view.presence import Presence
from tests.cluster import ALERTMANAGER, FLUSH_SECONDS, Member, Mesh, running, web_check
from tests.log.builders import (
    START_WALL_MS,
    counted,
)

pytestmark = pytest.mark.trio
_PULL_SECONDS_MIN = 20
"""No node pulls of its own accord before: what is known earlier was pulled for a reason."""
_SILENT_SECONDS = 2 * FLUSH_SECONDS + 5 + 10
_HOUR = 3_600


def _agree(*members: Member) -> bool:
    return all(each.node.logs.states() == members[0].node.logs.states() for each in members)


async def test_connecting_brings_the_others_log_though_every_broadcast_is_lost(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    mesh.swarm.lossy = True
    ann, ben = mesh.member("ann"), mesh.member("ben")
    async with running(ann, ben):
        await trio.sleep(3)
        assert ben.head_of(ann) == -1
        mesh.connect(ann, ben)
        await trio.sleep(0.5)
        assert ben.head_of(ann) >= 2
        assert _agree(ann, ben)


async def test_nodes_find_the_peers_they_are_told_of(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    mesh.swarm.listening["10.0.0.2", 8471] = ben.key
    assert isinstance(ann.configured, Settings)
    ann.configured = replace(ann.configured, peers=(parse_peer("10.0.0.2:8471"),))
    async with running(ben, ann):
        await trio.sleep(5)
        assert _agree(ann, ben)
        mesh.swarm.cut(ann.key, ben.key)
        await trio.sleep(10)
        assert ann.presence_of(ben) == ben.presence_of(ann) == Presence.ALIVE


async def test_gap_that_gossip_shows_is_pulled(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        mesh.swarm.lossy = True
        await trio.sleep(5.5)
        assert not _agree(ann, ben)
        mesh.swarm.lossy = False
        await trio.sleep(FLUSH_SECONDS + 0.5)
        assert _agree(ann, ben)
        assert {ann.presence_of(ben), ben.presence_of(ann)} == {Presence.ALIVE}  # so nobody was asked about a suspect
        assert trio.current_time() < _PULL_SECONDS_MIN


async def test_others_are_asked_about_a_suspect_member(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben, cat = (mesh.member(owner) for owner in ("ann", "ben", "cat"))
    async with running(ann, ben, cat):
        mesh.connect(ann, ben, cat)
        await trio.sleep(1)
        mesh.swarm.cut(ann.key, ben.key)  # nobody passes gossip on in this network
        known = ben.head_of(ann)
        await trio.sleep(2 * FLUSH_SECONDS + 5 - 1.5)
        assert (ben.presence_of(ann), ben.head_of(ann)) == (Presence.ALIVE, known)
        pulls = counted("demesh_syncs_total", outcome="done")
        await trio.sleep(4)
        assert ben.head_of(ann) > known
        assert counted("demesh_syncs_total", outcome="done") == pulls + 2  # one by each that was cut off
        assert trio.current_time() < _PULL_SECONDS_MIN


async def test_restart_with_the_marker_goes_on_in_the_same_log(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann = mesh.member("ann", [web_check()])
    async with running(ann):
        await trio.sleep(1)
    async with running(ann):
        kinds = [entry.kind for entry in ann.own_log()]
    assert kinds == [Kind.HELLO, Kind.PLAN, Kind.RESULTS, Kind.BYE, Kind.RESULTS]


async def test_restart_without_the_marker_begins_an_epoch_that_names_the_last(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann = mesh.member("ann", [web_check()])
    async with running(ann):
        await trio.sleep(1)
        first = ann.node.logs.states()[0].log
    assert ann.marker is not None
    before = (first, ann.marker.head)
    ann.marker = None
    for _ in range(2):  # the second time it goes on in the new epoch, and still says where that came from
        async with running(ann):
            hellos = [read_hello(entry) for entry in ann.own_log() if entry.kind == Kind.HELLO]
            assert [hello.previous for hello in hellos] == [before]
            assert ann.own_log()[1].kind == Kind.PLAN
            assert len(ann.node.logs.states()) == 2


def _state_of(member: Member) -> str:
    """What it says of the check `web`."""
    return next(check["state"] for check in member.node.status()["checks"] if check["name"] == "web")


async def test_quick_restart_forgets_no_failure(autojump_clock: MockClock, mesh: Mesh) -> None:
    check = web_check(interval_ms=60_000, retry_interval_ms=4_000, fail_after=3)
    ann = mesh.member("ann", [check], flush_seconds=10)
    ann.says = repeat(Outcome.FAIL)
    async with running(ann):
        await trio.sleep(5)
        assert _state_of(ann) == "unknown"  # two of three
    async with running(ann):
        await trio.sleep(0.5)
        assert _state_of(ann) == "down"


async def test_configuration_is_taken_up_while_the_node_runs(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann", [web_check(interval_ms=4_000)]), mesh.member("ben")
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(10)
        assert isinstance(ann.configured, Settings)
        shop = Check("shop", ProbeSpec("http", "https://shop.example.org/", 1_000), interval_ms=4_000)
        before = ann.own_log()[-1].seq
        token_file = Path("/nonexistent/token")
        ann.configured = replace(
            ann.configured,
            checks=(shop, web_check(interval_ms=4_000)),
            tags=("eu",),
            alertmanagers=(),
            alert_token_file=token_file,
        )
        await ann.node.reload()
        assert ann.node.settings.alert_token_file == token_file, "it is looked up there at each post"
        await trio.sleep(10)
        for member in (ann, ben):
            assert {check["name"]: check["state"] for check in member.node.status()["checks"]} == {
                "shop": "up",
                "web": "up",
            }
            assert member.node.status()["nodes"][0]["tags"] == ["eu"]
        written = [entry for entry in ann.own_log() if entry.seq > before]
        assert Counter(entry.kind for entry in written if entry.kind != Kind.RESULTS) == {Kind.PLAN: 1, Kind.HELLO: 1}
        assert not any(
            entry.kind == Kind.RESULTS and not _fits_its_plan(entry, ann.own_log()) for entry in ann.own_log()
        )
        ann.configured = replace(ann.configured, checks=(shop,))
        await ann.node.reload()
        await trio.sleep(5)
        assert [check["name"] for check in ben.node.status()["checks"]] == ["shop"]


def _fits_its_plan(entry: Entry, log: Sequence[Entry]) -> bool:
    """Whether a result names a row of the newest plan in front of it."""
    results = read_results(entry.payload, entry.up_ms)
    plan = max((each for each in log if each.kind == Kind.PLAN and each.seq < entry.seq), key=lambda each: each.seq)
    rows = read_plan_part(plan.payload).rows
    return results.plan_seq == plan.seq and all(result.check < len(rows) for result in results.results)


async def test_undisturbed_checks_keep_their_votes_when_others_change(autojump_clock: MockClock, mesh: Mesh) -> None:
    web = web_check(interval_ms=60_000, retry_interval_ms=1_000)
    ann = mesh.member("ann", [web])
    ann.says = repeat(Outcome.FAIL)
    async with running(ann):
        await trio.sleep(10)
        assert _state_of(ann) == "down"
        assert isinstance(ann.configured, Settings)
        other = Check("other", ProbeSpec("http", "https://other.example.org/", 1_000), fail_after=10)
        ann.configured = replace(ann.configured, checks=(other, web))
        await ann.node.reload()
        for _ in range(50):
            await trio.sleep(0.1)
            assert _state_of(ann) == "down"


async def test_configuration_that_changes_while_the_node_starts_waits_for_its_log(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann = mesh.member("ann", [web_check()])
    ann.meanwhile = True
    async with running(ann):
        await trio.sleep(1)
        assert [entry.kind for entry in ann.own_log()][:2] == [Kind.HELLO, Kind.PLAN]


async def test_results_that_come_while_the_plan_changes_belong_to_the_old_one(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    checks = [Check(f"c{n}", ProbeSpec("http", "https://example.org/", 1_000), interval_ms=1_000) for n in range(30)]
    ann = mesh.member("ann", checks)
    async with running(ann):
        await trio.sleep(3)
        for kept in (checks[:1], checks[::-1], checks[5:9]):
            assert isinstance(ann.configured, Settings)
            ann.configured = replace(ann.configured, checks=tuple(kept))
            ann.storage.gate = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ann.node.reload)
                await trio.sleep(1.5)  # checks run while what was waiting is being stored
                ann.storage.gate.set()
            ann.storage.gate = None
            await trio.sleep(2)
        assert all(_fits_its_plan(entry, ann.own_log()) for entry in ann.own_log() if entry.kind == Kind.RESULTS)


async def test_bad_configuration_changes_nothing_and_is_counted(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann = mesh.member("ann", [web_check()])
    async with running(ann):
        await trio.sleep(1)
        good = ann.configured
        refused, seq = counted("demesh_refused_total", room="config", reason="bad"), len(ann.own_log())
        ann.configured = ConfigError(["demesh.toml:3: check[1].interval: is missing."])
        with pytest.raises(ConfigError):
            await ann.node.reload()
        assert counted("demesh_refused_total", room="config", reason="bad") == refused + 1
        assert counted("demesh_config_good") == 0
        assert ann.node.settings.checks[0].name == "web"
        ann.configured = good
        await ann.node.reload()
        assert counted("demesh_config_good") == 1
        written = [entry.kind for entry in ann.own_log()[seq:]]
        assert written == [Kind.EVENT], "nothing else has changed that the mesh must know"


async def test_refused_configuration_is_warned_of_once_an_hour_without_what_stands_in_it(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann, ben = (mesh.member(owner, flush_seconds=30) for owner in ("ann", "ben"))
    good, bad = ann.configured, ConfigError(["/home/ann/demesh.toml:3: sesame", "more"])
    async with running(ann, ben, seconds=3 * _HOUR):
        mesh.connect(ann, ben)
        ann.configured = bad
        for seconds, warnings in ((0, 1), (60, 1), (_HOUR - 70, 1), (10, 2)):
            await trio.sleep(seconds)
            with pytest.raises(ConfigError):
                await ann.node.reload()
            await trio.sleep(1)
            told = ben.node.status()["nodes"][0]
            assert (told["name"], len(told["warnings"])) == ("ann", warnings)
        assert told["warnings"][0]["subject"] == "configuration"
        assert told["warnings"][0]["text"].startswith("The configuration was changed and is refused")
        assert "2 mistakes" in told["warnings"][0]["text"]
        assert not any(word in str(told["warnings"]) for word in ("sesame", "/home"))
        ann.configured = good
    async with running(ann):  # within the hour, so it says nothing more
        ann.configured = bad
        with pytest.raises(ConfigError):
            await ann.node.reload()
        assert len(ann.node.status()["nodes"][0]["warnings"]) == 2
        ann.configured = good


async def test_results_forgotten_early_are_warned_of(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = (mesh.member(owner, flush_seconds=30) for owner in ("ann", "ben"))
    assert isinstance(ann.configured, Settings)
    ann.configured = replace(ann.configured, size_max_bytes=1_000)
    async with running(ann, ben, seconds=3 * _HOUR):
        mesh.connect(ann, ben)
        await trio.sleep(2 * _HOUR)
        told, other = ben.node.status()["nodes"]
    assert (told["name"], other["warnings"]) == ("ann", [])
    (warned,) = told["warnings"]
    assert warned["subject"] == "retention"
    assert "of at most 1000: what is oldest is forgotten early." in warned["text"]


async def test_what_only_a_restart_changes_is_said_and_left(
    autojump_clock: MockClock, mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    ann = mesh.member("ann", [web_check()])
    async with running(ann):
        assert isinstance(ann.configured, Settings)
        ann.configured = replace(ann.configured, name="nan", flush_interval_ms=9_000)
        await ann.node.reload()
        assert ann.node.settings.name == "ann"
    assert "restart it: name, flush_interval_ms" in caplog.text


async def test_check_that_seldom_runs_is_known_after_a_restart(
    autojump_clock: MockClock, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STARTUP_TAIL_ENTRIES_MAX", 5)
    ann = mesh.member("ann", [web_check(interval_ms=6 * _HOUR * 1_000)])
    async with running(ann):
        await trio.sleep(60)
    async with running(ann):
        await trio.sleep(0.5)
        (check,) = ann.node.status()["checks"]
        assert check["state"] == "up"
        assert check["vantages"][0]["at"] is not None


async def test_votes_are_the_same_after_restarts_in_which_nothing_was_heard(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann, ben = mesh.member("ann", [web_check(interval_ms=600_000)]), mesh.member("ben")
    ann.says = chain([Outcome.PASS, Outcome.PASS], repeat(Outcome.FAIL))
    async with running(ann, ben, seconds=_HOUR):
        mesh.connect(ann, ben)
        await trio.sleep(600.5)
        mesh.swarm.cut(ann.key, ben.key)
        await trio.sleep(1)
    lengths: list[int] = []
    for _ in range(3):
        async with running(ben, seconds=_HOUR):
            await trio.sleep(301)  # long enough to be saved again
            (log,) = [ben.node.view.log(state.log) for state in ben.node.logs.states() if state.public_key == ann.key]
            assert log is not None
            (vote,) = log.votes.values()
            lengths.append(vote.run_length)
    assert len(set(lengths)) == 1, lengths


async def test_member_that_took_leave_is_away_after_a_restart_too(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    async with running(ben):
        async with running(ann):
            mesh.connect(ann, ben)
            await trio.sleep(3)
        await trio.sleep(2)
        assert ben.presence_of(ann) == Presence.AWAY
    async with running(ben):
        await trio.sleep(_SILENT_SECONDS + 5)
        assert ben.presence_of(ann) == Presence.AWAY


async def test_uptime_is_not_complete_until_lost_history_is_folded_anew(
    autojump_clock: MockClock, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HISTORY_BEHIND_MAX", 10)
    ann = mesh.member("ann", [web_check(interval_ms=4_000)])
    async with running(ann):
        await trio.sleep(120)
        assert ann.node.status()["history"]["complete"]
    ann.lose_history()
    async with running(ann):
        lost = ann.node.status()["history"]
        assert lost["behind"] > 30
        assert not lost["complete"]
        await trio.sleep(1)
        folded = ann.node.status()["history"]
        assert folded["behind"] <= 1
        assert folded["complete"]


async def test_node_that_checks_nothing_is_a_witness_every_day(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann = mesh.member("ann", flush_seconds=60)
    async with running(ann, seconds=3 * _HOUR):
        await trio.sleep(2.5 * _HOUR)  # from 22:13 UTC on
        kinds = Counter(entry.kind for entry in ann.own_log())
    assert (kinds[Kind.ROLLUP], kinds[Kind.CHECKPOINT]) == (0, 1)


async def test_log_of_a_silent_member_must_prove_anew_that_it_is_live(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben, cat = (mesh.member(owner) for owner in ("ann", "ben", "cat"))
    async with running(ann, ben, cat):
        mesh.connect(ann, ben)
        mesh.connect(ann, cat)
        await trio.sleep(1)
        mesh.swarm.cut(ann.key, ben.key)
        await trio.sleep(_SILENT_SECONDS + 2)
        assert ben.presence_of(ann) == Presence.SILENT
        mesh.connect(ben, cat)
        await trio.sleep(1)
        assert ben.head_of(ann) == cat.head_of(ann)
        assert ben.presence_of(ann) == Presence.SILENT  # for all ben can tell it is history
        mesh.connect(ann, ben)
        await trio.sleep(FLUSH_SECONDS + 0.5)
        assert ben.presence_of(ann) == Presence.ALIVE


async def test_node_that_did_not_run_for_a_while_accuses_nobody_on_waking(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    ann, ben = mesh.member("ann"), mesh.member("ben")
    opened: list[tuple[str, str]] = []
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(3)
        mesh.swarm.cut(ann.key, ben.key)  # what was sent meanwhile comes late
        autojump_clock.jump(60)
        for _ in range(_SILENT_SECONDS - 4):
            await trio.sleep(1)
            opened += ann.incidents()
    assert opened == []


async def test_node_that_is_stopped_takes_leave(autojump_clock: MockClock, mesh: Mesh) -> None:
    restless = web_check(interval_ms=100, fail_after=1, recover_after=1)
    ann, ben = mesh.member("ann", [restless]), mesh.member("ben")
    ann.says = cycle([Outcome.PASS, Outcome.FAIL])  # each result is told at once
    async with running(ben):
        async with running(ann):
            mesh.connect(ann, ben)
            await trio.sleep(3.05)
            assert ben.presence_of(ann) == Presence.ALIVE
        assert ben.presence_of(ann) == Presence.AWAY
        await trio.sleep(_SILENT_SECONDS + 2)
        assert ben.presence_of(ann) == Presence.AWAY


async def test_nothing_comes_after_the_bye(autojump_clock: MockClock, mesh: Mesh) -> None:
    """As what somebody decides, or a reload that is under way, in the moment in which the bye leaves."""
    ann = mesh.member("ann", [web_check()])
    kinds: list[int] = []

    async def insist() -> None:
        while ann.own_log()[-1].kind != Kind.BYE:  # noqa: ASYNC110 nothing tells
            await trio.sleep(0.01)
        with trio.move_on_after(0.2):
            await ann.node._own_log.tell(warning("configuration", "It is too late."))
        kinds.extend(entry.kind for entry in ann.own_log())

    async with trio.open_nursery() as nursery, running(ann):
        await trio.sleep(1)
        nursery.start_soon(insist)
    assert kinds[-1] == Kind.BYE


async def test_vantages_of_a_check_come_to_take_turns(autojump_clock: MockClock, mesh: Mesh) -> None:
    interval_s = 30
    members = [mesh.member(owner, [web_check(interval_ms=1_000 * interval_s)]) for owner in ("ann", "bob", "cid")]
    async with running(*members):
        mesh.connect(*members)
        await trio.sleep(12 * interval_s)
        lasts_s = sorted(member.probed_s[-1] % interval_s for member in members)
    gaps_s = [after - before for before, after in pairwise([*lasts_s, lasts_s[0] + interval_s])]
    assert gaps_s == pytest.approx([interval_s / len(members)] * len(members), abs=0.1)


async def test_failing_check_is_one_incident_posted_at_once_as_is_its_end(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    check = web_check(interval_ms=4_000, retry_interval_ms=1_000)
    members = [mesh.member(owner, [check]) for owner in ("ann", "ben", "cat")]
    async with running(*members):
        mesh.connect(*members)
        await trio.sleep(5)
        for member in members:
            assert member.incidents() == []
            member.says = repeat(Outcome.FAIL)
        await trio.sleep(7)
        for member in members:
            assert member.incidents() == [("DemeshCheckDown", "web")]
            member.says = repeat(Outcome.PASS)
        opened = [member.posts.pop() for member in members]
        await trio.sleep(10)
        assert [member.incidents() for member in members] == [[], [], []]
        closed = [member.posts.pop() for member in members]
    assert not any(member.posts for member in members)
    for url, alerts, at in opened + closed:
        assert url == f"{ALERTMANAGER}/api/v2/alerts"
        assert [alert["labels"] for alert in alerts] == [opened[0][1][0]["labels"]]
        assert alerts[0]["labels"]["alertname"] == "DemeshCheckDown"
        ended = datetime.fromisoformat(alerts[0]["endsAt"]).timestamp() <= at
        assert ended == ((url, alerts, at) in closed)


@pytest.mark.slow
async def test_old_results_are_forgotten_and_a_newcomer_is_told_the_same(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = (mesh.member(owner, [web_check(interval_ms=60_000)], flush_seconds=60) for owner in ("ann", "ben"))
    for member in (ann, ben):
        assert isinstance(member.configured, Settings)
        member.configured = replace(member.configured, raw_ms=_HOUR * 1_000)
    async with running(ann, seconds=6 * _HOUR):
        await trio.sleep(4 * _HOUR)
        (state,) = ann.node.logs.states()
        assert state.pruned_to > 60, "of four hours two are left"
        async with running(ben, seconds=_HOUR):
            mesh.connect(ann, ben)
            await trio.sleep(120)
            (known,) = [each for each in ben.node.logs.states() if each.public_key == ann.key]
            assert known.pruned_to >= state.pruned_to
            day = {
                name: member.node.status()["checks"][0]["uptime"]["7d"] for name, member in (("ann", ann), ("ben", ben))
            }
            assert day["ben"]["coverage"] == pytest.approx(day["ann"]["coverage"], rel=0.01)


@pytest.mark.slow
async def test_hours_and_days_are_summed_and_uptime_tells_the_outage(autojump_clock: MockClock, mesh: Mesh) -> None:
    check = web_check(interval_ms=60_000)
    ann, ben = (mesh.member(owner, [check], flush_seconds=60) for owner in ("ann", "ben"))
    hours = 3.6  # from 22:13 UTC on
    async with running(ann, ben, seconds=4 * _HOUR):
        mesh.connect(ann, ben)
        await trio.sleep(_HOUR)
        for member in (ann, ben):
            member.says = repeat(Outcome.FAIL)
        await trio.sleep(_HOUR)
        for member in (ann, ben):
            member.says = repeat(Outcome.PASS)
        await trio.sleep((hours - 2) * _HOUR)
        for member in (ann, ben):
            kinds = Counter(entry.kind for entry in member.own_log())
            assert (kinds[Kind.ROLLUP], kinds[Kind.CHECKPOINT]) == (3, 1)
            (status,) = member.node.status()["checks"]
            assert status["uptime"]["24h"]["coverage"] == pytest.approx(hours / 24, abs=0.01)
            assert status["uptime"]["24h"]["ratio"] == pytest.approx(1 - 1 / hours, abs=0.01)
            assert status["uptime"]["1h"] == {"ratio": 1.0, "coverage": pytest.approx(1, abs=0.03)}
            assert status["uptime"]["30d"]["ratio"] == pytest.approx(1 - 1 / hours, abs=0.01)
            assert status["latency_ms"] == {}
    assert ann.history() == ann.history_made_anew()


async def test_results_of_a_restart_in_between_are_summed_once(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann = mesh.member("ann", [web_check(interval_ms=60_000)], flush_seconds=60)
    entries: list[Entry] = []
    for _ in range(3):
        async with running(ann, seconds=_HOUR):
            await trio.sleep(0.6 * _HOUR)
            entries = ann.own_log()
    assert ann.history() == ann.history_made_anew()
    hour = START_WALL_MS // 3_600_000  # it began 13 minutes before
    results = [
        result
        for entry in entries
        if entry.kind == Kind.RESULTS
        for result in read_results(entry.payload, entry.up_ms).results
        if (entry.wall_ms - entry.up_ms + result.up_ms) // 3_600_000 == hour
    ]
    (rollup,) = [read_rollup(entry.payload) for entry in entries if entry.kind == Kind.ROLLUP]
    assert (rollup.hour, sum(rollup.rows["web"].counts)) == (hour, len(results))
    assert len(results) > 40
