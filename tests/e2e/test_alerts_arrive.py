"""What three real nodes tell a real Alertmanager, and what they do not."""

import subprocess
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from demesh.identity import new_swarm_key, write_secret
from tests.e2e.harness import Alertmanager, NodeProcess, WebServer, eventually, require

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

_NAMES = ("fra", "nyc", "lab")
_CONFIG = """
[node]
flush_interval = "2s"
{node}
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
name = "shop"
target = "{target}/shop"
headers = {{ X-From = "${{ZQ_NODE}}" }}
labels = {{ team = "web" }}
"""


class _Pager:
    """What a real Alertmanager has sent on."""

    def __init__(self, web: WebServer, alertmanager: Alertmanager) -> None:
        self._web = web
        self.alertmanager = alertmanager

    def pages(self, status: str = "firing") -> list[tuple[str, str]]:
        """(alert, subject) of each notification of that status, in order."""
        alerts = [alert for post in self._web.posted for alert in post["alerts"] if alert["status"] == status]
        return [(_name(alert), _subject(alert)) for alert in alerts]

    def firing(self) -> list[tuple[str, str]]:
        return sorted((_name(alert), _subject(alert)) for alert in self.alertmanager.alerts())


def _name(alert: dict[str, Any]) -> str:
    return alert["labels"]["alertname"].removeprefix("Demesh")


def _subject(alert: dict[str, Any]) -> str:
    return alert["labels"].get("check") or alert["labels"].get("node", "")


@contextmanager
def _mesh(
    place: Path, names: Sequence[str] = _NAMES, **node: str
) -> Generator[tuple[WebServer, _Pager, list[NodeProcess]]]:
    """Nodes that all know each other and see the shop up. `node` adds to the table `[node]` of one of that name."""
    swarm_key = place / "swarm.key"
    write_secret(swarm_key, new_swarm_key().text())
    with WebServer() as shop, WebServer() as hook, Alertmanager(place, f"{hook.url}/hook").running() as alertmanager:
        nodes = [NodeProcess(place / name, name, swarm_key=swarm_key) for name in names]
        with ExitStack() as running:
            for each in nodes:
                peers = ", ".join(f'"{other.swarm}"' for other in nodes if other is not each)
                text = _CONFIG.format(
                    peers=peers, alertmanager=alertmanager.url, target=shop.url, node=node.get(each.name, "")
                )
                (each.home / "demesh.toml").write_text(text)
                each.environment["ZQ_NODE"] = each.name
                running.enter_context(each)
                each.start()
            for each in nodes:
                each.wait_ready()
            _until(nodes, "up", votes=dict.fromkeys(names, "pass"))
            yield shop, _Pager(hook, alertmanager), nodes


def _shop(node: NodeProcess) -> dict[str, Any]:
    return next(check for check in node.status()["checks"] if check["name"] == "shop")


def _votes(node: NodeProcess) -> dict[str, str]:
    return {each["node"]: each["vote"] for each in _shop(node)["vantages"] if each["assigned"]}


def _until(nodes: Sequence[NodeProcess], state: str, votes: dict[str, str] | None = None) -> None:
    for node in nodes:
        eventually(partial(_shop, node), lambda found: found["state"] == state, 40, f"{state} at {node.name}")
        if votes is not None:
            eventually(partial(_votes, node), lambda found: found == votes, 40, f"{votes} at {node.name}")


def _presence(node: NodeProcess, of: NodeProcess) -> str:
    return next((each["presence"] for each in node.status()["nodes"] if each["name"] == of.name), "")


def _route(place: Path, labels: dict[str, str]) -> str:
    """Where Alertmanager's own tool says that an alert with these labels goes, if the web team has a receiver of its own."""
    config = place / "routes.yml"
    config.write_text(
        "route: {receiver: all, routes: [{receiver: web-team, matchers: ['team=web']}]}\n"
        "receivers: [{name: all}, {name: web-team}]\n"
    )
    pairs = [f"{key}={value}" for key, value in labels.items()]
    command = [require("amtool"), "config", "routes", "test", f"--config.file={config}", *pairs]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()


