"""A second machine joins, on real processes: by an invitation, or by the swarm key and a peer that says which mesh it is."""

import json
from functools import partial
from pathlib import Path

import pytest

from demesh.identity import new_swarm_key, write_secret
from tests.e2e.harness import NodeProcess, eventually

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
_CONFIG = '[node]\nflush_interval = "1s"\n'


def _members(node: NodeProcess) -> dict[str, str]:
    return {each["name"]: each["presence"] for each in node.status()["nodes"]}


def _mesh(node: NodeProcess) -> str:
    return (node.home / "mesh.id").read_text().strip()


def _agree(*nodes: NodeProcess) -> None:
    names = {node.name for node in nodes}
    for node in nodes:
        eventually(partial(_members, node), lambda found: set(found) == names, 30, f"{node.name} knows {names}")
    eventually(lambda: [node.heads() for node in nodes], lambda all_: all(h == all_[0] for h in all_), 30, "equal logs")


def test_an_invitation_through_a_pipe_makes_a_member(tmp_path: Path) -> None:
    first, second = NodeProcess(tmp_path / "a", "first", _CONFIG), NodeProcess(tmp_path / "b", "nas")
    (second.home / "demesh.toml").unlink()
    with first, second:
        first.start("--advertise", first.swarm)
        first.wait_ready()
        invited = first.run_command("invite", "--name", "nas")
        assert invited.returncode == 0, invited.stderr
        assert "secret" in invited.stderr
        joined = second.run_command("join", stdin=invited.stdout)
        assert joined.returncode == 0, joined.stderr
        assert 'name = "nas"' in (second.home / "demesh.toml").read_text()
        for file in ("swarm.key", "node.key", "mesh.id", "demesh.toml"):
            assert (second.home / file).stat().st_mode & 0o777 == 0o600
        second.start()
        second.wait_ready()
        _agree(first, second)
        assert _mesh(first) == _mesh(second)

        assert first.stop() == 0
        stopped = first.run_command("invite", "--advertise", first.swarm)
        assert stopped.returncode == 0, stopped.stderr
        third = NodeProcess(tmp_path / "c", "third")
        (third.home / "demesh.toml").unlink()
        assert third.run_command("join", "--name", "third", stdin=stopped.stdout).returncode == 0
        with third:
            third.start()
            third.wait_ready()
            first.start("--advertise", first.swarm)
            _agree(first, second, third)
        secret = (first.home / "swarm.key").read_text().split()[-1]
        assert secret not in first.output() + second.output() + joined.stdout + joined.stderr


def test_a_new_node_waits_for_a_peer_and_takes_its_mesh_id_before_it_signs_anything(tmp_path: Path) -> None:
    key = tmp_path / "swarm.key"
    write_secret(key, new_swarm_key().text())  # not the one that founded the mesh
    member = NodeProcess(tmp_path / "a", "member", _CONFIG, key)
    write_secret(member.home / "mesh.id", "0123456789abcdef" * 2 + "\n")
    config = _CONFIG + f'[mesh]\npeers = ["{member.swarm}"]\n'
    newcomer = NodeProcess(tmp_path / "b", "newcomer", config, key)
    with member, newcomer:
        newcomer.start()
        eventually(newcomer.output, lambda said: "does not know its mesh yet" in said, 20, "it says that it waits")
        assert not (newcomer.home / "mesh.id").exists()
        assert not (newcomer.home / "log.db").exists()
        member.start()
        member.wait_ready()
        newcomer.wait_ready()
        assert _mesh(newcomer) == "0123456789abcdef" * 2
        _agree(member, newcomer)
        assert newcomer.stop() == 0
        newcomer.start()  # it knows now, whoever is there
        member.stop()
        newcomer.wait_ready()
    verified = newcomer.run_command("log", "verify", "--json")
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)["logs"] == 2


def test_a_node_that_still_waits_ends_when_it_is_told_to(tmp_path: Path) -> None:
    key = tmp_path / "swarm.key"
    write_secret(key, new_swarm_key().text())
    with NodeProcess(tmp_path / "a", "a", '[mesh]\npeers = ["127.0.0.1:1"]\n', key) as node:
        node.start()
        eventually(node.output, lambda said: "does not know its mesh yet" in said, 20, "it says that it waits")
        assert node.stop() == 0


def test_new_nodes_that_only_have_each_other_found_a_mesh_together(tmp_path: Path) -> None:
    key = tmp_path / "swarm.key"
    write_secret(key, new_swarm_key().text())
    a, b = (NodeProcess(tmp_path / name, name, "", key) for name in "ab")
    for node in (a, b):
        peers = f'peers = ["{a.swarm}", "{b.swarm}"]'  # one configuration for all, as a stack has it
        (node.home / "demesh.toml").write_text(f"{_CONFIG}[mesh]\n{peers}\n")
    with a, b:
        a.start()
        b.start()
        for node in (a, b):
            node.wait_ready()
        _agree(a, b)
        assert _mesh(a) == _mesh(b)


def test_two_meshes_with_one_swarm_key_say_so_once_with_both_names(tmp_path: Path) -> None:
    key = tmp_path / "swarm.key"
    write_secret(key, new_swarm_key().text())
    a = NodeProcess(tmp_path / "a", "a", _CONFIG, key)
    b = NodeProcess(tmp_path / "b", "b", f'{_CONFIG}[mesh]\npeers = ["{a.swarm}"]\n', key)
    write_secret(a.home / "mesh.id", "aa" * 16 + "\n")
    write_secret(b.home / "mesh.id", "bb" * 16 + "\n")
    with a, b:
        a.start()
        b.start()
        for node, own, other in ((a, "aaaaaaaa", "bbbbbbbb"), (b, "bbbbbbbb", "aaaaaaaa")):
            node.wait_ready()
            said = eventually(node.output, lambda text: "of another mesh" in text, 20, "two meshes meet")
            line = next(each for each in said.splitlines() if "of another mesh" in each)
            assert own in line
            assert other in line
            assert "demesh join" in line
            assert said.count("of another mesh") == 1
