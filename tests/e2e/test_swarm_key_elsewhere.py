"""A node whose swarm key is not in its data directory, as where systemd hands it over: commands find it, and backups hold it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demesh.identity import new_swarm_key
from tests.e2e.harness import NodeProcess, eventually

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
_KEY = new_swarm_key()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """One that was told of its key by its environment alone; commands do not have that."""
    place = tmp_path_factory.mktemp("credentials")
    key = place / "swarm.key"
    key.write_text(_KEY.text())
    with NodeProcess(place / "node", "nas") as node:
        node.inside = ("env", f"DEMESH_SWARM_KEY_FILE={key}")
        node.start("--advertise", node.swarm)
        node.wait_ready()
        assert not (node.home / "swarm.key").exists()
        yield node


def test_the_running_node_says_where_it_is(node: NodeProcess) -> None:
    assert node.run_command("swarm-key", "fingerprint").stdout.strip() == _KEY.fingerprint
    found = {each["topic"]: each for each in json.loads(node.run_command("doctor", "--json").stdout)}
    assert found["swarm key"]["level"] == "good"
    assert _KEY.fingerprint in found["swarm key"]["sentence"]


def test_others_are_invited(node: NodeProcess, tmp_path: Path) -> None:
    invited = node.run_command("invite")
    assert invited.returncode == 0, invited.stderr
    with NodeProcess(tmp_path / "second", "second") as second:
        assert second.run_command("join", stdin=invited.stdout).returncode == 0
        second.start()
        second.wait_ready()
        eventually(second.status, lambda said: len(said["nodes"]) == 2, 30, "both in one mesh")


def test_a_backup_holds_it_and_what_is_restored_starts(node: NodeProcess, tmp_path: Path) -> None:
    made = node.run_command("backup", str(tmp_path / "nas.tar"))
    assert made.returncode == 0, made.stderr
    assert "of the swarm in the clear" in made.stderr
    again = NodeProcess(tmp_path / "again", "nas")
    (again.home / "demesh.toml").unlink()
    (again.home / "runtime").rmdir()
    assert not any(again.home.iterdir())
    restored = subprocess.run(
        [sys.executable, "-m", "demesh", "restore", str(tmp_path / "nas.tar")],
        env={**again.environment, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert restored.returncode == 0, restored.stderr
    assert "--swarm-key-file" not in restored.stdout
    (again.home / "runtime").mkdir(exist_ok=True)
    with again:
        again.start()
        again.wait_ready()
        assert again.run_command("swarm-key", "fingerprint").stdout.strip() == _KEY.fingerprint
