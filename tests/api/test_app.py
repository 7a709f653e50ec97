"""The API's routes, asked as an ASGI server asks them."""

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from demesh import limits
from demesh.errors import ConfigError, UsageError
from tests.api.asking import Node, ask, check, run, whole
from tests.api.schema import faults, local_fields

pytestmark = pytest.mark.trio
_UNIX: Any = None


async def _described() -> dict[str, Any]:
    return (await ask("/openapi.json")).json


def _schema(document: dict[str, Any], path: str, method: str = "get", status: int = 200) -> dict[str, Any]:
    return document["paths"][path][method]["responses"][str(status)]["content"]["application/json"]["schema"]


async def test_a_sane_process_says_so() -> None:
    answer = await ask("/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_a_process_whose_loops_hang_says_so_to_what_would_restart_it() -> None:
    answer = await ask("/healthz", node=Node(hung=["the scheduler of checks"]))
    assert (answer.status, answer.json) == (503, {"error": "This node hangs, restart it: the scheduler of checks."})


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/status", "/api/v1/members", "/api/v1/log/heads"])
async def test_every_answer_is_of_the_shape_that_openapi_json_describes(path: str) -> None:
    document = await _described()
    answer = await ask(path)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json
    assert faults(answer.json, _schema(document, path), document) == []


async def test_the_docs_name_every_field_of_a_status_that_is_the_nodes_own() -> None:
    text = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    table = text.partition("### The same on every node")[2].partition("\n\nTwo things")[0].partition("|---|---|")[2]
    cells = [line.split("|")[1] for line in table.strip().splitlines()]
    assert sorted(re.findall(r"`([^`]+)`", " ".join(cells))) == sorted(local_fields())


async def test_what_the_node_knows_is_served_as_it_is() -> None:
    node = Node()
    assert (await ask("/api/v1/status", node=node)).json == node.status()
    assert (await ask("/api/v1/log/heads", node=node)).json == node.heads()


async def test_every_route_is_described_with_what_it_may_refuse() -> None:
    document = await _described()
    assert set(document["paths"]) == {
        "/healthz",
        "/metrics",
        "/api/v1/status",
        "/api/v1/checks",
        "/api/v1/ask",
        "/api/v1/alerts/test",
        "/api/v1/members",
        "/api/v1/members/forget",
        "/api/v1/leave",
        "/api/v1/explain",
        "/api/v1/log/heads",
        "/api/v1/reload",
        "/api/v1/node",
        "/api/v1/swarm-key",
        "/api/v1/swarm-key/rotate",
        "/api/v1/swarm-key/finish",
        "/api/v1/incidents",
        "/api/v1/silences",
        "/api/v1/silences/end",
        "/api/v1/maintenance",
        "/api/v1/maintenance/end",
        "/api/v1/acknowledgements",
        "/api/v1/acknowledgements/end",
        "/hook/alertmanager",
        "/sd/nodes",
        "/servers",
        "/badge/{name}.svg",
        "/api/v1/servers",
        "/api/v1/servers/parked",
        "/api/v1/servers/retry",
    }
    refusal = {"$ref": "#/components/schemas/Problem"}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["security"] == [{"HTTPBearer": []}]
            assert operation["description"]
            assert [_schema(document, path, method, status) for status in (401, 403, 421)] == [refusal] * 3


async def test_no_page_is_loaded_from_elsewhere() -> None:
    for path in ("/docs", "/redoc"):
        assert (await ask(path)).status == 404


async def test_head_answers_as_get_would() -> None:
    """The body is held back by the server; see test_server."""
    got, head = await ask("/api/v1/status"), await ask("/api/v1/status", method="HEAD")
    assert (head.status, head.headers) == (got.status, got.headers)


@pytest.mark.parametrize(
    ("path", "method", "status", "says"),
    [
        ("/nothing", "GET", 404, "nothing at this path"),
        ("/api/v1/status", "POST", 405, "POST is not what this path is for"),
        ("/api/v1/status", "DELETE", 405, "DELETE"),
        ("/api/v1/reload", "GET", 405, "GET"),
    ],
)
async def test_what_cannot_be_answered_is_refused_in_a_json_sentence(
    path: str, method: str, status: int, says: str
) -> None:
    answer = await ask(path, method=method)
    assert answer.status == status
    assert list(answer.json) == ["error"]
    assert says in answer.json["error"]


async def test_reload_takes_up_the_configuration() -> None:
    node = Node()
    answer = await ask("/api/v1/reload", method="POST", client=_UNIX, node=node)
    assert (answer.status, answer.json, node.reloads) == (200, {"status": "reloaded"}, 1)


async def test_a_bad_configuration_is_told_with_every_reason() -> None:
    node = Node()
    node.error = ConfigError(["demesh.toml:3: one.", "demesh.toml:7: two."])
    answer = await ask("/api/v1/reload", method="POST", client=_UNIX, node=node)
    assert answer.status == 422
    assert "demesh.toml:3: one." in answer.json["error"]
    assert "demesh.toml:7: two." in answer.json["error"]


async def test_a_body_is_bounded_in_bytes(autojump_clock: Any) -> None:
    large = [b"x" * 65_536] * (limits.API_BODY_BYTES_MAX // 65_536) + [b"x", b""]
    answer = await ask("/api/v1/reload", method="POST", client=_UNIX, chunks=large, node=Node())
    assert answer.status == 413
    fits = await ask("/api/v1/reload", method="POST", client=_UNIX, chunks=[*large[:-2], b""], node=Node())
    assert fits.status == 200


async def test_a_body_is_bounded_in_time(autojump_clock: Any) -> None:
    answer = await ask("/api/v1/reload", method="POST", client=_UNIX, chunks=[b"x"], node=Node())
    assert answer.status == 413
    assert "promptly" in answer.json["error"]


async def test_metrics_are_one_text_of_this_process_the_mesh_and_the_probes(autojump_clock: Any) -> None:
    node = Node()
    node.latest.note(check(), run(whole(), node.clock.up_ms()))
    answer = await ask("/metrics", node=node)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    assert {"demesh_refused", "demesh_peers", "demesh_check_verdict", "probe_success", "demesh_store_bytes"} <= set(
        families
    )
    assert families["probe_success"].samples[0].value == 1
    assert families["demesh_check_verdict"].samples[0].labels["verdict"] == "up"
    assert not [name for name in families if name.endswith("_created")]


async def test_a_member_is_forgotten_by_its_name_and_a_refusal_is_a_sentence() -> None:
    node = Node()
    forgot = await ask("/api/v1/members/forget", method="POST", query="member=old%20nas~ab", client=_UNIX, node=node)
    assert (forgot.status, node.forgotten) == (200, ["old nas~ab"])
    node.error = UsageError("vps is alive.")
    refused = await ask("/api/v1/members/forget", method="POST", query="member=vps", client=_UNIX, node=node)
    assert (refused.status, refused.json) == (409, {"error": "vps is alive."})


@pytest.mark.parametrize("path", ["/api/v1/members/forget", "/api/v1/leave", "/api/v1/alerts/test"])
async def test_who_may_not_write_neither_forgets_nor_makes_leave(path: str) -> None:
    node = Node()
    assert (await ask(path, method="POST", query="member=a", node=node)).status == 401
    assert (node.forgotten, node.leaves) == ([], 0)


async def test_a_node_that_is_asked_to_leaves() -> None:
    node = Node()
    assert (await ask("/api/v1/leave", method="POST", client=_UNIX, node=node)).status == 200
    assert node.leaves == 1
