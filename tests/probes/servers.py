"""Servers for the HTTP probe, of every kind, and the probe itself, set up."""

import os
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import trio

from demesh.curl import CurlEngine
from demesh.probes.base import Expect, ProbeSpec
from demesh.probes.http import HttpProbe
from demesh.probes.resolving import Resolver
from tests.certificates import NOW
from tests.e2e.harness import eventually, require
from tests.ports import free_port

DAY_MS = 86_400_000
NOW_MS = int(NOW.timestamp()) * 1000
Handle = Callable[[trio.SocketStream], Awaitable[None]]


def http(body: bytes = b"Welcome", status: int = 200, *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def redirect(location: str) -> bytes:
    return http(b"", 302, f"Location: {location}")


class Served:
    def __init__(self) -> None:
        self.port = 0
        self.requests: list[bytes] = []
        self.connected = trio.Event()

    def url(self, rest: str = "/", *, scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}{rest}"


def port_at(host: str) -> int:
    """To listen at: any, but for IPv6 one that nobody has for IPv4, where it is to be refused."""
    return free_port() if ":" in host else 0


@asynccontextmanager
async def listening(handle: Handle, host: str = "127.0.0.1") -> AsyncGenerator[int]:
    """Yields the port where every connection is given to `handle`."""

    async def guarded(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await handle(stream)

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(port_at(host), host=host, backlog=512)
        nursery.start_soon(trio.serve_listeners, guarded, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def read_request(stream: trio.abc.Stream) -> bytes:
    """One request with its body; empty if the client left first."""
    request, head, length = b"", -1, 0
    while head < 0 or len(request) < head + 4 + length:
        if not (chunk := await stream.receive_some()):
            return b""
        request += chunk
        head = request.find(b"\r\n\r\n")
        if found := re.search(rb"(?i)\r\ncontent-length: *(\d+)", request[: head + 2]):
            length = int(found[1])
    return request


@asynccontextmanager
async def serving(
    reply: Callable[[bytes], bytes | None] = lambda _: http(),
    *,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    keep_open: bool = False,
) -> AsyncGenerator[Served]:
    """Answers with `reply(path)`; None never answers. The connection is closed after the answer unless `keep_open`."""

    async def handle(plain: trio.SocketStream) -> None:
        served.connected.set()
        stream = plain if tls is None else trio.SSLStream(plain, tls, server_side=True, https_compatible=True)
        if not (request := await read_request(stream)):
            return
        served.requests.append(request)
        answer = reply(request.split()[1])
        if answer is not None:
            await stream.send_all(answer)
        if answer is None or keep_open:
            await trio.sleep_forever()
        await stream.aclose()

    served = Served()
    async with listening(handle, host) as served.port:
        yield served


@asynccontextmanager
async def probing(resolver: Resolver | None = None) -> AsyncGenerator[HttpProbe]:
    engine = CurlEngine()
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        yield HttpProbe(engine, lambda: NOW_MS, resolver)
        nursery.cancel_scope.cancel()


def spec(target: str, timeout_ms: int = 5000, *, expect: Expect | None = None, **more: object) -> ProbeSpec:
    return ProbeSpec("http", target, timeout_ms, expect or Expect(), **more)  # type: ignore[arg-type]


def fake_resolver(answers: dict[str, list[str] | Exception]) -> Resolver:
    def lookup(host: str) -> list[str]:
        answer = answers[host]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Resolver(lookup)


@contextmanager
def running(port: int, *command: str) -> Generator[None]:
    """A server in a process of its own, which listens on `port` of 127.0.0.1."""
    program = require(command[0])
    process = subprocess.Popen([program, *command[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def connect() -> bool:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True

    try:
        eventually(connect, bool, 10, f"{command[0]} listens; exited with {process.poll()}")
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def nginx(home: Path, port: int, servers: str) -> Generator[None]:
    """A real one with these `server` blocks, one of which listens on `port`."""
    scratch = "".join(
        f"{each}_temp_path {home}/{each};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    config = home / "nginx.conf"
    config.write_text(
        f"daemon off; {user} worker_processes 1; pid {home}/pid; error_log {home}/error.log;\n"
        f"events {{ worker_connections 64; }}\nhttp {{ access_log off; {scratch}\n{servers}\n}}\n"
    )
    with running(port, "nginx", "-p", str(home), "-c", str(config), "-e", str(home / "error.log")):
        yield
