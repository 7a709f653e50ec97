"""Messages through Apprise arrive, or fail with a sentence in time; nothing of their URLs is said."""

import logging
import threading

import pytest
import trio

from demesh import limits
from demesh.alerts import apprise_sink
from demesh.alerts.delivery import delivery
from demesh.alerts.message import Message
from demesh.alerts.sink import Sink
from demesh.errors import NetworkError
from tests.alerts.build import WALL_MS, incident
from tests.test_curl import Server, running, serving

pytestmark = pytest.mark.trio
_MESSAGE = Message(incident(), "firing", WALL_MS, "nas", "0a")


def _url(server: Server) -> str:
    """Apprise's own plain form of a webhook, whose path is a secret here."""
    return server.url.replace("http://", "json://me:sesame@") + "/sesame-open"


async def test_a_service_gets_title_and_body_in_one_post() -> None:
    async with running() as curl, serving() as server:
        await delivery(curl)(Sink(_url(server), "a"), _MESSAGE)
        (request,) = server.requests
    assert b"firing: DemeshCheckDown web" in request
    assert b"web is down" in request
    assert b'"type": "failure"' in request


async def test_a_refusal_is_told_with_its_status_and_without_the_url(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(lambda _: b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n") as server:
        with pytest.raises(NetworkError, match="status 403") as refusal:
            await apprise_sink.send(Sink(_url(server), "a"), _MESSAGE)
    with pytest.raises(NetworkError, match="could not be reached, or refused") as failure:
        await apprise_sink.send(Sink(_url(server), "a"), _MESSAGE)
    said = str(refusal.value) + str(failure.value) + caplog.text + "".join(capfd.readouterr())
    assert "sesame" not in said


async def test_one_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = threading.Event()

    def hang(*_: object) -> str:
        ends.wait(60)
        return ""

    monkeypatch.setattr(apprise_sink, "_notify", hang)
    monkeypatch.setattr(limits, "NOTIFY_SECONDS_MAX", 0.05)
    try:
        with trio.fail_after(10), pytest.raises(NetworkError, match="did not take the message within"):
            await apprise_sink.send(Sink("json://a", "a"), _MESSAGE)
    finally:
        ends.set()


async def test_what_apprise_does_not_know_is_known_before_it_is_used() -> None:
    assert apprise_sink.is_known("ntfy://ntfy.sh/topic")
    assert not apprise_sink.is_known("nosuch://topic")
    with pytest.raises(NetworkError, match="knows no such URL"):
        await apprise_sink.send(Sink("nosuch://topic", "a"), _MESSAGE)
