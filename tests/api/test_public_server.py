"""The public listener on real sockets, and strangers who behave badly."""

import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio

from demesh import limits
from demesh.api.public_server import PublicServer
from demesh.api.serving import Doors
from demesh.errors import DemeshError
from tests.api.asking import Node
from tests.log.builders import counted
from tests.ports import free_port

pytestmark = pytest.mark.trio


@asynccontextmanager
async def _serving(node: Node | None = None) -> AsyncGenerator[int]:
    """At the port it gives."""
    port = free_port()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(PublicServer("127.0.0.1", port).run, cast(Any, node or Node()))
            yield port
            nursery.cancel_scope.cancel()


async def _said(port: int, sent: bytes) -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(sent)
        return b"".join([chunk async for chunk in stream])


def _get(path: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join(
        (f"{method} {path} HTTP/1.1", "Host: any.example", "Connection: close", *headers, "", "")
    ).encode()


async def test_strangers_are_answered_by_any_name() -> None:
    async with _serving() as port:
        head, _, body = (await _said(port, _get("/"))).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"hypercorn" not in head
        assert body.startswith(b"<!DOCTYPE html>")
        assert int(head.lower().partition(b"content-length: ")[2].split()[0]) == len(body)
        head, _, body = (await _said(port, _get("/", method="HEAD"))).partition(b"\r\n\r\n")
        assert (head[:12], body) == (b"HTTP/1.1 200", b"")


async def test_a_busy_port_is_said_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DemeshError) as refused:
            PublicServer("127.0.0.1", port)
    assert str(refused.value) == (
        f"The public listener cannot listen on 127.0.0.1:{port}: Address already in use. "
        "Choose another in [api] public_listen, or take that line out."
    )


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * (limits.PUBLIC_HEAD_BYTES_MAX + 1),
        b"GET /" + b"x" * (limits.PUBLIC_HEAD_BYTES_MAX + 1),
        b"\x00\xff" * 100 + b"\r\n\r\n",
    ],
)
async def test_a_request_that_is_too_long_or_none_is_refused_and_counted(sent: bytes) -> None:
    before = counted("demesh_refused_total", room="public", reason="malformed")
    async with _serving() as port:
        assert (await _said(port, sent))[:10] == b"HTTP/1.1 4"
        assert counted("demesh_refused_total", room="public", reason="malformed") == before + 1
        assert b"200" in (await _said(port, _get("/healthz")))[:20]


async def test_a_body_is_not_waited_for() -> None:
    async with _serving() as port:
        said = await _said(port, _get("/healthz", "Content-Length: 1000000000"))
        assert said.startswith(b"HTTP/1.1 200")


async def test_no_other_protocol_is_gone_over_to() -> None:
    handshake = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    async with _serving() as port:
        said = await _said(port, _get("/", *handshake).replace(b"Connection: close", b"Connection: Upgrade"))
        assert b" 101 " not in said[:20]


async def test_an_answer_of_any_length_is_in_memory_once_and_who_does_not_read_it_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    huge = 64 * 1_048_576
    monkeypatch.setattr(limits, "API_SEND_SECONDS_MAX", 0.3)
    monkeypatch.setattr("demesh.api.public_answers.page", lambda scene: b"x" * huge)
    async with _serving() as port:
        before = counted("demesh_refused_total", room="public", reason="slow")
        async with await trio.open_tcp_stream("127.0.0.1", port) as stuck:
            await stuck.send_all(_get("/"))
            assert await stuck.receive_some(1)
            while counted("demesh_refused_total", room="public", reason="slow") == before:  # noqa: ASYNC110 a counter tells nobody
                await trio.sleep(0.02)
        whole = await _said(port, _get("/"))
        assert len(whole.partition(b"\r\n\r\n")[2]) == huge


async def test_who_only_connects_is_left_soon() -> None:
    async with _serving() as port, await trio.open_tcp_stream("127.0.0.1", port) as silent:
        with trio.fail_after(10):
            assert b"".join([chunk async for chunk in silent]) == b""


async def test_who_resets_a_connection_is_counted_and_nobody_is_warned(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> float:
        return counted("demesh_refused_total", room="public", reason="broken")

    before = broken()
    async with _serving() as port:
        with socket.create_connection(("127.0.0.1", port)) as stranger:  # the server has no turn before it is gone
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        while broken() == before:  # noqa: ASYNC110 a counter tells nobody
            await trio.sleep(0.02)
        assert broken() == before + 1
        assert b"200" in (await _said(port, _get("/healthz")))[:20]
    assert [each.getMessage() for each in caplog.records if each.levelname == "WARNING"] == []


async def test_places_are_bounded_in_all_and_for_each_client_and_given_back() -> None:
    doors = Doors("public", 5, 2)
    before = [
        counted("demesh_refused_total", room="public", reason=each) for each in ("connections", "client_connections")
    ]
    assert [doors.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert [doors.enter("192.0.2.2"), doors.enter("")] == [True, True]
    assert [doors.enter("") for _ in range(2)] == [True, False]
    doors.leave("192.0.2.1")
    assert [doors.enter("192.0.2.1"), doors.enter("192.0.2.3")] == [True, False]
    after = [
        counted("demesh_refused_total", room="public", reason=each) for each in ("connections", "client_connections")
    ]
    assert [b - a for a, b in zip(before, after, strict=True)] == [2, 1]
