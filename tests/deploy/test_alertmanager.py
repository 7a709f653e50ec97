"""deploy/alertmanager/alertmanager.yml does what it says with each alert that a mesh posts, in a real Alertmanager."""

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from demesh.alerts import on_checks, on_keys, on_members, on_paths
from demesh.alerts.watchdog import is_ours
from tests.deploy.documents import ROOT, prometheus_alerts, rows
from tests.deploy.posted import MESH, Labels, posted
from tests.e2e.harness import Alertmanager, WebServer, eventually, require

_FILE = ROOT / "deploy/alertmanager/alertmanager.yml"
_NEVER_WAKES = {"DemeshCheckPartial", "DemeshWatchdog"}


@pytest.fixture(scope="module")
def alerts() -> dict[str, list[Labels]]:
    return posted()


def _routed(labels: Labels) -> str:
    said = [f"{name}={value}" for name, value in labels.items()]
    command = [require("amtool"), "config", "routes", "test", f"--config.file={_FILE}", *said]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def test_amtool_finds_nothing_to_blame() -> None:
    subprocess.run([require("amtool"), "check-config", str(_FILE)], capture_output=True, check=True, timeout=20)


def test_every_alert_that_a_mesh_posts_is_known_here_and_in_the_docs(alerts: dict[str, list[Labels]]) -> None:
    modules = (on_checks, on_members, on_keys, on_paths)
    constants = chain.from_iterable(vars(module).values() for module in modules)
    named = {each for each in constants if isinstance(each, str) and each.startswith("Demesh") and " " not in each}
    assert alerts.keys() == named | {"DemeshWatchdog"}
    assert set(rows("docs/verdicts.md", "## Incidents")) == named
    assert set(rows("docs/operations.md", "## Alerts, and what they want of you")) == alerts.keys()


def test_the_docs_tell_the_labels_of_every_alert(alerts: dict[str, list[Labels]]) -> None:
    always = {"alertname", "mesh", "severity"}
    told = {
        name: {frozenset(re.findall(r"`(\w+)`", each)) for each in cells[0].split(";")}
        for name, cells in rows("docs/verdicts.md", "### Labels").items()
    }
    assert told == {name: {frozenset(each.keys() - always) for each in found} for name, found in alerts.items()}


def test_each_alert_goes_to_whom_the_file_says(alerts: dict[str, list[Labels]]) -> None:
    for name, labels in alerts.items():
        wanted = "demesh" if name == "DemeshWatchdog" else "nobody" if name in _NEVER_WAKES else "people"
        assert {_routed(each) for each in labels} == {wanted}, name


def test_what_prometheus_tells_is_shown_by_the_nodes_too_and_wakes_nobody_for_information() -> None:
    for name, severity in prometheus_alerts().items():
        labels = {"alertname": name, "severity": severity, "mesh": MESH}
        assert _routed(labels) == ("demesh,nobody" if severity == "info" else "demesh,people")
        assert not is_ours(labels, MESH), "or the nodes would leave it out"


def _post(alertmanager: Alertmanager, alerts: Iterable[Labels]) -> None:
    body = json.dumps([{"labels": labels} for labels in alerts]).encode()
    request = urllib.request.Request(
        f"{alertmanager.url}/api/v2/alerts", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=5):
        pass


def _inhibited(alertmanager: Alertmanager, wanted: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The alerts that are kept back, by name and by what they are of, once `wanted` are."""

    def read() -> set[tuple[str, str]]:
        return {_called(each["labels"]) for each in alertmanager.alerts() if each["status"]["inhibitedBy"]}

    return eventually(read, wanted.issubset, 30, "Alertmanager has looked at what was posted")


def _called(labels: Labels) -> tuple[str, str]:
    return labels["alertname"], labels.get("node") or labels.get("check") or ""


class _Receivers(WebServer):
    """Notes which token came with what."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, tuple[str, str]]] = []

    def take(self, document: Any, bearer: str) -> bool:
        self.told += [(bearer, _called(each["labels"])) for each in document["alerts"]]
        return True


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Alertmanager, _Receivers]]:
    """Alertmanager with the very file, but for where its receivers are; the two nodes' tokens are their names."""
    with _Receivers() as receivers:
        text = _FILE.read_text().replace("/etc/alertmanager", str(tmp_path))
        for node in ("nas", "vps"):
            (tmp_path / f"demesh-{node}.token").write_text(node)
            text = text.replace(f"http://{node}.example.net:8470", receivers.url)
        people = '# webhook_configs: [{url: "https://ntfy.example.net/…"}]    or email_configs, pagerduty_configs …'
        assert people in text
        text = text.replace(people, f'webhook_configs: [{{url: "{receivers.url}/people"}}]')
        with Alertmanager(tmp_path, "", written=text).running() as alertmanager:
            yield alertmanager, receivers


