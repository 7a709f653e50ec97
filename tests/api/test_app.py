"""The API's routes, asked as an ASGI server asks them; and who is not answered."""

import json
from dataclasses import dataclass
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from demesh.api.app import make_app

_STATUS = {"mesh": "0a1b2c3d", "checks": [], "nodes": [], "incidents": []}
_HEADS = [{"log": "ab", "seq": 1}]


class _Node:
    def status(self) -> dict[str, Any]:
        return _STATUS

    def heads(self) -> list[dict[str, Any]]:
        return _HEADS


@dataclass
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes


async def _ask(path: str, host: str | None = "127.0.0.1:8470", method: str = "GET") -> _Answer:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [] if host is None else [(b"host", host.encode())]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path}
    rest = {"raw_path": path.encode(), "query_string": b"", "headers": headers, "scheme": "http", "root_path": ""}
    await make_app(cast(Any, _Node()))({**scope, **rest}, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    found = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return _Answer(sent[0]["status"], found, body)


def _refused() -> float:
    return REGISTRY.get_sample_value("demesh_refused_total", {"room": "api", "reason": "host"}) or 0


@pytest.mark.trio
async def test_a_sane_process_says_so() -> None:
    answer = await _ask("/healthz")
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})


@pytest.mark.trio
async def test_metrics_are_prometheus_text_about_demesh() -> None:
    answer = await _ask("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert b"\ndemesh_peers " in answer.body
    assert b"# TYPE demesh_refused_total counter" in answer.body


@pytest.mark.trio
@pytest.mark.parametrize(("path", "document"), [("/api/v1/status", _STATUS), ("/api/v1/log/heads", _HEADS)])
async def test_what_the_node_knows_is_served_as_json(path: str, document: Any) -> None:
    answer = await _ask(path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body) == document


@pytest.mark.trio
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_can_be_changed(method: str) -> None:
    for path in ("/healthz", "/api/v1/status", "/api/v1/log/heads"):
        assert (await _ask(path, method=method)).status == 405


@pytest.mark.trio
@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:8470",
        "127.0.0.1",
        "127.0.0.1:8470",
        "127.0.0.2:8470",
        "[::1]",
        "[::1]:8470",
        "[0:0:0:0:0:0:0:1]:8470",
        None,
    ],
)
async def test_this_machine_is_answered(host: str | None) -> None:
    before = _refused()
    assert (await _ask("/healthz", host)).status == 200
    assert _refused() == before


@pytest.mark.trio
@pytest.mark.parametrize(
    "host",
    [
        "",
        "attacker.example",
        "attacker.example:8470",
        "localhost.attacker.example",
        "127.0.0.1.attacker.example:8470",
        "192.0.2.7:8470",
        "0.0.0.0:8470",
        "[2001:db8::1]:8470",
        "::1",
        "localhost:http",
        "[::1",
    ],
)
async def test_a_name_that_is_not_this_machines_is_refused_and_counted(host: str) -> None:
    before = _refused()
    answer = await _ask("/api/v1/status", host)
    assert answer.status == 421
    assert b"mesh" not in answer.body
    assert _refused() == before + 1


@pytest.mark.trio
async def test_the_routes_are_described_and_no_page_is_loaded_from_elsewhere() -> None:
    described = json.loads((await _ask("/openapi.json")).body)
    assert set(described["paths"]) >= {"/healthz", "/metrics", "/api/v1/status", "/api/v1/log/heads"}
    for path in ("/docs", "/redoc"):
        assert (await _ask(path)).status == 404
