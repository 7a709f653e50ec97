"""Servers for the HTTP probe, of every kind, and the probe itself, set up."""

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import trio

from demesh.curl import CurlEngine
from demesh.probes.base import Expect, ProbeSpec
from demesh.probes.http import HttpProbe
from demesh.probes.resolving import Resolver
from tests.certificates import NOW

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


@asynccontextmanager
async def listening(handle: Handle, host: str = "127.0.0.1") -> AsyncGenerator[int]:
    """Yields the port where every connection is given to `handle`."""

    async def guarded(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await handle(stream)

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host=host, backlog=512)
        nursery.start_soon(trio.serve_listeners, guarded, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


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
        request = b""
        while b"\r\n\r\n" not in request:
            if not (chunk := await stream.receive_some()):
                return
            request += chunk
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
