"""Real nodes whose data was restored, copied or lost in part: each goes on without ever contradicting what it published."""

import shutil
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from demesh.identity import new_swarm_key, write_secret
from tests.e2e.harness import NodeProcess, eventually

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

_CONFIG = '[node]\nflush_interval = "1s"\n[mesh]\npeers = [{peers}]\n'


def _node(home: Path, swarm_key: Path, peers: str = "") -> NodeProcess:
    return NodeProcess(home, "nas", _CONFIG.format(peers=peers), swarm_key)


def _own(node: NodeProcess) -> dict[str, Any]:
    """The head of the log that the node writes: of its member's, the one that grows."""
    before = {row["log"]: row["seq"] for row in node.heads()}
    grown = eventually(
        lambda: [
            row
            for row in node.heads()
            if (row["node"] or "").startswith("nas") and row["seq"] > before.get(row["log"], 10**9)
        ],
        lambda rows: len(rows) == 1,
        20,
        "the own log grows",
    )
    return grown[0]


def _verified(node: NodeProcess) -> bool:
    ran = node.run_command("log", "verify")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout.endswith("all intact\n")


@pytest.fixture
def swarm_key(tmp_path: Path) -> Path:
    path = tmp_path / "swarm.key"
    write_secret(path, new_swarm_key().text())
    return path


def _refused(node: NodeProcess) -> str:
    with urllib.request.urlopen(f"http://{node.api}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return "\n".join(line for line in lines if line.startswith("demesh_refused_total{"))


def test_a_restored_node_begins_a_new_epoch_and_gets_back_what_the_backup_lacked(
    tmp_path: Path, swarm_key: Path
) -> None:
    witness = NodeProcess(tmp_path / "witness", "witness", _CONFIG.format(peers=""), swarm_key)
    node = _node(tmp_path / "nas", swarm_key, f'"{witness.swarm}"')
    with witness, node:
        witness.start()
        node.start()
        node.wait_ready()
        before = _own(node)
        backed_up = node.run_command("backup", str(tmp_path / "b.tar"))
        assert backed_up.returncode == 0, backed_up.stderr
        later = eventually(lambda: _own(node), lambda row: row["seq"] > before["seq"] + 1, 20, "more entries")
        eventually(
            witness.heads,
            lambda rows: any(r["log"] == later["log"] and r["seq"] >= later["seq"] for r in rows),
            20,
            "seen",
        )
        node.kill()
        node.home.rename(tmp_path / "broken")

        restored = node.run_command("restore", str(tmp_path / "b.tar"))
        assert restored.returncode == 0, restored.stderr
        (node.home / "runtime").mkdir(exist_ok=True)
        node.start()
        node.wait_ready()
        eventually(
            node.heads,
            lambda rows: any(r["log"] == later["log"] and r["seq"] >= later["seq"] for r in rows),
            40,
            "back",
        )
        anew = _own(node)
        assert anew["log"] != later["log"]
        assert anew["peer_id"] == later["peer_id"], "it is the same member"
        eventually(witness.heads, lambda rows: any(r["log"] == anew["log"] for r in rows), 20, "the new epoch is seen")
        assert "fork" not in _refused(witness) + _refused(node)
        assert _verified(node)
        assert _verified(witness)


def _incidents(node: NodeProcess) -> set[str]:
    return {f"{each['name']} {each['subject']}" for each in node.status()["incidents"]}


def test_of_a_copied_disk_the_copy_begins_a_new_epoch_and_it_is_told_that_the_key_is_shared(
    tmp_path: Path, swarm_key: Path
) -> None:
    witness = NodeProcess(tmp_path / "witness", "witness", _CONFIG.format(peers=""), swarm_key)
    node = _node(tmp_path / "nas", swarm_key, f'"{witness.swarm}"')
    with witness, node:
        for each in (witness, node):
            each.start()
            each.wait_ready()
        before = _own(node)
        node.stop()
        shutil.copytree(node.home, tmp_path / "copy")
        copy = _node(tmp_path / "copy", swarm_key, f'"{witness.swarm}"')
        with copy:
            for each in (node, copy):
                each.start()
                each.wait_ready()
            assert _own(node)["log"] == before["log"]
            eventually(
                copy.heads,
                lambda rows: any(
                    row["node"] == "nas" and row["log"] != before["log"] and row["seq"] > 3 for row in rows
                ),
                20,
                "the copy writes another log",
            )
            # The copy's log does not come through, as libp2p keeps one connection to a peer; but it greets.
            eventually(lambda: _incidents(witness), lambda said: said == {"DemeshKeyShared nas"}, 60, "told")
            assert "fork" not in _refused(witness)
            for each in (witness, node, copy):
                assert _verified(each)


def test_a_rebooted_node_goes_on_with_its_log_as_its_member_knows_no_more(tmp_path: Path, swarm_key: Path) -> None:
    witness = NodeProcess(tmp_path / "witness", "witness", _CONFIG.format(peers=""), swarm_key)
    node = _node(tmp_path / "nas", swarm_key, f'"{witness.swarm}"')
    with witness, node:
        for each in (witness, node):
            each.start()
            each.wait_ready()
        before = _own(node)
        node.kill()
        for marker in (node.home / "runtime").rglob("*.marker"):
            marker.unlink()
        node.start()
        node.wait_ready()
        assert _own(node)["log"] == before["log"]
        assert {row["log"] for row in node.heads() if row["node"] == "nas"} == {before["log"]}
        assert "fork" not in _refused(witness)
        assert _verified(witness)


@pytest.mark.parametrize("lost", ["log.db", "node.key"])
def test_a_node_that_lost_a_part_of_itself_starts(tmp_path: Path, swarm_key: Path, lost: str) -> None:
    node = _node(tmp_path / "nas", swarm_key)
    with node:
        node.start()
        node.wait_ready()
        before = _own(node)
        node.stop()
        for path in node.home.glob(f"{lost}*"):
            path.unlink()
        node.start()
        node.wait_ready()
        after = _own(node)
        assert after["log"] != before["log"]
        assert (after["peer_id"] == before["peer_id"]) == (lost == "log.db"), "the key is who the member is"
        assert _verified(node)
