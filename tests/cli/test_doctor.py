"""`demesh doctor`: what it finds, how it exits, and that nothing can hang it."""

import json
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from demesh.checks.check import Check
from demesh.clock import SystemClock
from demesh.config.load import Settings
from demesh.doctor import machine
from demesh.doctor import node as its
from demesh.doctor.finding import Finding, Level, examine, good
from demesh.home import Home, HomeLock, Running
from demesh.identity import SwarmKey, read_swarm_key
from demesh.mesh.key_change import Change
from demesh.probes.base import ProbeSpec, StunOptions
from demesh.swarm_key_files import SwarmKeyFiles
from tests.cli.answering import node_answering
from tests.cli.harness import demesh

_MONOTONIC = SystemClock().monotonic_ms


@pytest.fixture
def home(tmp_path: Path) -> Path:
    assert demesh(tmp_path / "home", "init", "--name", "nas").code == 0
    _configure(tmp_path / "home")
    return tmp_path / "home"


def _configure(home: Path, text: str = "", api: str = "none") -> None:
    """`text` beside ports that are free."""
    mesh = '[mesh]\nlisten = "127.0.0.1:0"\n' if "[mesh]" not in text else ""
    (home / "demesh.toml").write_text(f'{mesh}{text}\n[api]\nlisten = "{api}"\n')


def _found(home: Path) -> dict[str, list[dict[str, Any]]]:
    """The findings by topic."""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in json.loads(demesh(home, "doctor", "--json").out):
        found.setdefault(each["topic"], []).append(each)
    return found


def _worst(home: Path, topic: str) -> tuple[str, str]:
    """Level, and sentence with remedy, of the worst finding on a topic."""
    worst = max(_found(home)[topic], key=lambda each: Level[each["level"].upper()])
    return worst["level"], f"{worst['sentence']} {worst['remedy']}"


def test_a_sound_home_has_a_line_for_each_topic(home: Path) -> None:
    ran = demesh(home, "doctor")
    topics = [line[2:13].strip() for line in ran.out.splitlines() if line[0] in "✔!✘"]
    assert {"version", "home", "config", "node", "clock", "disk", "swarm key", "names", "peers", "alerts"} <= set(
        topics
    )
    assert "✔ swarm key" in ran.out
    assert "fingerprint" in ran.out
    assert "SQLite" in ran.out
    assert ran.code == 1
    assert "by the configuration, nobody will be told" in ran.out


def test_every_finding_that_is_not_good_has_a_remedy(home: Path) -> None:
    found = [each for topic in _found(home).values() for each in topic]
    assert all(each["remedy"] for each in found if each["level"] != "good")
    assert {each["level"] for each in found} <= {"good", "warning", "bad"}


def test_the_exit_code_is_that_of_the_worst(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "clock", lambda: [good("clock", "is synchronised.")])
    with socket.socket() as sink:
        sink.bind(("127.0.0.1", 0))
        sink.listen()
        _configure(home, f'[alerts]\nalertmanager = "http://127.0.0.1:{sink.getsockname()[1]}"')
        with node_answering(home, {"/api/v1/status": _status("nas")}):
            assert demesh(home, "doctor").code == 0
        assert demesh(home, "doctor").code == 1
        (home / "demesh.toml").write_text("[nod]")
        assert demesh(home, "doctor").code == 2


def test_all_mistakes_of_a_configuration_are_found(home: Path) -> None:
    (home / "demesh.toml").write_text('[node]\nnam = "x"\n[api]\nlisten = "nowhere"\n')
    found = _found(home)["config"]
    assert [each["level"] for each in found] == ["bad", "bad"]
    assert "demesh.toml:2:" in found[0]["sentence"]
    assert "demesh.toml:4:" in found[1]["sentence"]


def test_files_that_others_can_read_are_found(home: Path) -> None:
    assert _worst(home, "home")[0] == "good"
    home.chmod(0o755)
    assert _worst(home, "home") == ("warning", f"{home} can be read by others (mode 0755). chmod 700 {home}")
    (home / "node.key").chmod(0o644)
    level, said = _worst(home, "home")
    assert level == "bad"
    assert f"chmod 600 {home / 'node.key'}" in said


