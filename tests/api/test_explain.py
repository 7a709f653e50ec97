"""`GET /api/v1/explain`."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.api.asking import Answer, ask
from tests.api.schema import faults

pytestmark = pytest.mark.trio
_WINDOW = {"since": "2023-11-14T22:18:00Z", "until": "2023-11-14T22:27:00Z"}


async def _explain(**query: str) -> Answer:
    return await ask("/api/v1/explain", query=urlencode({**_WINDOW, **query}))


@pytest.mark.parametrize("name", ["web", "a"])
async def test_an_explanation_is_of_the_shape_that_openapi_json_describes(name: str) -> None:
    document: Any = (await ask("/openapi.json")).json
    schema = document["paths"]["/api/v1/explain"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    answer = await _explain(name=name)
    assert answer.status == 200
    assert answer.json["steps"]
    assert faults(answer.json, schema, document) == []


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"name": "wbe"}, "did you mean 'web'?"),
        ({"name": "web", "kind": "node"}, "No node is called 'web'"),
        ({"name": "web", "kind": "host"}, "kind: 'host' is none"),
        ({"name": "web", "since": "noon"}, "'noon' is neither a duration"),
        ({"name": "web", "until": "2023-11-14T22:00:00Z"}, "the time begins after it ends"),
    ],
)
async def test_what_cannot_be_explained_is_refused_in_a_sentence(query: dict[str, str], says: str) -> None:
    answer = await _explain(**query)
    assert answer.status == 404
    assert says in answer.json["error"]


async def test_without_a_time_it_is_the_last_day() -> None:
    answer = await ask("/api/v1/explain", query="name=web")
    since, until = (datetime.fromisoformat(answer.json[end]) for end in ("since", "until"))
    assert until - since == timedelta(days=1)
