"""The whole way, on real processes: probe, signed entry, durable log, private swarm, the other node's view, Alertmanager."""

import json
from pathlib import Path
from typing import Any

import pytest

from demesh.identity import new_swarm_key, write_secret
from tests.e2e.harness import Alertmanager, NodeProcess, WebServer, eventually

_CONFIG = """
[node]
flush_interval = "2s"
[mesh]
peers = [{peers}]
[alerts]
alertmanager = "{alertmanager}"
labels = {{ env = "test" }}
[defaults]
interval = "2s"
timeout = "1s"
retry_interval = "1s"
[[check]]
name = "web"
target = "{target}/health?token=sesame"
expect = {{ status = 200, body = "Welcome" }}
labels = {{ team = "ops" }}
"""


def _check(status: dict[str, Any]) -> dict[str, Any]:
    return next((check for check in status["checks"] if check["name"] == "web"), {"state": None, "vantages": []})


def _votes(status: dict[str, Any]) -> dict[str, str]:
    return {each["node"]: each["vote"] for each in _check(status)["vantages"] if each["assigned"]}


def _presence(status: dict[str, Any]) -> dict[str, str]:
    return {node["name"]: node["presence"] for node in status["nodes"]}


def _alerts(alertmanager: Alertmanager, name: str) -> list[dict[str, Any]]:
    return [alert for alert in alertmanager.alerts() if alert["labels"]["alertname"] == name]


def _notified(web: WebServer, name: str, status: str) -> list[dict[str, Any]]:
    alerts = [alert for post in web.posted for alert in post["alerts"]]
    return [alert for alert in alerts if alert["labels"]["alertname"] == name and alert["status"] == status]


@pytest.mark.slow
@pytest.mark.e2e
def test_two_nodes_agree_alert_once_and_hold_the_same_logs(tmp_path: Path) -> None:
    swarm_key = tmp_path / "swarm.key"
    write_secret(swarm_key, new_swarm_key().text())
    with WebServer() as web, Alertmanager(tmp_path, f"{web.url}/hook").running() as alertmanager:
        a = NodeProcess(tmp_path / "a", "a", swarm_key=swarm_key)
        b = NodeProcess(tmp_path / "b", "b", swarm_key=swarm_key)
        for node, peers in ((a, ""), (b, f'"{a.swarm}"')):
            config = _CONFIG.format(peers=peers, alertmanager=alertmanager.url, target=web.url)
            (node.home / "demesh.toml").write_text(config)
        with a, b:
            a.start()
            b.start()
            for node in (a, b):
                node.wait_ready()
                eventually(node.status, lambda s: _votes(s) == {"a": "pass", "b": "pass"}, 30, "up on both")
            assert _check(a.status())["state"] == _check(b.status())["state"] == "up"

            web.status = 503
            for node in (a, b):
                eventually(node.status, lambda s: _check(s)["state"] == "down", 20, "down on both")
            eventually(lambda: _alerts(alertmanager, "DemeshCheckDown"), lambda found: len(found) == 1, 20, "one alert")
            alert = _alerts(alertmanager, "DemeshCheckDown")[0]
            assert alert["labels"] == {
                "alertname": "DemeshCheckDown",
                "mesh": a.status()["mesh"],
                "check": "web",
                "type": "http",
                "severity": "critical",
                "team": "ops",
                "env": "test",
            }
            assert "503" in alert["annotations"]["description"]
            assert b.run_command("status").returncode == 2

            web.status = 200
            for node in (a, b):
                eventually(node.status, lambda s: _check(s)["state"] == "up", 20, "up again on both")
            eventually(lambda: _notified(web, "DemeshCheckDown", "resolved"), bool, 20, "resolved")
            assert len(_notified(web, "DemeshCheckDown", "firing")) == 1

            b.kill()
            eventually(a.status, lambda s: _presence(s) == {"a": "alive", "b": "silent"}, 40, "b is silent")
            eventually(
                lambda: _alerts(alertmanager, "DemeshNodeSilent"), lambda found: len(found) == 1, 10, "one alert"
            )
            assert _alerts(alertmanager, "DemeshNodeSilent")[0]["labels"]["node"] == "b"
            assert _check(a.status())["state"] == "up"
            assert _votes(a.status()) == {"a": "pass"}

            b.start()
            b.wait_ready()
            for node in (a, b):
                eventually(node.status, lambda s: _votes(s) == {"a": "pass", "b": "pass"}, 30, "both back")
            eventually(lambda: _notified(web, "DemeshNodeSilent", "resolved"), bool, 20, "resolved")
            assert len(_notified(web, "DemeshNodeSilent", "firing")) == 1

            eventually(lambda: (a.heads(), b.heads()), lambda heads: heads[0] == heads[1], 20, "equal logs")
            assert len(a.heads()) == 2, "a node that comes back goes on with its log"
            for node in (a, b):
                assert node.stop() == 0, node.output()
        for node in (a, b):
            verified = node.run_command("log", "verify", "--json")
            assert verified.returncode == 0, verified.stdout
            assert json.loads(verified.stdout)["logs"] == 2
            assert "sesame" not in node.output()
            assert b"sesame" not in (node.home / "log.db").read_bytes()