def test_a_missing_swarm_key_is_found_where_one_is_needed(home: Path) -> None:
    for name in ("swarm.key", "mesh.id"):
        (home / name).unlink()
    assert _worst(home, "swarm key")[0] == "good"
    _configure(home, '[mesh]\nlisten = "127.0.0.1:0"\npeers = ["127.0.0.1:9"]')
    level, said = _worst(home, "swarm key")
    assert level == "bad"
    assert "Copy swarm.key" in said
    (home / "swarm.key").write_text("sesame")
    level, said = _worst(home, "swarm key")
    assert level == "bad"
    assert "sesame" not in said


@pytest.mark.parametrize(("topic", "option"), [("swarm port", "--listen"), ("API port", "--api")])
def test_a_busy_port_is_found_with_its_remedy(topic: str, option: str, home: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        address = f"127.0.0.1:{busy.getsockname()[1]}"
        _configure(home, f'[mesh]\nlisten = "{address}"', api=address)
        level, said = _worst(home, topic)
    assert level == "bad"
    assert f"{address} cannot be listened on: Address already in use." in said
    assert option in said
    assert _worst(home, topic)[0] == "good"


def test_a_node_that_only_dials_needs_no_port_and_has_no_address_to_invite_to(home: Path) -> None:
    _configure(home, '[mesh]\nlisten = "none"')
    assert "swarm port" not in _found(home)
    ran = demesh(home, "invite")
    assert ran.code == 2
    assert "No address of this node can be dialled" in ran.err


def test_peers_and_sinks_are_connected_to(home: Path) -> None:
    with socket.socket() as there, socket.socket() as gone:
        there.bind(("127.0.0.1", 0))
        there.listen()
        gone.bind(("127.0.0.1", 0))  # does not listen: refuses
        up, down = (f"127.0.0.1:{each.getsockname()[1]}" for each in (there, gone))
        listen = 'listen = "127.0.0.1:0"'
        _configure(home, f'[mesh]\n{listen}\npeers = ["{up}"]')
        assert _worst(home, "peers") == ("good", "all 1 configured can be connected to. ")
        _configure(home, f'[mesh]\n{listen}\npeers = ["{up}", "{down}"]')
        level, said = _worst(home, "peers")
        assert level == "warning"
        assert f"{down} (connection refused)" in said
        _configure(home, f'[mesh]\n{listen}\npeers = ["{down}"]\n[alerts]\nalertmanager = "http://me:sesame@{down}"')
        assert _worst(home, "peers")[0] == "bad"
        level, said = _worst(home, "alerts")
        assert level == "bad"
        assert down in said
        assert "sesame" not in said


def test_names_that_cannot_be_resolved_are_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, *_: object, **__: object) -> list[object]:
        if host == "known.example":
            return []
        raise socket.gaierror(-2, "Name or service not known")

    _configure(home, '[[check]]\nname = "a"\ntarget = "https://known.example/"')
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert _worst(home, "names") == ("good", "can be resolved (1 asked). ")
    _configure(home, '[[check]]\nname = "a"\ntarget = "https://unknown.example/"')
    level, said = _worst(home, "names")
    assert level == "bad"
    assert "unknown.example (name or service not known)" in said


def _status(name: str, *others: tuple[str, str, str]) -> dict[str, Any]:
    """A status; `others` are name, presence, and when it dated its newest result."""
    vantages = [{"node": other, "at": at} for other, _, at in others]
    nodes = [{"name": name, "presence": "alive"}, *({"name": other, "presence": said} for other, said, _ in others)]
    return {"node": name, "as_of": "2026-01-01T12:00:00Z", "checks": [{"vantages": vantages}], "nodes": nodes}


def test_a_running_node_is_asked(home: Path) -> None:
    others = (("vps", "alive", "2026-01-01T12:01:30Z"), ("old", "silent", "2026-01-01T11:00:00Z"))
    with node_answering(home, {"/api/v1/status": _status("nas", *others)}):
        found = _found(home)
    assert found["node"][0]["sentence"] == "nas (pid 4242) runs and answers."
    assert found["members"][0]["sentence"] == "silent: old."
    assert found["skew"][0]["sentence"] == "clocks ahead of this one: vps by 90 s."
    assert "swarm port" not in found, "the node itself holds it"


