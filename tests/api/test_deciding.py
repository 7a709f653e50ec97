"""The routes about alerts: who may use them, what they take, what they answer."""

import json
from typing import Any

import pytest

from demesh import limits
from tests.api.asking import Answer, Node, ask
from tests.api.schema import faults
from tests.log.builders import counted

pytestmark = pytest.mark.trio
_UNIX: Any = None
_ALERT = {
    "status": "firing",
    "labels": {"alertname": "DiskFull", "host": "nas"},
    "annotations": {},
    "startsAt": "2026-01-01T00:00:00.123456789Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "",
    "fingerprint": "0123456789abcdef",
}
_WATCHDOG = {"alertname": "DemeshWatchdog", "mesh": "0a1b2c3d", "node": "a", "severity": "none"}


async def _post(path: str, document: Any, node: Node, **rest: Any) -> Answer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    headers = [("content-type", "application/json")]
    return await ask(path, method="POST", client=_UNIX, node=node, chunks=[body, b""], headers=headers, **rest)


def _hook(*alerts: Any, **changed: Any) -> dict[str, Any]:
    return {
        "version": "4",
        "receiver": "demesh",
        "status": "firing",
        "groupKey": "{}",
        "alerts": list(alerts),
        **changed,
    }


async def test_every_answer_is_of_the_shape_that_openapi_json_describes() -> None:
    node = Node()
    document = (await ask("/openapi.json")).json
    await _post("/api/v1/silences", {"matchers": ["check=web"], "duration_ms": 1_000, "by": "ann"}, node)
    await _post("/api/v1/maintenance", {"matchers": ["node=a"], "duration_ms": 1_000}, node)
    await _post("/api/v1/acknowledgements", {"incident": "web"}, node)
    await _post("/hook/alertmanager", _hook(_ALERT, {**_ALERT, "fingerprint": "1", "labels": _WATCHDOG}), node)
    for path in ("incidents", "silences", "maintenance", "acknowledgements"):
        answer = await ask(f"/api/v1/{path}", node=node)
        schema = document["paths"][f"/api/v1/{path}"]["get"]["responses"]["200"]["content"]["application/json"][
            "schema"
        ]
        assert all(answer.json.values() if path == "incidents" else answer.json), path
        assert faults(answer.json, schema, document) == []


async def test_what_is_decided_is_in_the_log_and_can_be_ended() -> None:
    node = Node()
    wish = {"matchers": ['check="web"', "severity!=info"], "duration_ms": 60_000, "comment": "deploy", "by": "ann"}
    assert (await _post("/api/v1/silences", wish, node)).json == {"status": "silenced"}
    (silence,) = (await ask("/api/v1/silences", node=node)).json
    assert (silence["matchers"], silence["by"], silence["comment"]) == (
        ["check=web", "severity!=info"],
        "ann",
        "deploy",
    )
    answer = await ask("/api/v1/silences/end", method="POST", client=_UNIX, node=node, query=f"id={silence['id']}")
    assert answer.json == {"status": "ended"}
    assert (await ask("/api/v1/silences", node=node)).json == []
    assert (await _post("/api/v1/acknowledgements", {"incident": "web"}, node)).json == {
        "incidents": ["DemeshCheckDown web"]
    }
    answer = await ask("/api/v1/acknowledgements/end", method="POST", client=_UNIX, node=node, query="incident=web")
    assert answer.json == {"incidents": ["DemeshCheckDown web"]}
    assert (await ask("/api/v1/acknowledgements", node=node)).json == []


