"""The API on real sockets: a Unix socket for this user, addresses for others; and clients that behave badly."""

import io
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from demesh import limits
from demesh.api.server import ApiServer
from demesh.diagnostics import set_up_logging
from demesh.errors import UsageError
from demesh.tokens import Scope, TokenCheck, Tokens
from tests.api.asking import Rotation
from tests.log.builders import counted
from tests.ports import free_port

_HUGE = 32 * 1_048_576  # more than any socket's buffers take


class _Node:
    deciding: Any = None
    """None of these tests decides anything."""

    async def reload(self) -> None:
        await trio.lowlevel.checkpoint()

    def hanging(self) -> list[str]:
        return []

    def __init__(self, answer_bytes: int = 0) -> None:
        self._answer = {"mesh": "0a1b2c3d", "filler": "x" * answer_bytes}

    def status(self) -> dict[str, Any]:
        return self._answer


def _server(tmp_path: Path, listen: tuple[str, int] | None = None) -> ApiServer:
    return ApiServer(listen, tmp_path / "api.sock", TokenCheck(tmp_path / "tokens.json", None))


@asynccontextmanager
async def _serving(server: ApiServer, node: _Node | None = None) -> AsyncGenerator[None]:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(server.run, rotation=Rotation()), cast(Any, node or _Node()))
            yield
            nursery.cancel_scope.cancel()


async def _get(stream: trio.abc.Stream, method: str = "GET", *headers: str, path: str = "/api/v1/status") -> bytes:
    async with stream:
        said = "\r\n".join((f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers))
        await stream.send_all(f"{said}\r\n\r\n".encode())
        return b"".join([chunk async for chunk in cast(trio.SocketStream, stream)])


async def _open(tmp_path: Path) -> trio.SocketStream:
    return await trio.open_unix_socket(str(tmp_path / "api.sock"))


@pytest.mark.trio
async def test_the_unix_socket_answers_its_user_only_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    path.write_text("left over by a node that was killed")
    async with _serving(_server(tmp_path)):
        assert path.stat().st_mode & 0o077 == 0
        assert b'"0a1b2c3d"' in await _get(await _open(tmp_path))
    assert not path.exists()


@pytest.mark.trio
@pytest.mark.parametrize(("directory", "socket_"), [(0o750, 0o660), (0o710, 0o660), (0o755, 0o600), (0o700, 0o600)])
async def test_the_unix_socket_is_the_groups_too_where_it_alone_is_let_into_the_directory(
    directory: int, socket_: int, tmp_path: Path
) -> None:
    await trio.Path(tmp_path).chmod(directory)
    async with _serving(_server(tmp_path)):
        assert (tmp_path / "api.sock").stat().st_mode & 0o777 == socket_
        assert b'"0a1b2c3d"' in await _get(await _open(tmp_path))


@pytest.mark.trio
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
async def test_loopback_answers(host: str, tmp_path: Path) -> None:
    port = free_port()
    async with _serving(_server(tmp_path, (host, port))):
        answer = await _get(await trio.open_tcp_stream(host, port))
        assert b"200" in answer.splitlines()[0]
        assert b"hypercorn" not in answer


@pytest.mark.trio
async def test_the_client_of_a_connection_is_who_the_guard_judges(tmp_path: Path) -> None:
    """Real sockets give the addresses that tests/api/test_guard.py makes up."""
    port = free_port()
    change = b"POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with _serving(_server(tmp_path, ("127.0.0.1", port))):
        for stream, status in (
            (await trio.open_tcp_stream("127.0.0.1", port), b"401"),
            (await _open(tmp_path), b"200"),
        ):
            async with stream:
                await stream.send_all(change)
                assert status in b"".join([chunk async for chunk in stream]).splitlines()[0]


@pytest.mark.trio
async def test_head_has_the_headers_and_no_body(tmp_path: Path) -> None:
    async with _serving(_server(tmp_path)):
        head, _, body = (await _get(await _open(tmp_path), "HEAD")).partition(b"\r\n\r\n")
        assert b"200" in head.splitlines()[0]
        assert b"content-length: " in head
        assert body == b""


