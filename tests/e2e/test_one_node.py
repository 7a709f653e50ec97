"""One real node: what its first minutes are like, and that it keeps what it has said."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import NOW, Authority
from tests.e2e.harness import HttpsServer, NodeProcess, WebServer, eventually

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

FIRST_ANSWER_SECONDS = 5


def _states(status: dict[str, Any]) -> list[str]:
    return [check["state"] for check in status["checks"]]


def test_an_https_target_is_answered_for_within_seconds_of_the_start(tmp_path: Path, authority: Authority) -> None:
    node = NodeProcess(tmp_path / "node", "nas")
    node.environment["SSL_CERT_FILE"] = authority.ca_file
    with HttpsServer(authority.server("site", days=90)) as site, node:
        node.start(f"{site.url}/health")
        node.wait_ready()
        ready = time.monotonic()
        status = eventually(node.status, lambda answer: _states(answer) == ["up"], 20, "up")
        assert time.monotonic() - ready < FIRST_ANSWER_SECONDS
        expires = datetime.fromisoformat(status["checks"][0]["certificate_expires_at"])
        assert (expires - NOW.astimezone(UTC)).days == 90
        said = node.run_command("status")
        assert said.returncode == 0
        assert "✔ 127.0.0.1" in said.stdout
        assert "89d 23h" in said.stdout


def test_a_second_node_on_the_same_data_is_refused_in_a_sentence(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "node", "nas")
    with node:
        node.start()
        node.wait_ready()
        second = node.run_command("node", "run", "--listen", "127.0.0.1:0", "--api", "none")
        assert second.returncode == 2
        assert "Another node (pid" in second.stderr
        assert "Traceback" not in second.stderr


def test_kill_9_loses_nothing_that_was_shown_and_contradicts_nothing(tmp_path: Path) -> None:
    """Whatever a reader was told stands in the log after the kill, at the same place, and the log goes on from there."""
    config = '[node]\nflush_interval = "1s"\n[defaults]\ninterval = "1s"\ntimeout = "1s"\nretry_interval = "1s"\n'
    with WebServer() as web:
        node = NodeProcess(tmp_path / "node", "nas", config + f'[[check]]\nname = "web"\ntarget = "{web.url}"\n')
        with node:
            shown: list[dict[str, Any]] = []
            for _ in range(4):
                node.start()
                node.wait_ready()
                least = shown[-1]["seq"] + 2 if shown else 2
                heads = eventually(node.heads, lambda rows, least=least: rows[0]["seq"] >= least, 20, "entries")
                node.kill()
                shown.extend(heads)
            verified = node.run_command("log", "verify", "--json")
            assert verified.returncode == 0, verified.stdout
            assert json.loads(verified.stdout)["logs"] == 1, "the log goes on, no new epoch was needed"
            assert _all_stand(node, shown)


def test_a_password_of_an_alertmanager_is_not_printed(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "node", "nas")
    with node:
        node.start("--alertmanager", "http://admin:sesame@127.0.0.1:9/")
        eventually(node.output, lambda said: "tells" in said, 20, "the greeting")
        assert "http://127.0.0.1:9" in node.output()
        assert "sesame" not in node.output()


def test_a_stopped_node_says_so_and_exits_cleanly(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "node", "nas")
    with node:
        node.start()
        node.wait_ready()
        before = node.heads()[0]["seq"]
        stopped = time.monotonic()
        assert node.stop() == 0, node.output()
        assert time.monotonic() - stopped < 9
        assert "Traceback" not in node.output()
        after = json.loads(node.run_command("log", "heads", "--json").stdout)[0]["seq"]
        assert after > before, "the leave-taking is in the log"
        assert "No node is running" in node.run_command("status").stderr


def _all_stand(node: NodeProcess, shown: list[dict[str, Any]]) -> bool:
    from demesh.log.store import Store

    with Store(node.home / "log.db", readonly=True) as store:
        hashes = {row["seq"]: store.hash_at(bytes.fromhex(row["log"]), row["seq"]) for row in shown}
    return all(hashes[row["seq"]] == bytes.fromhex(row["hash"]) for row in shown)
