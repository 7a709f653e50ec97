"""`POST /api/v1/ask` and `GET /api/v1/checks`: what a node says of its checks, and answers that come line by line."""

import json
from typing import Any

import pytest
import trio

from demesh.errors import UsageError
from tests.api.asking import Node, ask
from tests.api.schema import faults

pytestmark = pytest.mark.trio
_UNIX: Any = None


def _body(**document: Any) -> list[bytes]:
    return [json.dumps(document).encode(), b""]


async def _asked(node: Node, **document: Any):
    headers = [("content-type", "application/json")]
    return await ask("/api/v1/ask", method="POST", client=_UNIX, headers=headers, chunks=_body(**document), node=node)


async def test_the_checks_of_a_node_are_told_with_where_they_come_from() -> None:
    answer = await ask("/api/v1/checks")
    document = (await ask("/openapi.json")).json
    schema = document["paths"]["/api/v1/checks"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert faults(answer.json, schema, document) == []
    assert [each["from"] for each in answer.json] == ["fra"]


async def test_answers_come_line_by_line() -> None:
    node = Node()
    answer = await _asked(node, **{"check": "web", "from": ["tag:eu"]})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert "content-length" not in answer.headers
    assert [json.loads(line) for line in answer.body.splitlines()] == [
        {"asked": ["a", "b"], "check": "web", "target": "https://web.example.net/", "type": "http"},
        {"node": "a", "own": True, "answered": True},
    ]
    await _asked(node, table={"target": "https://a.example"})
    assert node.asked == [("web", {}, ["tag:eu"]), (None, {"target": "https://a.example"}, ["*"])]


async def test_nobody_is_asked_any_more_when_the_client_has_gone() -> None:
    node = Node(never_ends=True)
    with trio.fail_after(10):
        await ask(
            "/api/v1/ask",
            method="POST",
            client=_UNIX,
            headers=[("content-type", "application/json")],
            chunks=_body(check="web"),
            node=node,
            leaves=True,
        )
    assert node.given_up


@pytest.mark.parametrize("document", [{"from": []}, {"from": "x" * 2_000}, {"check": 7}, {"url": "x"}, {"table": []}])
async def test_a_question_out_of_shape_is_refused(document: dict[str, Any]) -> None:
    node = Node()
    answer = await _asked(node, **document)
    assert answer.status == 422
    assert "not of the shape" in answer.json["error"]
    assert node.asked == []


async def test_what_the_node_cannot_try_is_told_before_anybody_is_asked() -> None:
    answer = await _asked(Node(error=UsageError("This node has no check named 'blog'.")), check="blog")
    assert (answer.status, answer.json["error"]) == (422, "This node has no check named 'blog'.")


async def test_only_who_may_change_things_makes_nodes_ask() -> None:
    answer = await ask("/api/v1/ask", method="POST", chunks=_body(check="web"), node=Node())
    assert answer.status == 401