@pytest.mark.slow
@pytest.mark.e2e
def test_an_outage_is_told_once_and_the_watchdog_goes_back_to_the_mesh(
    running: tuple[Alertmanager, _Receivers], alerts: dict[str, list[Labels]]
) -> None:
    alertmanager, receivers = running
    silent, broken, watchdog = (alerts[f"Demesh{each}"][0] for each in ("NodeSilent", "VantageBroken", "Watchdog"))
    down, together, *_ = alerts["DemeshCheckDown"]
    not_scraped = {"alertname": "MeshNodeNotScraped", "mesh": MESH, "node": "a", "severity": "warning"}
    _post(alertmanager, [silent, broken, down, together, watchdog, not_scraped, {**not_scraped, "node": "b"}])
    wanted = {_called(each) for each in (broken, together, not_scraped)}
    assert _inhibited(alertmanager, wanted) == wanted
    eventually(lambda: receivers.told, lambda told: ("", _called(silent)) in told, 30, "people are told")
    eventually(lambda: receivers.told, lambda told: ("", _called(down)) in told, 30, "of what is not inhibited")
    both = {("nas", _called(watchdog)), ("vps", _called(watchdog))}
    eventually(lambda: set(receivers.told), both.issubset, 30, "the watchdog is back at both nodes")
    people = {alert for bearer, alert in receivers.told if not bearer}
    assert people <= {_called(silent), _called(down), ("MeshNodeNotScraped", "b")}


@pytest.mark.slow
@pytest.mark.e2e
def test_what_follows_from_a_partition_waits_and_who_falls_silent_later_does_not(
    running: tuple[Alertmanager, _Receivers], alerts: dict[str, list[Labels]]
) -> None:
    alertmanager, _ = running
    first = {name: labels[0] for name, labels in alerts.items()}
    others = [
        {"alertname": name, "mesh": MESH, "severity": "warning"} for name in ("MeshVerdictsDiffer", "MeshMembersDiffer")
    ]
    elsewhere = {**first["DemeshCheckPartial"], "mesh": "ffffffff", "check": "elsewhere"}
    wanted = {_called(first[f"Demesh{each}"]) for each in ("CheckPartial", "CheckSilent", "VantageBroken")}
    _post(alertmanager, [*first.values(), *others, elsewhere])
    found = _inhibited(alertmanager, wanted | {_called(each) for each in others})
    never = {"DemeshPartition", "DemeshNodeSilent", "DemeshKeyShared", "DemeshLogForked", "DemeshCertificateExpiring"}
    assert not never & {name for name, _ in found}
    assert _called(elsewhere) not in found, "another mesh"


@pytest.mark.slow
@pytest.mark.e2e
def test_of_a_check_that_is_down_the_rest_waits_and_of_another_not(
    running: tuple[Alertmanager, _Receivers], alerts: dict[str, list[Labels]]
) -> None:
    alertmanager, _ = running
    down, silent = alerts["DemeshCheckDown"][0], alerts["DemeshCheckSilent"][0]
    own = alerts["DemeshNodeIsolated"][0]
    blind = {"alertname": "MeshNetworkDown", "mesh": MESH, "node": own["node"], "severity": "warning"}
    _post(alertmanager, [down, {**silent, "check": down["check"]}, {**silent, "check": "other"}, own, blind])
    wanted = {("DemeshCheckSilent", down["check"]), ("MeshNetworkDown", own["node"])}
    assert _inhibited(alertmanager, wanted) == wanted
    gone = {"alertname": "MeshGone", "severity": "critical"}
    _post(alertmanager, [gone, {**blind, "alertname": "MeshNodeNotScraped", "node": "z"}])
    wanted = {("MeshNodeNotScraped", "z")}
    assert wanted <= _inhibited(alertmanager, wanted)
