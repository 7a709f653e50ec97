"""What a webhook gets is what Alertmanager would send, and no secret of it is shown."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from demesh.alerts.delivery import curl_fetch, delivery
from demesh.alerts.message import Message
from demesh.alerts.sink import Sink, shown_url
from demesh.alerts.template import Template
from demesh.alerts.webhook import fingerprint, payload
from demesh.errors import NetworkError
from tests.alerts.build import WALL_MS, incident
from tests.log.builders import MESH, OTHER_MESH
from tests.test_curl import running, serving

_SINK = Sink("https://hooks.example.net/services/sesame", "team.x")
_LABELS = (("alertname", "DemeshCheckDown"), ("check", "web"), ("empty", ""), ("mesh", "0a"), ("severity", "critical"))
_FIRING = Message(replace(incident(), labels=_LABELS), "firing", WALL_MS + 90_000, "nas", "0a")


def test_a_firing_alert_is_laid_out_as_alertmanagers_version_4() -> None:
    labels = {"alertname": "DemeshCheckDown", "check": "web", "mesh": "0a", "severity": "critical"}
    assert payload(_FIRING, _SINK) == {
        "version": "4",
        "groupKey": '{}:{alertname="DemeshCheckDown", check="web", mesh="0a"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "team\\.x",
        "groupLabels": {"alertname": "DemeshCheckDown", "check": "web", "mesh": "0a"},
        "commonLabels": labels,
        "commonAnnotations": {"summary": "web is down"},
        "externalURL": "",
        "alerts": [
            {
                "status": "firing",
                "labels": labels,
                "annotations": {"summary": "web is down"},
                "startsAt": "2023-11-14T22:13:20Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "",
                "fingerprint": fingerprint(labels),
            }
        ],
    }


def test_a_resolved_one_has_an_end_and_the_same_identity() -> None:
    firing, resolved = payload(_FIRING, _SINK), payload(replace(_FIRING, state="resolved"), _SINK)
    assert (resolved["status"], resolved["alerts"][0]["status"]) == ("resolved", "resolved")
    assert resolved["alerts"][0]["endsAt"] == "2023-11-14T22:14:50Z"
    assert resolved["groupKey"] == firing["groupKey"]
    assert resolved["alerts"][0]["fingerprint"] == firing["alerts"][0]["fingerprint"]


def test_fingerprints_are_those_of_prometheus() -> None:
    """The values of the tests of prometheus/common, model/signature_test.go."""
    assert fingerprint({}) == f"{14695981039346656037:016x}"
    labels = {"name": "garland, briggs", "fear": "love is not enough"}
    assert fingerprint(labels) == f"{5799056148416392346:016x}"


def test_own_texts_take_the_place_of_summary_and_description() -> None:
    sink = replace(_SINK, title=Template.parse("{subject} {state}"), body=Template.parse("{duration}"))
    assert payload(_FIRING, sink)["commonAnnotations"] == {"summary": "web firing", "description": "1m 30s"}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:sesame@hooks.example.net:1/services/sesame?sesame#sesame", "https://hooks.example.net:1"),
        ("HTTP://[2001:db8::1]:80/sesame", "http://[2001:db8::1]:80"),
        ("tgram://123:sesame/sesame", "tgram://…"),
        ("pover://sesame@sesame", "pover://…"),
    ],
)
def test_of_a_url_scheme_and_host_are_shown_and_of_what_apprise_reads_the_scheme(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert "sesame" not in repr(Sink(url, shown))


def test_digests_are_keyed_with_the_mesh() -> None:
    assert len(_SINK.digest(MESH)) == 16
    assert _SINK.digest(MESH) != _SINK.digest(OTHER_MESH)
    assert _SINK.digest(MESH) == replace(_SINK, name="another", severities=frozenset({"info"})).digest(MESH)


@pytest.mark.trio
async def test_a_real_server_gets_one_post_with_the_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("sesame")
    async with running() as curl, serving() as server:
        sink = Sink(f"{server.url}/hook", "hook", token_file=tmp_path / "token")
        await delivery(curl)(sink, _FIRING)
        (request,) = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /hook HTTP/1.1\r\n")
    assert b"Authorization: Bearer sesame" in head
    assert b"Content-Type: application/json" in head
    assert json.loads(body) == payload(_FIRING, sink)


@pytest.mark.trio
@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 302 F\r\nContent-Length: 0\r\n\r\n"]
)
async def test_any_other_answer_is_a_failure_that_shows_no_secret(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running() as curl, serving(lambda _: answer) as server:
        with pytest.raises(NetworkError) as failure:
            await delivery(curl)(Sink(f"{server.url}/sesame", "hook"), _FIRING)
        assert "answered with status" in str(failure.value)
    async with running() as curl:
        with pytest.raises(NetworkError) as failure:
            await delivery(curl)(Sink(f"{server.url}/sesame", "hook"), _FIRING)
        with pytest.raises(NetworkError) as unfetched:
            await curl_fetch(curl)(f"{server.url}/sesame")
    assert "127.0.0.1" in str(failure.value)
    assert "sesame" not in str(failure.value) + str(unfetched.value) + caplog.text


@pytest.mark.trio
async def test_a_heartbeat_is_a_get() -> None:
    async with running() as curl, serving() as server:
        assert await curl_fetch(curl)(f"{server.url}/ping?sesame") == 200
        assert server.requests[0].startswith(b"GET /ping?sesame HTTP/1.1\r\n")
