"""The engine under real sockets: transfers end, are cancelled and are refused without leaving anything behind."""

import os
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pycurl
import pytest
import trio
import trio.testing

from demesh.curl import CurlEngine, fetch
from demesh.curl_failure import ENGINE_TROUBLE
from demesh.errors import NetworkError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Reply = Callable[[bytes], bytes | None]


async def read_request(stream: trio.abc.ReceiveStream) -> bytes:
    """One request with its body; empty when the client is gone."""
    received = b""
    async for chunk in stream:
        received += chunk
        head, end, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if end and len(body) >= (int(length[1]) if length else 0):
            return received
    return b""


class Server:
    """Answers every request on every connection with `reply`; None means that it never does."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.requests: list[bytes] = []
        self.connections = 0
        self.request_came = trio.Event()
        self.client_left = trio.Event()
        self.url = ""

    async def handle(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        try:
            while request := await read_request(stream):
                self.requests.append(request)
                self.request_came.set()
                if (reply := self.reply(request)) is not None:
                    await stream.send_all(reply)
        except trio.BrokenResourceError:
            pass
        self.client_left.set()


@asynccontextmanager
async def serving(reply: Reply = lambda _: OK) -> AsyncGenerator[Server]:
    server = Server(reply)
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(serve, server.handle)
        server.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        yield server
        nursery.cancel_scope.cancel()


async def serve(
    handle: Callable[[trio.SocketStream], Awaitable[None]],
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]],
) -> None:
    await trio.serve_tcp(handle, 0, host="127.0.0.1", task_status=task_status)


@asynccontextmanager
async def running() -> AsyncGenerator[CurlEngine]:
    engine = CurlEngine()
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        yield engine
        nursery.cancel_scope.cancel()


async def get(engine: CurlEngine, url: str) -> int:
    with engine.handle() as handle:
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.WRITEFUNCTION, len)
        return await engine.perform(handle)


@pytest.mark.trio
async def test_a_transfer_returns_libcurls_code():
    async with serving() as server, running() as engine:
        assert await get(engine, server.url) == 0
        assert await get(engine, "http://127.0.0.1:1/") == pycurl.E_COULDNT_CONNECT
        assert engine.transfers_in_flight == 0


@pytest.mark.trio
async def test_a_cancelled_transfer_leaves_no_socket():
    async with serving(lambda _: None) as server, running() as engine:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(get, engine, server.url)
            await server.request_came.wait()
            assert engine.transfers_in_flight == 1
            assert engine.descriptors_watched > 0
            nursery.cancel_scope.cancel()
        assert (engine.transfers_in_flight, engine.descriptors_watched) == (0, 0)
        with trio.fail_after(10):
            await server.client_left.wait()


@pytest.mark.trio
async def test_a_transfer_cancelled_before_it_began_leaves_nothing():
    async with serving() as server, running() as engine:
        with trio.CancelScope() as scope:
            scope.cancel()
            await get(engine, server.url)
        assert (engine.transfers_in_flight, engine.descriptors_watched) == (0, 0)
        assert await get(engine, server.url) == 0


@pytest.mark.trio
async def test_when_the_engine_ends_its_transfers_end_too():
    engine = CurlEngine()
    codes: list[int] = []
    async with serving(lambda _: None) as server, trio.open_nursery() as nursery:

        async def wait_for_an_answer() -> None:
            codes.append(await get(engine, server.url))

        async with trio.open_nursery() as engine_nursery:
            await engine_nursery.start(engine.run)
            nursery.start_soon(wait_for_an_answer)
            await server.request_came.wait()
            engine_nursery.cancel_scope.cancel()
        with trio.fail_after(10):
            await server.client_left.wait()
    assert codes == [ENGINE_TROUBLE]
    assert await get(engine, "http://127.0.0.1:1/") == ENGINE_TROUBLE


@pytest.mark.trio
async def test_an_engine_gives_back_every_descriptor():
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    async with serving() as server:
        for round_ in range(2):  # the first may open what stays open for good, as trio's own do
            before = descriptors()
            server.client_left = trio.Event()
            async with running() as engine:
                assert await get(engine, server.url) == 0
            # The server's end is closed by its own task, which runs when it likes.
            with trio.fail_after(10):
                await server.client_left.wait()
            await trio.testing.wait_all_tasks_blocked()
            if round_:
                assert descriptors() == before


@pytest.mark.trio
async def test_a_socket_that_cannot_be_watched_is_our_trouble_not_a_timeout(monkeypatch: pytest.MonkeyPatch):
    async with serving() as server, running() as engine:
        real = engine._epoll

        class Full:
            fileno, poll, close, unregister = real.fileno, real.poll, real.close, real.unregister

            def register(self, *_: int) -> None:
                raise OSError(28, "No space left on device")

            modify = register

        monkeypatch.setattr(engine, "_epoll", Full())
        with trio.fail_after(10):
            assert await get(engine, server.url) == ENGINE_TROUBLE
        monkeypatch.setattr(engine, "_epoll", real)
        assert await get(engine, server.url) == 0


@pytest.mark.trio
async def test_handles_are_used_again_and_keep_nothing():
    async with serving() as server, running() as engine:
        with engine.handle() as first:
            first.setopt(pycurl.URL, server.url + "/?token=s3cret")
            first.setopt(pycurl.HTTPHEADER, ["Authorization: s3cret"])
            first.setopt(pycurl.WRITEFUNCTION, len)
            await engine.perform(first)
        with engine.handle() as second:
            assert second is first
            second.setopt(pycurl.URL, server.url)
            second.setopt(pycurl.WRITEFUNCTION, len)
            await engine.perform(second)
    assert b"s3cret" in server.requests[0]
    assert b"s3cret" not in server.requests[1]


@pytest.mark.trio
async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving() as server, running() as engine:
        assert await get(engine, server.url) == 0


@pytest.mark.trio
@pytest.mark.parametrize("url", ["file:///etc/hostname", "gopher://127.0.0.1/", "ftp://127.0.0.1/"])
async def test_only_http_is_spoken(url: str):
    async with running() as engine:
        assert await get(engine, url) == pycurl.E_UNSUPPORTED_PROTOCOL


@pytest.mark.trio
async def test_fetch_posts_json_and_returns_status_and_a_bounded_body():
    async with (
        serving(lambda _: b"HTTP/1.1 400 Bad\r\nContent-Length: 9\r\n\r\nbad alert") as server,
        running() as engine,
    ):
        answer = await fetch(engine, server.url + "/api/v2/alerts", timeout_ms=2000, json=b'[{"a":1}]')
        assert (answer.status, answer.body) == (400, b"bad alert")
        cut = await fetch(engine, server.url, timeout_ms=2000, body_bytes_max=3)
        assert (cut.status, cut.body) == (400, b"bad")
        whole = await fetch(engine, server.url, timeout_ms=2000, body_bytes_max=9)
        assert whole.body == b"bad alert"
    post, get_, _ = server.requests
    assert post.startswith(b"POST /api/v2/alerts HTTP/1.1\r\n")
    assert b"Content-Type: application/json\r\n" in post
    assert post.endswith(b'\r\n\r\n[{"a":1}]')
    assert get_.startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.trio
async def test_fetch_keeps_its_connection_for_the_next():
    async with serving() as server, running() as engine:
        for _ in range(3):
            await fetch(engine, server.url, timeout_ms=2000, json=b"[]")
        assert server.connections == 1


@pytest.mark.trio
async def test_fetch_follows_no_redirect():
    async with (
        serving(lambda _: b"HTTP/1.1 302 F\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n") as server,
        running() as engine,
    ):
        assert (await fetch(engine, server.url, timeout_ms=2000)).status == 302
        assert len(server.requests) == 1


@pytest.mark.trio
async def test_fetch_says_what_failed_without_secrets():
    async with serving(lambda _: None) as server, running() as engine:
        address = server.url.removeprefix("http://")
        with pytest.raises(NetworkError, match="no answer in time") as silent:
            await fetch(engine, f"http://me:s3cret@{address}/hook?token=s3cret", timeout_ms=100)
        assert f"http://{address}/hook" in str(silent.value)
        with pytest.raises(NetworkError, match="connection refused") as refused:
            await fetch(engine, "http://me:s3cret@127.0.0.1:1/?token=s3cret", timeout_ms=1000)
        with pytest.raises(NetworkError, match="cannot be used") as unusable:
            await fetch(engine, f"http://me:s3cret@{address}/", timeout_ms=1000, ca_file="/nonexistent")
        for failure in (silent, refused, unusable):
            assert "s3cret" not in str(failure.value)
