"""A new swarm key for a running mesh, on real processes: nobody is lost, nobody is taken for silent, and strangers stay out."""

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from demesh.identity import new_swarm_key, read_swarm_key, write_secret
from tests.e2e.harness import NodeProcess, WebServer, eventually

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
_CONFIG = """
[node]
flush_interval = "1s"
[mesh]
peers = [{peers}]
[alerts]
alertmanager = "{hook}"
"""


def _mesh(tmp_path: Path, hook: str, *names: str) -> list[NodeProcess]:
    """Nodes in a chain, each of which knows the one before: what one has the last hears from the others."""
    key = new_swarm_key()
    nodes: list[NodeProcess] = []
    for name in names:
        node = NodeProcess(tmp_path / name, name, _CONFIG.format(peers=_peers(nodes[-1:]), hook=hook))
        write_secret(node.home / "swarm.key", key.text())
        nodes.append(node)
    return nodes


def _peers(nodes: Sequence[NodeProcess]) -> str:
    return ", ".join(f'"{node.swarm}"' for node in nodes)


def _start(nodes: Sequence[NodeProcess]) -> None:
    for node in nodes:
        node.start()
        node.wait_ready()
    for node in nodes:
        eventually(partial(_presence, node), lambda found: len(found) == len(nodes), 30, f"{node.name} knows all")


def _presence(node: NodeProcess) -> dict[str, str]:
    return {each["name"]: each["presence"] for each in node.status()["nodes"]}


def _fingerprint(node: NodeProcess) -> str:
    return read_swarm_key(node.home / "swarm.key").fingerprint


def _rotate(node: NodeProcess, *arguments: str) -> dict[str, Any]:
    ran = node.run_command("swarm-key", "rotate", "--json", *arguments)
    assert ran.returncode == 0, ran.stderr + node.output()
    return json.loads(ran.stdout)


def _has_it(node: NodeProcess) -> dict[str, bool]:
    change = _rotate(node, "--status")["change"]
    return {each["name"]: each["has_it"] for each in change["members"]} if change else {}


def _heads(node: NodeProcess) -> dict[str, tuple[int, str]]:
    return {each["log"]: (each["seq"], each["hash"]) for each in node.heads()}


def _all_have(nodes: Sequence[NodeProcess], fingerprint: str) -> None:
    for node in nodes:
        eventually(partial(_fingerprint, node), lambda found: found == fingerprint, 40, f"{node.name}; {node.output()}")
        assert (node.home / "swarm.key").stat().st_mode & 0o777 == 0o600


def _goes_on(nodes: Sequence[NodeProcess]) -> None:
    """Every node hears what every other one writes from now on."""
    names = {node.name for node in nodes}
    for node in nodes:
        known = {each["log"]: each["seq"] for each in node.heads() if each["node"] in names}
        went_on = partial(_beyond, known)
        eventually(partial(_heads, node), went_on, 30, f"{node.name} hears all; {node.output()}")


def _beyond(known: dict[str, int], now: dict[str, tuple[int, str]]) -> bool:
    return all(log in now and now[log][0] > seq for log, seq in known.items())


def _no_key_in(nodes: Sequence[NodeProcess], *texts: str) -> None:
    keys = {read_swarm_key(node.home / "swarm.key").psk.hex() for node in nodes}
    for node in nodes:
        stored = (node.home / "log.db").read_bytes()
        for key in keys:
            assert key not in node.output() + "".join(texts)
            assert bytes.fromhex(key) not in stored


def test_a_rotation_reaches_all_and_nothing_else_changes(tmp_path: Path) -> None:
    with WebServer() as hook:
        nodes = _mesh(tmp_path, hook.url, "a", "b", "c")
        a, b, c = nodes
        with a, b, c:
            _start(nodes)
            old, logs, mesh = _fingerprint(a), set(_heads(a)), a.status()["mesh"]
            shutil.copy(a.home / "swarm.key", tmp_path / "old.key")
            said = _rotate(a)
            new = said["change"]["fingerprint"]
            assert (said["fingerprint"], said["change"]["begun_by"]) == (old, "a")
            assert new != old
            _all_have(nodes, new)  # by itself
            _goes_on(nodes)
            for node in nodes:
                assert set(_heads(node)) == logs, "no log is begun or lost"
                assert node.status()["mesh"] == mesh
                assert set(_presence(node).values()) == {"alive"}
            shown = a.run_command("swarm-key", "rotate", "--status").stdout
            assert shown == f"The swarm key is {new}; no change is under way.\n"

            stranger = NodeProcess(
                tmp_path / "x", "x", _CONFIG.format(peers=_peers([a]), hook=hook.url), tmp_path / "old.key"
            )
            write_secret(stranger.home / "mesh.id", (a.home / "mesh.id").read_text())
            with stranger:
                stranger.start()
                stranger.wait_ready()
                eventually(stranger.output, lambda text: "not with our swarm key" in text, 20, "it is a stranger")
                assert "`demesh invite`" in stranger.output()
                assert len(stranger.heads()) == 1
                assert "x" not in _presence(a)
            invited = a.run_command("invite", "--advertise", a.swarm)
            assert stranger.run_command("join", stdin=invited.stdout).returncode == 0
            assert _fingerprint(stranger) == new
            _no_key_in(nodes, json.dumps(said), shown)
            for node in nodes:
                assert node.stop() == 0
        for node in nodes:
            assert node.run_command("log", "verify").returncode == 0
        assert "DemeshNodeSilent" not in json.dumps(hook.posted)


