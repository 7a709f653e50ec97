"""Nodes and a real Alertmanager that tells one of them what it is told: the loop closes, and a silence keeps alerts out of it."""

import json
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from demesh.identity import new_swarm_key, write_secret
from tests.e2e.harness import Alertmanager, NodeProcess, WebServer, eventually, require

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

_CONFIG = """
[node]
flush_interval = "1s"
[mesh]
peers = [{peers}]
[alerts]
alertmanager = "{alertmanager}"
watchdog = true
[defaults]
interval = "1s"
timeout = "1s"
retry_interval = "1s"
[[check]]
name = "web"
target = "{target}"
"""


def _post(alertmanager: Alertmanager, **labels: str) -> None:
    body = json.dumps([{"labels": labels}]).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{alertmanager.url}/api/v2/alerts", body, headers)
    with urllib.request.urlopen(request, timeout=5):
        pass


def _names(alertmanager: Alertmanager) -> set[str]:
    return {each["labels"]["alertname"] for each in alertmanager.alerts()}


def _alerts(node: NodeProcess) -> dict[str, Any]:
    return json.loads(node.run_command("alerts", "--json").stdout)


def test_the_configuration_in_the_docs_is_one_and_routes_as_it_says(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    (snippet,) = re.findall(r"```yaml\n(route:.*?)```", text, re.DOTALL)
    config = tmp_path / "alertmanager.yml"
    config.write_text(snippet.replace("/etc/alertmanager", str(tmp_path)))

    def routed(*labels: str) -> str:
        command = [require("amtool"), "config", "routes", "test", f"--config.file={config}", *labels]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    subprocess.run([require("amtool"), "check-config", str(config)], capture_output=True, check=True, timeout=20)
    assert routed("alertname=DemeshWatchdog", "mesh=a", "node=nas") == "demesh"
    assert routed("alertname=DemeshCheckDown", "check=web") == "demesh,people"


def test_what_a_node_sends_comes_back_by_alertmanager_and_a_silence_keeps_it_in(tmp_path: Path) -> None:
    swarm_key, token_file = tmp_path / "swarm.key", tmp_path / "hook.token"
    write_secret(swarm_key, new_swarm_key().text())
    a, b = (NodeProcess(tmp_path / name, name, swarm_key=swarm_key) for name in ("a", "b"))
    token_file.write_text(a.run_command("token", "new", "--name", "alertmanager").stdout)
    hook = f"http://{a.api}/hook/alertmanager"
    with WebServer() as web, Alertmanager(tmp_path, hook, token_file).running() as alertmanager, a, b:
        for node, peer in ((a, b), (b, a)):
            config = _CONFIG.format(peers=f'"{peer.swarm}"', alertmanager=alertmanager.url, target=web.url)
            (node.home / "demesh.toml").write_text(config)
            node.start()
        for node in (a, b):
            node.wait_ready()
            eventually(
                lambda node=node: {(each["node"], each["works"]) for each in _alerts(node)["alert_paths"]},
                lambda paths: paths == {("a", True), ("b", True)},
                60,
                f"{node.name} knows that the watchdogs of both come back",
            )
        _post(alertmanager, alertname="DiskFull", host="nas")
        eventually(
            lambda: [each["labels"] for each in _alerts(b)["from_alertmanager"]],
            lambda told: told == [{"alertname": "DiskFull", "host": "nas"}],
            30,
            "b shows what Alertmanager told a",
        )
        silenced = b.run_command("silence", "add", "check=web", "1h", "-m", "deploy")
        assert silenced.returncode == 0, silenced.stderr
        eventually(lambda: a.run_command("silence", "list").stdout, lambda said: "deploy" in said, 20, "a knows of it")
        web.status = 503
        muted = eventually(
            lambda: [each["muted"] for each in _alerts(a)["incidents"]], lambda found: found != [], 30, "web is down"
        )
        assert muted[0]["comment"] == "deploy"
        assert "DemeshCheckDown" not in _names(alertmanager)
        (silence,) = json.loads(a.run_command("silence", "list", "--json").stdout)
        assert a.run_command("silence", "end", silence["id"]).returncode == 0
        eventually(lambda: _names(alertmanager), lambda names: "DemeshCheckDown" in names, 20, "it is told now")
        acknowledged = a.run_command("ack", "web", "-m", "on it")
        assert acknowledged.stdout == "Acknowledged, on all nodes: DemeshCheckDown web\n", acknowledged.stderr
        eventually(lambda: b.run_command("alerts").stdout, lambda said: "on it" in said, 20, "b shows it")
        told = [each["labels"]["alertname"] for each in _alerts(b)["from_alertmanager"]]
        assert told == ["DiskFull"], "the mesh's own alerts are no news to it"
