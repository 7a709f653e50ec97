"""What deploy/grafana and deploy/karma speak of is there: metrics that nodes or rules tell, labels and annotations of alerts.

Whether Grafana and Karma take the files is not tried here: see deploy/README.md.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.documents import ROOT, RULES, rows, rules
from tests.deploy.posted import MESH, annotations, posted
from tests.e2e.harness import NodeProcess, Prometheus, WebServer, eventually, require

_DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/demesh.json").read_text())
_KARMA: dict[str, Any] = yaml.safe_load((ROOT / "deploy/karma/karma.yaml").read_text())
_OF_PROMETHEUS = {"up", "ALERTS"}
_OF_THE_CLIENT_LIBRARY = {
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_start_time_seconds",
    "process_open_fds",
    "process_max_fds",
}
_EMPTY_WHILE_ALL_IS_WELL = {
    "Votes that fail",
    "Refused",
    "Alerts sent to Alertmanagers",
    "Messages to direct sinks, heartbeats",
    "Certificates: days left",
    "Clock",
}
_WORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool", "or", "and", "unless"}


def names(expression: str) -> set[str]:
    """The metrics that an expression of PromQL names."""
    text = re.sub(r'"[^"]*"', "", expression)
    text = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", text)
    text = re.sub(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)|\boffset\s+\w+", " ", text)
    return set(re.findall(r"(?<![\w.$])([a-zA-Z_:][\w:]*)\b(?!\s*\()", text)) - _WORDS


def _panels() -> Iterator[tuple[str, str]]:
    """The title of each panel with each of its expressions."""
    for panel in _DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def _filled(expression: str, mesh: str = MESH) -> str:
    """With the dashboard's variables as Grafana fills them in."""
    filled = expression.replace("$mesh", mesh).replace("$check", ".*").replace("$node", ".*")
    return filled.replace("$__rate_interval", "4s")


def _told() -> set[str]:
    """Every metric that a node tells, which test_metrics_told.py holds the docs to; of a histogram, its buckets."""
    table = rows("docs/monitoring.md", "## Metrics")
    buckets = {f"{name}_bucket" for name, cells in table.items() if cells[0] == "histogram"}
    return {*table, *buckets, *_OF_PROMETHEUS, *_OF_THE_CLIENT_LIBRARY}


def test_karma_misses_watchdogs_and_shows_none() -> None:
    (server,) = _KARMA["alertmanager"]["servers"]
    health = server["healthcheck"]
    assert health["visible"] is False
    assert all("alertname=DemeshWatchdog" in each for each in health["filters"].values())


def test_what_an_expression_names_is_found() -> None:
    expression = (
        'histogram_quantile(0.9, sum by (le, node) (rate(a_bucket{x="y z"}[5m]))) > 5e6 or b:c unless d offset 1h'
    )
    assert names(expression) == {"a_bucket", "b:c", "d"}
    assert names('max(e{f=~"$g"}) or vector(0) and on (h) i') == {"e", "i"}


def test_every_metric_that_a_rule_or_panel_names_is_there() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    known = _told() | recorded
    for rule in rules():
        assert names(rule["expr"]) <= known, rule
    for title, expression in _panels():
        assert names(expression) <= known, title
    variables = " ".join(each["query"]["query"] for each in _DASHBOARD["templating"]["list"] if each["type"] == "query")
    assert set(re.findall(r"label_values\((\w+)", variables)) <= known


def test_the_dashboard_shows_what_it_is_for() -> None:
    shown = set().union(*(names(expression) for _, expression in _panels()))
    wanted = {
        *(
            "demesh_check_verdict",
            "job_mesh_check:demesh_up:avg24h",
            "demesh_members",
            "probe_duration_seconds",
            "ALERTS",
        ),
        *("demesh_alert_posts_total", "demesh_log_entries", "demesh_entries_written_total", "demesh_refused_total"),
    }
    assert wanted <= shown


def test_promtool_can_read_every_expression(tmp_path: Path) -> None:
    every = [{"record": f"panel_{n}", "expr": _filled(expression)} for n, (_, expression) in enumerate(_panels())]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": every}]}))
    command = [require("promtool"), "check", "rules", str(tmp_path / "panels.yml")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_no_panel_covers_another_and_none_has_anothers_number() -> None:
    panels = _DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells)
        taken |= cells


def test_karma_misses_the_watchdog_that_a_node_sends() -> None:
    (labels,) = posted()["DemeshWatchdog"]
    (server,) = _KARMA["alertmanager"]["servers"]
    for node, filters in server["healthcheck"]["filters"].items():
        sent = {f"{name}={value}" for name, value in {**labels, "node": node}.items()}
        assert set(filters) <= sent
        assert {name.partition("=")[0] for name in filters} == {"alertname", "node"}


def test_karma_sorts_by_every_severity_and_names_labels_and_annotations_that_there_are() -> None:
    alerts = [each for found in posted().values() for each in found]
    severities = _KARMA["grid"]["sorting"]["customValues"]["labels"]["severity"]
    assert sorted(severities, key=severities.__getitem__) == ["critical", "warning", "info", "none"]
    known = set().union(*(each.keys() for each in alerts))
    stripped, colours = _KARMA["silenceForm"]["strip"]["labels"], _KARMA["labels"]["color"]
    assert {*_KARMA["labels"]["order"], *stripped, *colours["unique"], *colours["custom"]} <= known
    told = annotations()
    assert {*_KARMA["annotations"]["order"], *_KARMA["annotations"]["actions"]} == told


@pytest.mark.slow
@pytest.mark.e2e
def test_every_panel_shows_what_a_real_node_tells(tmp_path: Path) -> None:
    with WebServer() as web:
        node = NodeProcess(
            tmp_path / "node", "nas", f'[[check]]\nname = "web"\ntarget = "{web.url}"\ninterval = "1s"\n'
        )
        with node:
            node.start()
            node.wait_ready()
            text = (ROOT / "deploy/prometheus/prometheus.yml").read_text()
            config: dict[str, Any] = yaml.safe_load(text)
            config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
            del config["alerting"]
            (job,) = config["scrape_configs"]
            job["http_sd_configs"] = [{"url": f"http://{node.api}/sd/nodes", "refresh_interval": "1s"}]
            del job["authorization"]  # from loopback none is needed
            shutil.copy(RULES, tmp_path)
            (tmp_path / RULES.name).write_text(RULES.read_text().replace("interval: 1m", "interval: 1s"))
            with Prometheus(tmp_path, node.api, written=yaml.safe_dump(config)).running() as prometheus:
                mesh = node.status()["mesh"]
                for title, expression in _panels():
                    found = eventually(
                        lambda expression=expression: prometheus.query(_filled(expression, mesh)),
                        lambda found, title=title: bool(found) or title in _EMPTY_WHILE_ALL_IS_WELL,
                        40,
                        f"{title}: {expression}",
                    )
                    assert title == "Down" or found is not None
                (down,) = prometheus.query(_filled(dict(_panels())["Down"], mesh))
                assert down["value"][1] == "0"
                web.status = 503
                eventually(
                    lambda: prometheus.query(_filled(dict(_panels())["Down"], mesh)),
                    lambda found: found[0]["value"][1] == "1",
                    60,
                    "the panel tells what is down",
                )
