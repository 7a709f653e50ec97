"""A real node's API: Prometheus scrapes it, a client library reads it, and it is what /openapi.json says."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.schema import faults
from tests.e2e.harness import NodeProcess, Prometheus, WebServer, eventually, get_json, require

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

_READY_SECONDS_MAX = 15  # a bound against accidents; docs/operations.md has figures
_RESIDENT_BYTES_MAX = 150_000_000
_CONFIG = """
[defaults]
interval = "1s"
timeout = "1s"
retry_interval = "1s"
[[check]]
name = "web"
target = "{target}/health?token=sesame"
[[check]]
name = "gone"
target = "http://me:sesame@127.0.0.1:9/"
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """One that sees `web` up and `gone` down."""
    with WebServer() as web:
        node = NodeProcess(tmp_path_factory.mktemp("node"), "nas", _CONFIG.format(target=web.url))
        with node:
            started = time.monotonic()
            node.start("-vv", "--log-format", "json")
            node.wait_ready()
            assert time.monotonic() - started < _READY_SECONDS_MAX
            eventually(node.status, lambda said: _states(said) == {"web": "up", "gone": "down"}, 20, "verdicts")
            yield node


def test_promtool_finds_nothing_to_blame_in_what_it_tells_prometheus(node: NodeProcess) -> None:
    text = _text(f"http://{node.api}/metrics")
    assert 'probe_success{instance="' in text
    ran = subprocess.run(
        [require("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def _states(status: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["state"] for check in status["checks"]}


def _text(url: str, method: str = "GET", **headers: str) -> str:
    request = urllib.request.Request(url, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode()


def _status_of(url: str, method: str = "GET", **headers: str) -> int:
    try:
        _text(url, method, **headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    return 200


_ASKED = {"name": "web"}
"""What the routes that want to be asked something are asked."""


def test_every_answer_of_a_real_node_is_of_the_described_shape(node: NodeProcess) -> None:
    document = get_json(f"http://{node.api}/openapi.json")
    described = 0
    for path, methods in document["paths"].items():
        content = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        if "application/json" in content and "{" not in path:
            required = [each["name"] for each in methods["get"].get("parameters", []) if each["required"]]
            query = urlencode({name: _ASKED[name] for name in required})
            answer = get_json(f"http://{node.api}{path}?{query}")
            assert faults(answer, content["application/json"]["schema"], document) == [], path
            described += 1
    assert described >= 3


def test_prometheus_scrapes_it_and_rules_for_blackbox_exporter_hold(node: NodeProcess, tmp_path: Path) -> None:
    with Prometheus(tmp_path, node.api).running() as prometheus:

        def query(expression: str) -> list[dict[str, Any]]:
            return prometheus.query(expression)

        down = eventually(
            lambda: query("probe_success == 0"), lambda found: len(found) == 1, 20, "the target that is down"
        )
        assert down[0]["metric"]["instance"] == "http://127.0.0.1:9/"
        assert query('probe_http_status_code{check="web"}')[0]["value"][1] == "200"
        phases = query('sum by (instance) (probe_http_duration_seconds{check="web"}) > 0')
        assert len(phases) == 1
        assert query('demesh_check_verdict{verdict="down"} == 1')[0]["metric"]["check"] == "gone"
        assert query("process_resident_memory_bytes > 0")
        assert query("demesh_loop_lateness_seconds_count > 0")
        assert [target["lastError"] for target in prometheus.targets()] == [""]


def test_prometheus_comes_in_from_elsewhere_with_a_token_only(tmp_path: Path) -> None:
    """What a proxy passes on comes from elsewhere; see tests/api/test_guard.py for addresses."""
    node = NodeProcess(tmp_path / "node", "nas")
    token = tmp_path / "token"
    with node:
        node.start()
        node.wait_ready()
        token.write_text(node.run_command("token", "new", "--read").stdout)
        url = f"http://{node.api}/metrics"
        elsewhere = {"X-Forwarded-For": "192.0.2.1"}
        assert _status_of(url, **elsewhere) == 401
        assert _status_of(url, **elsewhere, Authorization=f"Bearer {token.read_text().strip()}") == 200
        assert _status_of(url, Host="attacker.example") == 421
        assert _status_of(f"http://{node.api}/api/v1/reload", "POST") == 401
        with Prometheus(tmp_path, node.api, token).running() as prometheus:
            eventually(lambda: prometheus.query("demesh_info"), bool, 20, "a scrape with the token")
        assert node.run_command("token", "revoke", "token-1").returncode == 0
        assert _status_of(url, Authorization=f"Bearer {token.read_text().strip()}") == 401


def test_the_text_is_what_a_client_library_reads(node: NodeProcess) -> None:
    families = {family.name for family in text_string_to_metric_families(_text(f"http://{node.api}/metrics"))}
    assert {"probe_success", "demesh_members", "demesh_store_bytes", "process_cpu_seconds"} <= families


def test_head_is_answered_without_a_body(node: NodeProcess) -> None:
    assert _text(f"http://{node.api}/api/v1/status", "HEAD") == ""


def test_an_idle_node_is_small(node: NodeProcess) -> None:
    families = text_string_to_metric_families(_text(f"http://{node.api}/metrics"))
    resident = next(each.samples[0].value for each in families if each.name == "process_resident_memory_bytes")
    assert resident < _RESIDENT_BYTES_MAX


def test_no_secret_is_told_by_any_route_or_log_line(node: NodeProcess) -> None:
    for path in ("/metrics", "/api/v1/status", "/api/v1/log/heads", "/openapi.json"):
        assert "sesame" not in _text(f"http://{node.api}{path}")
    said = node.output()
    assert "sesame" not in said
    assert any(json.loads(line)["logger"] for line in said.splitlines() if line.startswith("{"))


def test_a_remote_node_is_asked_with_a_token(node: NodeProcess) -> None:
    token = node.run_command("token", "new", "--read", "--name", "remote").stdout.strip()
    url = f"http://{node.api}"
    for arguments in (("--token", token), ()):
        asked = node.run_command("status", "--node", url, *arguments)
        assert asked.returncode == 2, "a check is down"
        assert "web" in asked.stdout
    wrong = node.run_command("status", "--node", url, "--token", "demesh_wrong")
    assert wrong.returncode == 2
    assert "does not know who asks" in wrong.stderr