@pytest.mark.parametrize(
    ("path", "wish", "says"),
    [
        ("silences", {"matchers": ["web"], "duration_ms": 1}, "is no matcher"),
        ("silences", {"matchers": ["check=~("], "duration_ms": 1}, "not a regular expression"),
        ("silences", {"matchers": [], "duration_ms": 1}, "not of the shape"),
        ("silences", {"matchers": ["a!=b"], "duration_ms": 1}, "silence everything"),
        ("silences", {"matchers": ["a=b"], "duration_ms": limits.DECISION_MS_MAX + 1}, "not of the shape"),
        ("silences", {"matchers": ["a=b"], "duration_ms": 1, "comment": "x" * 600}, "A comment has at most"),
        ("silences", {"matchers": ["a=b"], "duration_ms": 1, "ends": 5}, "not of the shape"),
        ("maintenance", {"duration_ms": 0}, "not of the shape"),
        ("acknowledgements", {"incident": "api"}, "There is no open incident 'api'"),
    ],
)
async def test_what_cannot_be_is_refused_in_a_sentence(path: str, wish: dict[str, Any], says: str) -> None:
    answer = await _post(f"/api/v1/{path}", wish, Node())
    assert answer.status == 422
    assert says in answer.json["error"]


async def test_ending_what_is_not_there_is_refused() -> None:
    for path, query in (("silences", "id=ab-1"), ("maintenance", "id=ab-1"), ("acknowledgements", "incident=web")):
        answer = await ask(f"/api/v1/{path}/end", method="POST", client=_UNIX, query=query)
        assert (answer.status, list(answer.json)) == (422, ["error"])


@pytest.mark.parametrize(
    "path",
    [
        *(f"/api/v1/{what}{end}" for what in ("silences", "maintenance", "acknowledgements") for end in ("", "/end")),
        "/hook/alertmanager",
    ],
)
async def test_who_may_only_read_decides_nothing(path: str) -> None:
    assert (await ask(path, method="POST", query="id=a&incident=a")).status == 401


async def test_a_webhook_tells_the_mesh_what_is_new() -> None:
    node = Node()
    watchdog = {**_ALERT, "labels": _WATCHDOG}
    first = await _post("/hook/alertmanager", _hook(_ALERT, watchdog, later={"a": 1}), node)
    assert (first.status, first.json) == (200, {"status": "taken", "told": 2})
    again = await _post("/hook/alertmanager", _hook(_ALERT, watchdog), node)
    assert again.json == {"status": "taken", "told": 0}
    told = (await ask("/api/v1/incidents", node=node)).json
    assert [each["labels"]["alertname"] for each in told["from_alertmanager"]] == ["DiskFull"]
    assert [(each["node"], each["works"]) for each in told["alert_paths"]] == [("a", True)]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[" * 10_000,
        b"\xff",
        [],
        {},
        _hook(version="3"),
        _hook(version=4),
        _hook(alerts={}),
        _hook(alerts=None),
    ],
)
async def test_what_is_no_webhook_is_refused_in_a_sentence_and_counted(document: Any) -> None:
    before = counted("demesh_refused_total", room="hook", reason="shape")
    answer = await _post("/hook/alertmanager", document, Node())
    assert answer.status == 422
    assert answer.json["error"].endswith(".")
    assert counted("demesh_refused_total", room="hook", reason="shape") == before + 1


async def test_an_alert_that_cannot_be_read_is_left_out_and_counted() -> None:
    bad = [
        5,
        {},
        {**_ALERT, "fingerprint": ""},
        {**_ALERT, "fingerprint": "f" * 65},
        {**_ALERT, "status": "suppressed"},
        {**_ALERT, "startsAt": "yesterday"},
        {**_ALERT, "startsAt": "2026-01-01T00:00:00"},
        {**_ALERT, "labels": {"a": 5}},
        {**_ALERT, "labels": []},
    ]
    before = counted("demesh_refused_total", room="hook", reason="alert")
    answer = await _post("/hook/alertmanager", _hook(*bad, _ALERT), Node())
    assert answer.json == {"status": "taken", "told": 1}
    assert counted("demesh_refused_total", room="hook", reason="alert") == before + len(bad)


async def test_a_webhook_that_is_too_long_is_refused() -> None:
    answer = await _post("/hook/alertmanager", b" " * (limits.API_BODY_BYTES_MAX + 1), Node())
    assert answer.status == 413