@pytest.mark.trio
async def test_a_client_that_reads_nothing_does_not_keep_the_server_from_ending(tmp_path: Path) -> None:
    """hypercorn sends under a shield, which no cancellation ends."""
    async with _serving(_server(tmp_path), _Node(_HUGE)):
        stuck = await _open(tmp_path)
        await stuck.send_all(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await stuck.receive_some(1)
        ending = trio.current_time()
    assert trio.current_time() - ending < limits.API_SEND_SECONDS_MAX / 2
    await stuck.aclose()


@pytest.mark.trio
async def test_a_client_that_takes_nothing_for_long_loses_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "API_SEND_SECONDS_MAX", 0.2)
    before = counted("demesh_refused_total", room="api", reason="slow")
    async with _serving(_server(tmp_path), _Node(_HUGE)):
        stuck = await _open(tmp_path)
        await stuck.send_all(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while counted("demesh_refused_total", room="api", reason="slow") == before:  # noqa: ASYNC110 a counter tells nobody
            await trio.sleep(0.02)
        got = len(b"".join([chunk async for chunk in stuck]))
        assert got < _HUGE
        await stuck.aclose()


@pytest.mark.trio
async def test_connections_are_bounded_and_places_are_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "API_CONNECTIONS_MAX", 2)
    async with _serving(_server(tmp_path)):
        held = [await _open(tmp_path) for _ in range(2)]
        for stream in held:
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await stream.receive_some(1)
        before = counted("demesh_refused_total", room="api", reason="connections")
        async with await _open(tmp_path) as one_too_many:
            assert await one_too_many.receive_some(1) == b""
        assert counted("demesh_refused_total", room="api", reason="connections") == before + 1
        for stream in held:
            await stream.aclose()
        with trio.fail_after(4):  # less than hypercorn lets a connection rest
            while not await _answers(tmp_path):
                await trio.lowlevel.checkpoint()


async def _answers(tmp_path: Path, path: str = "/api/v1/status") -> bool:
    try:
        return b"200" in (await _get(await _open(tmp_path), path=path))[:20]
    except trio.BrokenResourceError:
        return False


@pytest.mark.trio
@pytest.mark.parametrize(
    ("nonsense", "status"),
    [
        (b"\x00\xff" * 20_000, b"400"),
        (b"GET / HTTP/9.9\r\n\r\n", b"4"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b""),
        (b"POST /api/v1/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\nx", b"400"),
    ],
)
async def test_nonsense_ends_its_connection_only(nonsense: bytes, status: bytes, tmp_path: Path) -> None:
    async with _serving(_server(tmp_path)):
        async with await _open(tmp_path) as stream:
            await stream.send_all(nonsense)
            await stream.send_eof()
            answer = b"".join([chunk async for chunk in stream])
            assert b"HTTP/1.1 2" not in answer
            assert status in answer[:20]
        assert await _answers(tmp_path)


@pytest.mark.trio
async def test_a_failure_inside_is_told_by_place_and_type_not_by_its_text(tmp_path: Path) -> None:
    class Failing(_Node):
        def status(self) -> dict[str, Any]:
            raise RuntimeError("".join(("ses", "ame")))

    said, root = io.StringIO(), logging.getLogger()
    before = root.handlers[:], root.level
    try:
        set_up_logging(0, "text", lambda: 0, said)
        async with _serving(_server(tmp_path), Failing()):
            answer = await _get(await _open(tmp_path))
            assert await _answers(tmp_path, "/healthz")
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
    assert b" 500 " in answer.splitlines()[0]
    assert b'{"error":"The node failed to answer' in answer
    assert "RuntimeError" in said.getvalue()
    assert "sesame" not in said.getvalue() + answer.decode()


@pytest.mark.trio
async def test_no_other_protocol_is_gone_over_to(tmp_path: Path) -> None:
    async with _serving(_server(tmp_path)):
        handshake = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        for upgrade in (handshake, ("Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")):
            async with await _open(tmp_path) as stream:
                said = ("GET /api/v1/status HTTP/1.1", "Host: localhost", "Connection: Upgrade", *upgrade)
                await stream.send_all("\r\n".join((*said, "", "")).encode())
                assert b" 101 " not in (await stream.receive_some(4_096))[:20]


_BEYOND = ["0.0.0.0", "::", "192.0.2.7", "2001:db8::1", "example.org", "localhost.example.org"]


@pytest.mark.parametrize("host", _BEYOND)
def test_anything_but_loopback_is_refused_without_a_token(host: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no token.*`demesh token new`"):
        _server(tmp_path, (host, 8470))


@pytest.mark.trio
async def test_with_a_token_it_listens_everywhere(tmp_path: Path) -> None:
    token = Tokens(tmp_path / "tokens.json").make("reader", Scope.READ, 0)
    port = free_port()
    async with _serving(_server(tmp_path, ("0.0.0.0", port))):
        passed_on = "X-Forwarded-For: 192.0.2.99"
        for headers, status in (((passed_on,), b"401"), ((passed_on, f"Authorization: Bearer {token}"), b"200")):
            answer = await _get(await trio.open_tcp_stream("127.0.0.1", port), "GET", *headers)
            assert status in answer.splitlines()[0]
