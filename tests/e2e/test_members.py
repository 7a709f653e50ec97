"""Members on real processes and sockets: one that only dials, one that is turned away, one that leaves, one that is forgotten."""

import json
from pathlib import Path
from typing import Any

import pytest

from demesh.identity import new_swarm_key, peer_id, read_or_make_node_key, write_secret
from tests.e2e.harness import NodeProcess, eventually

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
_FLUSH = '[node]\nflush_interval = "1s"\n'


def _presence(node: NodeProcess) -> dict[str, str]:
    return {each["name"]: each["presence"] for each in node.status()["nodes"]}


def _members(node: NodeProcess) -> dict[str, Any]:
    ran = node.run_command("members", "--all", "--json")
    return {each["name"]: each for each in json.loads(ran.stdout)}


@pytest.fixture
def swarm_key(tmp_path: Path) -> Path:
    path = tmp_path / "swarm.key"
    write_secret(path, new_swarm_key().text())
    return path


class _Dialler(NodeProcess):
    """As behind a NAT: nobody can connect to it."""

    def __init__(self, home: Path, name: str, swarm_key: Path) -> None:
        super().__init__(home, name, _FLUSH, swarm_key)
        self.swarm = "none"


def test_nodes_that_only_dial_take_full_part_and_members_leave(tmp_path: Path, swarm_key: Path) -> None:
    hub = NodeProcess(tmp_path / "hub", "hub", _FLUSH, swarm_key)
    ann, ben = (_Dialler(tmp_path / name, name, swarm_key) for name in ("ann", "ben"))
    everyone = {"hub": "alive", "ann": "alive", "ben": "alive"}
    with hub, ann, ben:
        hub.start()
        hub.wait_ready()
        for each in (ann, ben):
            each.start("--peer", hub.swarm)
            each.wait_ready()
        for each in (hub, ann, ben):
            eventually(
                lambda each=each: _presence(each), lambda seen: seen == everyone, 60, f"all alive at {each.name}"
            )
        assert "does not listen" in ann.output()
        told = _members(ann)
        assert told["hub"]["connected"]
        assert told["hub"]["address"] == hub.swarm
        assert not told["ben"]["connected"], "between two that only dial there is nothing but the hub"

        left = ben.run_command("node", "leave")
        assert (left.returncode, ben.wait(15)) == (0, 0), left.stderr
        for each in (hub, ann):
            eventually(lambda each=each: _presence(each), lambda seen: "ben" not in seen, 20, "ben has left")
            assert _members(each)["ben"]["presence"] == "left"

        refused = hub.run_command("members", "forget", "ann")
        assert refused.returncode == 2
        assert "alive" in refused.stderr
        ann.kill()
        eventually(lambda: _presence(hub), lambda seen: seen.get("ann") == "silent", 60, "ann is silent")
        forgot = hub.run_command("members", "forget", "ann")
        assert forgot.returncode == 0, forgot.stderr
        eventually(lambda: _presence(hub), lambda seen: set(seen) == {"hub"}, 20, "ann is forgotten")
        shown = hub.run_command("members")
        assert "2 members have left" in shown.stderr
        ann.start("--peer", hub.swarm)
        eventually(lambda: _presence(hub), lambda seen: seen.get("ann") == "alive", 60, "ann is a member again")
        assert ann.stop() == 0
        assert hub.stop() == 0


def test_a_key_that_is_denied_is_sent_away_at_the_reload(tmp_path: Path, swarm_key: Path) -> None:
    ann, ben = (NodeProcess(tmp_path / name, name, _FLUSH, swarm_key) for name in ("ann", "ben"))
    with ann, ben:
        ann.start()
        ann.wait_ready()
        ben.start("--peer", ann.swarm)
        ben.wait_ready()
        for each in (ann, ben):
            eventually(lambda each=each: len(_presence(each)), lambda count: count == 2, 60, "both are there")
        denied = peer_id(bytes(read_or_make_node_key(ben.home / "node.key").verify_key))
        (ann.home / "demesh.toml").write_text(f'{_FLUSH}[mesh]\ndeny = ["{denied}"]\n')
        eventually(lambda: _presence(ann), lambda seen: set(seen) == {"ann"}, 30, "ben counts nowhere")
        eventually(lambda: _members(ben)["ann"]["connected"], lambda there: not there, 30, "ben is sent away")
        (ann.home / "demesh.toml").write_text(_FLUSH)
        eventually(lambda: _presence(ann).get("ben"), lambda state: state == "alive", 120, "ben is back")
        assert ann.stop() == 0
        assert ben.stop() == 0
