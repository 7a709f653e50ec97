"""deploy/prometheus is what real Prometheus programs load, and each of its rules does what it is for."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from demesh.identity import new_swarm_key, write_secret
from tests.deploy.documents import ROOT, RULES, anchors, prometheus_alerts, rows, rules
from tests.e2e.harness import NodeProcess, Prometheus, WebServer, eventually, require

_CONFIG = ROOT / "deploy/prometheus/prometheus.yml"
_TESTS = Path(__file__).with_name("demesh.rules.test.yml")


def _promtool(*arguments: str, directory: Path) -> None:
    ran = subprocess.run(
        [require("promtool"), *arguments], cwd=directory, capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_promtool_takes_the_configuration_and_its_rules(tmp_path: Path) -> None:
    for file in (_CONFIG, RULES):
        shutil.copy(file, tmp_path)
    (tmp_path / "demesh.token").touch()
    _promtool("check", "rules", RULES.name, directory=tmp_path)
    _promtool("check", "config", _CONFIG.name, directory=tmp_path)


def test_every_rule_does_what_it_is_for_and_nothing_near_to_it(tmp_path: Path) -> None:
    for file in (_TESTS, RULES):
        shutil.copy(file, tmp_path)
    _promtool("test", "rules", _TESTS.name, directory=tmp_path)


def test_who_took_leave_is_no_target_and_an_instance_is_what_stays() -> None:
    (job,) = yaml.safe_load(_CONFIG.read_text())["scrape_configs"]
    told = [{"action": "replace", "regex": "(.*)", **each} for each in job["relabel_configs"]]
    (dropped,) = [each for each in told if each["action"] == "drop"]
    assert (dropped["source_labels"], dropped["regex"]) == (["__meta_demesh_presence"], "away")
    made = {each["target_label"]: each["source_labels"] for each in told if each["action"] == "replace"}
    assert made == {
        name: [f"__meta_demesh_{meta}"] for name, meta in (("node", "name"), ("mesh", "mesh"), ("instance", "peer_id"))
    }
    interval = yaml.safe_load(_CONFIG.read_text())["global"]["scrape_interval"]
    assert {each["refresh_interval"] for each in job["http_sd_configs"]} == {interval}


def test_no_rule_is_without_a_test() -> None:
    tried = _TESTS.read_text()
    for rule in rules():
        name = rule.get("alert") or rule["record"]
        assert re.search(rf'"?{name}\b', tried), name


def test_every_alert_says_how_bad_it_is_what_it_is_and_where_to_read_on() -> None:
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("critical", "warning", "info")
            assert rule["annotations"].keys() == {"summary", "description", "runbook"}
            file, _, anchor = rule["annotations"]["runbook"].partition("#")
            assert anchor in anchors(file), rule["alert"]


def test_the_docs_say_of_every_alert_what_to_do() -> None:
    told = {name: cells[0] for name, cells in rows("docs/monitoring.md", "## Alerts of Prometheus").items()}
    assert told == prometheus_alerts()


@pytest.mark.slow
@pytest.mark.e2e
def test_prometheus_finds_all_nodes_by_asking_one_and_is_let_in_by_one_token(tmp_path: Path) -> None:
    """With the very file, but for names and times; two nodes find different things of one target, and neither is lost."""
    swarm_key, token = tmp_path / "swarm.key", tmp_path / "demesh.token"
    write_secret(swarm_key, new_swarm_key().text())
    with WebServer() as web:
        config = f'[node]\nflush_interval = "1s"\n[[check]]\nname = "web"\ntarget = "{web.url}"\ninterval = "1s"\n'
        a, b = (NodeProcess(tmp_path / name, name, config, swarm_key) for name in ("a", "b"))
        port = a.api.partition(":")[2]
        b.api = f"127.0.0.2:{port}"  # one port for all, on addresses of their own
        b.swarm = b.swarm.replace("127.0.0.1", "127.0.0.2")
        with a, b:
            token.write_text(a.run_command("token", "new", "--read", "--name", "prometheus").stdout)
            b.run_command("token", "new", "--read", "--name", "prometheus", "--file", str(token))
            b.start()
            a.start("--peer", b.swarm)  # so a knows where b is, as neither tells of loopback
            for node in (a, b):
                node.wait_ready()
            seen = eventually(lambda: _discovered(a), lambda found: len(found) == 2, 60, "a tells of both")
            assert seen == {"a": a.api, "b": b.api}
            prometheus = Prometheus(tmp_path, a.api, token, written=_fitted(a.api, b.api, tmp_path))
            (tmp_path / RULES.name).write_text(RULES.read_text().replace("interval: 1m", "interval: 1s"))
            with prometheus.running():
                eventually(
                    lambda: [(each["scrapeUrl"], each["lastError"], each["health"]) for each in prometheus.targets()],
                    lambda told: [health for *_, health in told] == ["up", "up"],
                    30,
                    "both are scraped",
                )
                found = eventually(
                    lambda: prometheus.query('probe_success{check="web"}'), lambda found: len(found) == 2, 30, "both"
                )
                assert {each["metric"]["node"] for each in found} == {"a", "b"}
                assert len({each["metric"]["instance"] for each in found}) == 1, "the target"
                assert {each["metric"]["mesh"] for each in prometheus.query("up")} == {a.status()["mesh"]}
                peer_ids = {each["peer_id"] for each in json.loads(a.run_command("members", "--json").stdout)}
                assert {each["metric"]["instance"] for each in prometheus.query("up")} == peer_ids, "what stays"
                eventually(
                    lambda: prometheus.query("job_mesh_check:demesh_up:ratio"),
                    lambda found: len(found) == 1,
                    30,
                    "uptime",
                )


def _discovered(node: NodeProcess) -> dict[str, str]:
    return {each["labels"]["__meta_demesh_name"]: each["targets"][0] for each in json.loads(node.read("/sd/nodes"))}


def _fitted(first: str, second: str, directory: Path) -> str:
    config: dict[str, Any] = yaml.safe_load(_CONFIG.read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    del config["alerting"]
    (job,) = config["scrape_configs"]
    for sd, api in zip(job["http_sd_configs"], (first, second), strict=True):
        sd |= {"url": f"http://{api}/sd/nodes", "refresh_interval": "1s"}
    return yaml.safe_dump(config)
