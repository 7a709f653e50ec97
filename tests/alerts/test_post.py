"""Alerts reach a real HTTP receiver that asks for a token, and the token reaches nobody else."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from demesh.alerts.alertmanager import AlertmanagerSender
from demesh.alerts.outbox import Outgoing
from demesh.alerts.post import curl_post
from demesh.errors import NetworkError
from tests.alerts.build import WALL_MS, incident
from tests.test_curl import OK, Server, running, serving

pytestmark = pytest.mark.trio
_BASIC = "Authorization: Basic bWU6c2VjcmV0"
_UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"


def _authorizations(server: Server) -> list[str]:
    """What each request said of who sent it."""
    lines = [request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:] for request in server.requests]
    return [", ".join(line for line in each if line.lower().startswith("authorization:")) for each in lines]


async def test_the_token_of_the_moment_goes_with_each_post(tmp_path: Path) -> None:
    token: list[Path | None] = [None]
    async with running() as curl, serving() as server:
        post = curl_post(curl, lambda: token[-1])
        assert (await post(server.url, b"[]"))[0] == 200
        token.append(tmp_path / "am.token")
        for text in ("sesame-1", "sesame-2\n"):
            (tmp_path / "am.token").write_text(text)
            assert (await post(server.url, b"[]"))[0] == 200
        await post(server.url.replace("//", "//me:secret@"), b"[]")
        token.append(None)
        await post(server.url, b"[]")
    assert _authorizations(server) == [
        "",
        "Authorization: Bearer sesame-1",
        "Authorization: Bearer sesame-2",
        _BASIC,
        "",
    ]
    assert all(request.endswith(b"\r\n\r\n[]") for request in server.requests)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"", "must hold one line of text."),
        (b"sesame\nopen", "must hold one line of text."),
        (b"sesame open", "must hold a token: letters, digits and signs, without white space."),
        ("sesame-ü".encode(), "must hold a token: letters, digits and signs, without white space."),
    ],
)
async def test_without_its_token_nothing_is_posted_and_the_sentence_says_why(
    content: bytes | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "am.token"
    if content is not None:
        path.write_bytes(content)
    async with running() as curl, serving() as server:
        with pytest.raises(NetworkError) as refused:
            await curl_post(curl, lambda: path)(server.url, b"[]")
    assert str(refused.value) == f"{path} {said}"
    assert server.requests == []


@asynccontextmanager
async def _sending(server: Server, path: Path) -> AsyncGenerator[AlertmanagerSender]:
    def outgoing() -> list[Outgoing]:
        return [Outgoing(incident("web"), WALL_MS, WALL_MS + 120_000)]

    async with running() as curl, trio.open_nursery() as nursery:
        sender = AlertmanagerSender(server.url, curl_post(curl, lambda: path), outgoing, lambda: WALL_MS)
        nursery.start_soon(sender.run)
        yield sender
        nursery.cancel_scope.cancel()


async def test_a_token_that_is_put_right_lets_alerts_through_and_is_in_no_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "am.token"
    path.write_text("sesame-bad")
    arrived = trio.Event()

    def answer(request: bytes) -> bytes:
        if b"Bearer sesame-good\r\n" not in request:
            path.write_text("sesame-good")
            return _UNAUTHORIZED
        if b"DemeshCheckDown" in request:
            arrived.set()
        return OK

    with trio.fail_after(20):
        async with serving(answer) as server, _sending(server, path) as sender:
            sender.poke()
            await arrived.wait()
    assert "Alerts do not reach http://127.0.0.1" in caplog.text
    assert "it answered with status 401." in caplog.text
    assert "sesame" not in caplog.text