def _told_silent(hook: WebServer) -> set[str]:
    told = [alert["labels"] for post in hook.posted for alert in post]
    return {labels["node"] for labels in told if labels["alertname"] == "DemeshNodeSilent"}


def test_members_that_were_off_or_killed_come_back_and_those_left_out_are_strangers(tmp_path: Path) -> None:
    with WebServer() as hook:
        nodes = _mesh(tmp_path, hook.url, "a", "b", "c", "out")
        a, b, c, out = nodes
        config = (out.home / "demesh.toml").read_text()
        (out.home / "demesh.toml").write_text(config.replace(hook.url, "http://127.0.0.1:9"))  # it will miss the others
        with a, b, c, out:
            _start(nodes)
            old = _fingerprint(a)
            assert c.stop() == 0  # so that the change cannot end by itself
            said = _rotate(a, "--without", "out")
            new = said["change"]["fingerprint"]
            assert said["change"]["left_out"] == ["out"]
            refused = a.run_command("swarm-key", "rotate")
            assert refused.returncode == 2
            assert "is under way" in refused.stderr
            eventually(lambda: _has_it(a), lambda has: has == {"a": True, "b": True, "c": False}, 30, "b has it")
            for node in (b, a):  # the middle of a change
                node.kill()
                assert _fingerprint(node) == old
                assert (node.home / "swarm.key.change").stat().st_mode & 0o777 == 0o600
                node.start()
                node.wait_ready()
            assert _has_it(b) == {"a": True, "b": True, "c": False}
            # out is at the end of the chain and cannot be told by c
            assert not (out.home / "swarm.key.change").exists()
            c.start()  # with the old key, which still opens the door
            c.wait_ready()
            _all_have([a, b, c], new)
            _goes_on([a, b, c])
            assert _fingerprint(out) == old
            eventually(lambda: _presence(a)["out"], lambda found: found == "silent", 60, "it is a stranger now")
            assert {_presence(node)[name] for node in (a, b, c) for name in "abc"} == {"alive"}
            _no_key_in([a, b, c])
            eventually(lambda: _told_silent(hook), lambda told: told == {"out"}, 20, "told of it, and of nobody else")


def test_finish_drops_the_old_key_without_those_who_stay_away(tmp_path: Path) -> None:
    with WebServer() as hook:
        nodes = _mesh(tmp_path, hook.url, "a", "b", "away")
        a, b, away = nodes
        with a, b, away:
            _start(nodes)
            assert away.stop() == 0
            new = _rotate(a)["change"]["fingerprint"]
            eventually(lambda: _has_it(a), lambda has: has == {"a": True, "b": True, "away": False}, 30, "b has it")
            eventually(lambda: _has_it(b), lambda has: has == {"a": True, "b": True, "away": False}, 30, "b knows")
            _rotate(b, "--finish")  # anywhere
            _all_have([a, b], new)
            _goes_on([a, b])
            away.start()
            away.wait_ready()
            eventually(away.output, lambda text: "not with our swarm key" in text, 20, "it is a stranger")
            assert away.stop() == 0
            invited = a.run_command("invite", "--advertise", a.swarm)
            joined = away.run_command("join", stdin=invited.stdout)
            assert joined.returncode == 0, joined.stderr
            assert "was replaced by" in joined.stdout
            away.start()
            away.wait_ready()
            eventually(lambda: _presence(a), lambda found: set(found.values()) == {"alive"}, 30, "it is back")
            assert len(a.heads()) == 3, "its log goes on"


def test_a_swarm_key_that_lies_elsewhere_is_not_rotated_but_says_what_to_do(tmp_path: Path) -> None:
    key = tmp_path / "swarm.key"
    write_secret(key, new_swarm_key().text())
    with NodeProcess(tmp_path / "a", "a", "", key) as node:
        node.start()
        node.wait_ready()
        ran = node.run_command("swarm-key", "rotate")
    assert ran.returncode == 2
    assert str(key) in ran.stderr
    assert "demesh swarm-key new" in ran.stderr
