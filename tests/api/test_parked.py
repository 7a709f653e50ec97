"""`/api/v1/servers/parked` and `/api/v1/servers/retry`: what never answered, and trying it once more."""

import json
from dataclasses import replace
from typing import Any

import pytest

from demesh.errors import UsageError
from tests.api.asking import Answer, Node, ask
from tests.api.schema import faults
from tests.view.build import TIMEOUT, deliver, result, row, three_vantages

pytestmark = pytest.mark.trio


def _node() -> Node:
    node = Node()
    now_ms = node.clock.monotonic_ms()
    listed = row("binding", type="stun", target="stun://stun.example.net", keys=(("listed", "true"),))
    a, *_ = three_vantages(node.view, listed, row("web"), at_ms=now_ms)
    deliver(node.view, a, a.results(now_ms, *3 * [result(TIMEOUT, now_ms, detail="no answer")]), now_ms)
    deliver(node.view, a, a.plan(now_ms, replace(listed, runs=False, parked=True), row("web")), now_ms)
    return node


async def _retry(node: Node, wish: dict[str, list[str]]) -> Answer:
    headers = [("content-type", "application/json")]
    return await ask(
        "/api/v1/servers/retry",
        node=node,
        method="POST",
        client=None,
        headers=headers,
        chunks=[json.dumps(wish).encode(), b""],
    )


async def test_what_is_parked_is_told_with_who_tried_it_and_what_came_of_it() -> None:
    document: Any = (await ask("/openapi.json")).json
    path = document["paths"]["/api/v1/servers/parked"]["get"]
    answer = await ask("/api/v1/servers/parked", node=_node())
    assert faults(answer.json, path["responses"]["200"]["content"]["application/json"]["schema"], document) == []
    (told,) = answer.json
    (resting,) = told.pop("nodes")
    assert told == {"name": "binding", "type": "stun", "target": "stun://stun.example.net"}
    assert (resting["node"], resting["tries"], resting["outcome"], resting["detail"]) == (
        "a",
        3,
        "timeout",
        "no answer",
    )
    assert resting["tried_at"]


async def test_one_may_have_them_tried_once_more() -> None:
    node = _node()
    told = await _retry(node, {"names": ["binding"]})
    assert (told.status, told.json, node.retried) == (200, {"names": ["binding"]}, [["binding"]])
    assert (await _retry(node, {})).json == {"names": ["binding"]}
    node.error = UsageError("No check that is parked here has the name 'x'.")
    refused = await _retry(node, {"names": ["x"]})
    assert (refused.status, refused.json["error"]) == (422, str(node.error))
