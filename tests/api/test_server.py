"""The API on real sockets: a Unix socket for this user, and loopback."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from demesh.api.server import ApiServer
from demesh.errors import UsageError


class _Node:
    def status(self) -> dict[str, Any]:
        return {"mesh": "0a1b2c3d"}


@asynccontextmanager
async def _serving(server: ApiServer) -> AsyncGenerator[None]:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run, cast(Any, _Node()))
            yield
            nursery.cancel_scope.cancel()


async def _get(stream: trio.abc.Stream) -> bytes:
    async with stream:
        await stream.send_all(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b"".join([chunk async for chunk in cast(trio.SocketStream, stream)])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.trio
async def test_the_unix_socket_answers_its_user_only_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    path.write_text("left over by a node that was killed")
    async with _serving(ApiServer(None, path)):
        assert path.stat().st_mode & 0o077 == 0
        assert b'"0a1b2c3d"' in await _get(await trio.open_unix_socket(str(path)))
    assert not path.exists()


@pytest.mark.trio
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
async def test_loopback_answers(host: str, tmp_path: Path) -> None:
    port = _free_port()
    async with _serving(ApiServer((host, port), tmp_path / "api.sock")):
        assert b"200" in (await _get(await trio.open_tcp_stream(host, port))).splitlines()[0]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "2001:db8::1", "example.org", "localhost.example.org"])
def test_anything_but_loopback_is_refused(host: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it serves this machine only"):
        ApiServer((host, 8470), tmp_path / "api.sock")
