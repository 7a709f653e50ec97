"""On real processes: a check taken over from another node, and one question asked of several."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from demesh.identity import new_swarm_key, write_secret
from tests.e2e.harness import NodeProcess, WebServer, eventually
from tests.ports import free_port

_A = """
[node]
flush_interval = "1s"
[mesh]
allow_requests = {allowed}
[[check]]
name = "web"
target = "{target}/health"
interval = "2s"
expect = {{ status = 200, body = "Welcome" }}
"""
_B = """
[node]
flush_interval = "1s"
tags = ["eu"]
[mesh]
peers = ["{peer}"]
adopt_checks = ["a"]
allow_requests = "any"
"""


def _vantages(status: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {each["node"]: (each["vote"], each["from"]) for check in status["checks"] for each in check["vantages"]}


@pytest.mark.slow
@pytest.mark.e2e
def test_one_file_for_two_nodes_and_is_it_down_or_is_it_me(tmp_path: Path) -> None:
    swarm_key = tmp_path / "swarm.key"
    write_secret(swarm_key, new_swarm_key().text())
    a = NodeProcess(tmp_path / "a", "a", swarm_key=swarm_key)
    b = NodeProcess(tmp_path / "b", "b", swarm_key=swarm_key)
    with WebServer() as web, a, b:
        (a.home / "demesh.toml").write_text(_A.format(target=web.url, allowed='"any"'))
        (b.home / "demesh.toml").write_text(_B.format(peer=a.swarm))
        a.start()
        b.start()
        for node in (a, b):
            node.wait_ready()
            eventually(
                node.status, lambda s: _vantages(s) == {"a": ("pass", None), "b": ("pass", "a")}, 40, "both pass"
            )
        listed = json.loads(b.run_command("check", "list", "--json").stdout)
        assert [(each["name"], each["from"], each["runs_here"]) for each in listed] == [("web", "a", True)]
        assert "took it over from a" in b.run_command("status", "--all").stdout

        began = time.monotonic()
        ran = b.run_command("check", "run", f"{web.url}/?token=sesame", "--from", "a", "--timeout", "30s", "--json")
        took = time.monotonic() - began
        answer = json.loads(ran.stdout)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert [(each["node"], each["outcome"], each["own"]) for each in answer["answers"]] == [
            ("a", "pass", False),
            ("b", "pass", True),
        ]
        assert max(each["took_ms"] for each in answer["answers"]) < 5_000
        assert took < 20, "most of it is starting Python, on a busy machine"
        assert "sesame" not in a.output() + b.output()

        refused = a.run_command("check", "run", f"http://127.0.0.1:{free_port()}/", "--from", "tag:eu")
        assert refused.returncode == 1
        assert "It is down: it fails for all 2" in refused.stdout
        by_name = a.run_command("check", "run", "web")
        assert (by_name.returncode, "It passes for all 2" in by_name.stdout) == (0, True)

        # As it is by default: a's inside network is not open to b.
        (a.home / "demesh.toml").write_text(_A.format(target=web.url, allowed='"public"'))
        eventually(a.output, lambda text: "was taken up" in text, 20, "the change is taken up")
        with socket.socket() as inside:
            inside.bind(("127.0.0.1", 0))
            inside.listen()
            inside.setblocking(False)
            told = b.run_command("check", "run", f"tcp://127.0.0.1:{inside.getsockname()[1]}", "--from", "a")
            assert "public addresses only" in told.stdout
            inside.accept()[0].close()  # b's own, and no other
            with pytest.raises(BlockingIOError):
                inside.accept()
        (a.home / "demesh.toml").write_text(_A.format(target=web.url, allowed="false"))
        eventually(lambda: a.output().count("was taken up"), lambda count: count == 2, 20, "the change is taken up")
        said = eventually(
            lambda: b.run_command("check", "run", web.url, "--from", "a").stdout,
            lambda text: "answers no requests" in text,
            20,
            "a says no",
        )
        assert "passes here, and nobody else could try it" in said