def test_an_outage_is_one_alert_whatever_who_sees_it_says(tmp_path: Path) -> None:
    with _mesh(tmp_path) as (shop, pager, nodes):
        shop.answers = {"nyc": 503}
        _until(nodes, "partial")
        for status in (503, 500, 404):
            shop.answers = {"fra": status, "nyc": status + 1, "lab": status}
            _until(nodes, "down")
            eventually(pager.firing, lambda found: found == [("CheckDown", "shop")], 20, "one alert")
        (alert,) = pager.alertmanager.alerts()
        assert alert["labels"] == {
            "alertname": "DemeshCheckDown",
            "mesh": nodes[0].status()["mesh"],
            "check": "shop",
            "type": "http",
            "severity": "critical",
            "team": "web",
            "env": "test",
        }
        assert _route(tmp_path, alert["labels"]) == "web-team"
        once = [("CheckDown", "shop")]
        eventually(pager.pages, lambda found: found == once, 20, "the minority paged nobody, and three nodes page once")

        # All nodes restart while it is down: it is neither resolved nor told again.
        for node in nodes:
            assert node.stop() == 0, node.output()
        for node in nodes:
            node.start()
        for node in nodes:
            node.wait_ready()
        _until(nodes, "down", votes=dict.fromkeys(_NAMES, "fail"))
        shop.answers = {}
        shop.status = 200
        eventually(lambda: pager.pages("resolved"), bool, 30, "resolved within 30 s")
        assert pager.pages() == [("CheckDown", "shop")]
        assert pager.pages("resolved") == [("CheckDown", "shop")]


def test_a_node_that_dies_is_told_of_once_and_one_that_was_stopped_only_after_its_time(tmp_path: Path) -> None:
    with _mesh(tmp_path, lab='back_within = "20s"') as (_, pager, (fra, nyc, lab)):
        assert lab.stop() == 0
        eventually(lambda: _presence(fra, lab), lambda found: found == "away", 10, "away")
        # It had promised an entry every 9 s: without a leave, silent 19 s after.
        eventually(lambda: _presence(fra, lab), lambda found: found == "silent", 40, "silent, when it is not back")
        eventually(pager.firing, lambda found: found == [("NodeSilent", "lab")], 20, "told then")
        lab.start()
        eventually(pager.firing, lambda found: found == [], 40, "back")
        _until([fra, nyc, lab], "up", votes=dict.fromkeys(_NAMES, "pass"))

        nyc.kill()
        eventually(pager.firing, lambda found: found == [("NodeSilent", "nyc")], 40, "one alert, in its budget")
        nyc.start()
        eventually(pager.firing, lambda found: found == [], 40, "resolved when it is back")
        assert pager.pages() == [("NodeSilent", "lab"), ("NodeSilent", "nyc")]


def test_a_survivor_still_pages(tmp_path: Path) -> None:
    with _mesh(tmp_path, lab='presence = "roaming"') as (shop, pager, (fra, nyc, lab)):
        lab.kill()
        eventually(lambda: _presence(fra, lab), lambda found: found == "away", 40, "a roaming laptop is away")
        nyc.kill()
        eventually(pager.firing, lambda found: found == [("NodeSilent", "nyc")], 40, "nyc is silent, the laptop is not")
        shop.status = 503
        both = [("CheckDown", "shop"), ("NodeSilent", "nyc")]
        eventually(pager.firing, lambda found: found == both, 40, "the survivor pages for the shop")
        paged = [("NodeSilent", "nyc"), ("CheckDown", "shop")]
        eventually(pager.pages, lambda found: found == paged, 20, "paged in this order, once each")


def test_an_alertmanager_that_was_away_is_told_all(tmp_path: Path) -> None:
    with WebServer() as hook:
        alertmanager = Alertmanager(tmp_path, f"{hook.url}/hook")
        with WebServer() as shop:
            shop.status = 503
            node = NodeProcess(tmp_path / "fra", "fra")
            node.environment["ZQ_NODE"] = "fra"
            text = _CONFIG.format(peers="", alertmanager=alertmanager.url, target=shop.url, node="")
            (node.home / "demesh.toml").write_text(text)
            with node:
                node.start()
                node.wait_ready()
                _until([node], "down")
                eventually(lambda: node.status()["incidents"], bool, 20, "open, and nobody to tell")
                with alertmanager.running():
                    eventually(alertmanager.alerts, lambda found: len(found) == 1, 40, "told when it is there")