def test_a_network_that_failed_lately_is_found(home: Path) -> None:
    def found(**network: Any) -> list[Finding]:
        said = {"running": True, "down_since": None, "rebuilds": 3, "failed_at": None, "problem": None, **network}
        answer = {**_status("nas"), "network": said}
        return [each for each in its.running(Home(home), Running(1, "", None), answer) if each.topic == "network"]

    assert found() == []
    why = {"problem": "The peer-to-peer service stopped: KeyError at pubsub.py:7."}
    (lately,) = found(failed_at="2026-01-01T11:00:00Z", **why)
    assert lately.level == Level.WARNING
    assert lately.sentence.endswith("3 times so far: The peer-to-peer service stopped: KeyError at pubsub.py:7.")
    assert found(failed_at="2025-12-30T11:00:00Z", **why) == []
    (down,) = found(running=False, down_since="2026-01-01T11:00:00Z", failed_at="2026-01-01T11:59:00Z", **why)
    assert down.level == Level.BAD
    assert down.sentence.startswith("it has none since 2026-01-01T11:00:00Z: The peer-to-peer")


def test_a_node_that_is_starting_is_not_to_be_restarted(home: Path) -> None:
    home.mkdir(exist_ok=True)
    with HomeLock(Home(home)) as lock:
        lock.announce(Running(4242, str(home / "none.sock"), None, starting=True))
        (node,) = _found(home)["node"]
        ran = demesh(home, "members")
    assert (node["level"], node["sentence"]) == ("warning", "pid 4242 is starting and does not answer yet.")
    with HomeLock(Home(home)):  # as while a node looks for a member who knows its mesh
        (node,) = _found(home)["node"]
    assert node["sentence"].startswith("one is about to start on")
    assert ran.code == 3
    assert ran.err.startswith("The node is starting and answers nobody yet")


def test_a_node_that_runs_and_does_not_answer_is_found(home: Path) -> None:
    with node_answering(home, {}):
        assert _worst(home, "node")[0] == "bad"


def test_no_home_at_all_is_examined_too_and_not_made(tmp_path: Path) -> None:
    ran = demesh(tmp_path / "none", "doctor")
    assert "holds no node yet" in ran.out
    assert not (tmp_path / "none").exists()


def test_what_does_not_end_is_left_and_what_breaks_hides_nothing() -> None:
    never = threading.Event()
    told: list[Sequence[str]] = []

    def hang() -> list[Finding]:
        never.wait()
        return []

    def fail() -> list[Finding]:
        raise ValueError("sesame")

    examinations = {"a": lambda: [good("a", "is well.")], "b": hang, "c": fail}
    started_ms = _MONOTONIC()
    found = list(examine(examinations, _MONOTONIC, told.append, seconds=1))
    never.set()
    assert _MONOTONIC() - started_ms < 5_000
    assert [each.topic for each in found] == ["a", "b", "c"]
    assert found[1].sentence == "took longer than 1 s and was left."
    assert "ValueError" in found[2].sentence
    assert "sesame" not in found[2].sentence
    assert told == [["b"]]


def test_the_kernel_is_asked_whether_the_clock_is_kept_right(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kernel:
        def __init__(self, status: int) -> None:
            self.status = status

        def adjtimex(self, buffer: Any) -> int:
            buffer[24:32] = (12_000).to_bytes(8, "little")
            buffer[40:44] = self.status.to_bytes(4, "little")
            return 0

    for status, sentence in ((0x2001, "is synchronised (within 12 ms)."), (0x2041, "is not synchronised")):
        monkeypatch.setattr(machine.ctypes, "CDLL", lambda *_, status=status, **__: Kernel(status))
        assert machine.clock()[0].sentence.startswith(sentence)


@pytest.mark.parametrize(
    ("way", "reason", "level", "says"),
    [
        ("datagram", "", Level.GOOD, "is allowed (datagram socket)."),
        ("none", "this node is not allowed to ping: allow it", Level.WARNING, "this node is not allowed to ping."),
    ],
)
def test_rights_to_ping_are_looked_at(
    way: str, reason: str, level: Level, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rights = SimpleNamespace(ping_rights=lambda: SimpleNamespace(way=way, reason=reason))
    monkeypatch.setitem(sys.modules, "demesh.probes.rights", cast(ModuleType, rights))
    (found,) = machine.ping()
    assert (found.level, found.sentence) == (level, says)
    assert bool(found.remedy) == (level != Level.GOOD)


def test_little_room_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Statistics:
        f_frsize = 4_096
        f_bavail = 0

    monkeypatch.setattr(machine.os, "statvfs", lambda path: Statistics)
    levels: list[Level] = []
    for free_bytes in (40_000_000, 400_000_000, 4_000_000_000):
        Statistics.f_bavail = free_bytes // 4_096
        levels += [each.level for each in machine.disk(tmp_path / "not" / "there", 0)]
    assert levels == [Level.BAD, Level.WARNING, Level.GOOD]


def test_a_home_of_another_user_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(its.os, "geteuid", lambda: 4_242)
    assert {each.level for each in its.files(Home(home))} == {Level.BAD}


def test_a_swarm_key_that_changes_is_told(home: Path) -> None:
    key = read_swarm_key(home / "swarm.key")
    change = Change(key.digest, SwarmKey(b"n" * 32), b"m" * 32, frozenset({b"m" * 32}))
    SwarmKeyFiles(Home(home), None).save(change)
    said = demesh(home, "doctor").out
    assert f"changes from {key.fingerprint} to {change.key.fingerprint}" in said
    assert "rotate --status" in said
    assert key.psk.hex() not in said
    assert change.key.psk.hex() not in said


@pytest.mark.parametrize(
    ("ways", "level", "says"),
    [
        ((4, 6), Level.GOOD, "lead to the Internet over IPv4 from 192.0.2.7 and IPv6 from 2001:db8::7."),
        ((4,), Level.GOOD, "IPv4 from 192.0.2.7; none over IPv6: what is checked over that counts for nobody."),
        ((), Level.WARNING, "lead to no public address, neither over IPv4 nor over IPv6."),
    ],
)
def test_over_which_family_this_machine_has_a_way_out_is_said(
    ways: tuple[int, ...], level: Level, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def source(address: str) -> str:
        version = 6 if ":" in address else 4
        return {4: "192.0.2.7", 6: "2001:db8::7"}[version] if version in ways else ""

    monkeypatch.setattr(machine, "_source", source)
    (found,) = machine.families()
    assert found.level == level
    assert found.sentence.endswith(says)


def test_the_way_out_is_read_from_the_routes() -> None:
    assert machine._source("127.0.0.1") == "127.0.0.1"
    assert machine._source("2001:db8:ffff:ffff::255.255.255.256") == ""


def test_names_of_lists_are_not_looked_up_and_their_servers_are_asked_for_the_nat_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nat = StunOptions(nat_behaviour=True)
    listed = Check("old", ProbeSpec("stun", "stun://old.example.net", 1_000, options=nat), listed=True)
    own = Check("own", ProbeSpec("stun", "stun://own.example.net", 1_000, options=StunOptions()))
    settings = Settings("a", checks=(listed, own))
    assert its.hosts(settings) == ["own.example.net"]
    monkeypatch.setattr(its, "_nat_finding", lambda host, port: good("NAT", host))
    assert [each.sentence for each in its.nat(settings)] == ["own.example.net"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root looks at homes of others")
def test_root_finds_a_services_home_well_and_what_is_not_the_services_in_it(home: Path) -> None:
    for path in (home, *home.iterdir()):
        os.chown(path, 4_242, -1)
    assert _worst(home, "home")[0] == "good"
    os.chown(home / "node.key", 0, -1)
    level, said = _worst(home, "home")
    assert level == "bad"
    assert f"chown -R 4242 {home}" in said


def test_a_swarm_key_that_only_the_running_node_may_read_is_nothing_bad(home: Path) -> None:
    running = Running(1, "", None, "/nonexistent/swarm.key")
    (found,) = its.swarm_key(Home(home), Settings("nas"), running)
    assert found.level == Level.GOOD
    assert "/nonexistent/swarm.key" in found.sentence
