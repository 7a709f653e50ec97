"""The HTTP probe: what it sends, to which address, and by way of which proxy."""

import base64
from dataclasses import replace

import pytest
import trio

from demesh.outcome import Outcome
from demesh.probes.base import HttpOptions
from tests.certificates import Authority
from tests.probes.servers import fake_resolver, http, listening, probing, read_request, serving, spec


def basic(login: str) -> bytes:
    return b"Authorization: Basic " + base64.b64encode(login.encode())


async def sent(options: HttpOptions, target_rest: str = "/") -> bytes:
    """The request that the probe makes."""
    async with serving() as server, probing() as probe:
        result = await probe(spec(server.url(target_rest), options=options))
        assert result.outcome == Outcome.PASS, result
        return server.requests[0]


@pytest.mark.trio
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_methods_are_sent_with_and_without_a_body(method: str):
    plain = await sent(HttpOptions(method=method))
    assert plain.startswith(f"{method} / HTTP/1.1\r\n".encode())
    assert plain.endswith(b"\r\n\r\n")
    full = await sent(HttpOptions(method=method, body=b'{"a": 1}'))
    assert full.startswith(f"{method} / HTTP/1.1\r\n".encode())
    assert full.endswith(b'\r\n\r\n{"a": 1}')
    assert b"content-type" not in full.lower()
    assert b"expect" not in full.lower(), "nobody waits for 100 Continue"


@pytest.mark.trio
async def test_head_waits_for_no_body():
    async with serving(lambda _: http(b"Welcome")[:-7], keep_open=True) as server, probing() as probe:
        result = await probe(spec(server.url(), 2000, options=HttpOptions(method="HEAD")))
        assert server.requests[0].startswith(b"HEAD / ")
    assert result.outcome == Outcome.PASS, result


@pytest.mark.trio
async def test_headers_are_sent_as_they_are():
    headers = (("X-Token", "t0ken; a=b"), ("Host", "inner.test"), ("User-Agent", "me/1"), ("X-Empty", ""))
    request = await sent(HttpOptions(headers=headers))
    lines = request.split(b"\r\n")
    assert {b"X-Token: t0ken; a=b", b"Host: inner.test", b"User-Agent: me/1", b"X-Empty:"} <= set(lines)
    typed = await sent(HttpOptions(method="POST", body=b"{}", headers=(("content-type", "application/json"),)))
    assert b"content-type: application/json\r\n" in typed


@pytest.mark.trio
@pytest.mark.parametrize(
    "options",
    [
        HttpOptions(headers=(("X-A", "s3cret\r\nX-B: 1"),)),
        HttpOptions(headers=(("X A", "s3cret"),)),
        HttpOptions(headers=(("X-A: 1\r\nX-B", "s3cret"),)),
        HttpOptions(method="GET / HTTP/1.1\r\n"),
        HttpOptions(method=""),
    ],
)
async def test_what_would_break_the_request_apart_is_not_sent(options: HttpOptions):
    async with serving() as server, probing() as probe:
        result = await probe(spec(server.url(), options=options))
        assert server.requests == []
    assert result.outcome == Outcome.ERROR
    assert result.detail.endswith("none that can be sent")


@pytest.mark.trio
async def test_logins_are_sent_from_options_or_the_url():
    assert basic("me:pa:ss") in await sent(HttpOptions(user="me", password="pa:ss"))
    async with serving() as server, probing() as probe:
        for user_info in ("me:p%40ss", "m%C3%BC:p%40ss", "me"):
            await probe(spec(server.url(host=f"{user_info}@127.0.0.1")))
        await probe(spec(server.url(host="me:other@127.0.0.1"), options=HttpOptions(user="you", password="own")))
        logins = [basic("me:p@ss"), basic("mü:p@ss"), basic("me:"), basic("you:own")]
        for request, login in zip(server.requests, logins, strict=True):
            assert login in request
            assert b"@" not in request


@pytest.mark.trio
async def test_only_the_wanted_family_is_tried():
    both = fake_resolver({"shop.test": ["127.0.0.1", "::1"], "four.test": ["127.0.0.1"]})
    async with serving() as four, serving(host="::1") as six, probing(both) as probe:
        wanted = await probe(spec(six.url(host="shop.test"), ip_version=6))
        refused = await probe(spec(six.url(host="shop.test"), ip_version=4))
        lacking = await probe(spec(four.url(host="four.test"), ip_version=6))
        wrong = await probe(spec(four.url(), ip_version=6))
        literal = await probe(spec(six.url(host="[::1]"), ip_version=6))
        assert four.requests == []
    assert (wanted.outcome, wanted.address) == (Outcome.PASS, "::1")
    assert (refused.outcome, refused.detail, refused.address) == (Outcome.FAIL, "connection refused", "127.0.0.1")
    assert (lacking.outcome, lacking.detail) == (Outcome.FAIL, "the host name has no IPv6 address")
    assert (wrong.outcome, wrong.detail) == (
        Outcome.ERROR,
        "the target is an IPv4 address, and only IPv6 may be used",
    )
    assert literal.outcome == Outcome.PASS


@pytest.mark.trio
async def test_a_proxy_gets_its_own_login_and_nothing_of_the_targets_over_tls(authority: Authority):
    """Over TLS the proxy opens a tunnel, in which it reads nothing."""
    seen: list[bytes] = []

    async def tunnel(stream: trio.SocketStream) -> None:
        seen.append(await read_request(stream))
        onward = await trio.open_tcp_stream("127.0.0.1", server.port)
        await stream.send_all(b"HTTP/1.1 200 Established\r\nX-Env: proxy\r\n\r\n")

        async def copy(source: trio.SocketStream, sink: trio.SocketStream) -> None:
            async for chunk in source:
                await sink.send_all(chunk)
            nursery.cancel_scope.cancel()

        async with onward, trio.open_nursery() as nursery:
            nursery.start_soon(copy, stream, onward)
            await copy(onward, stream)

    options = HttpOptions(user="me", password="s3cret", headers=(("X-Key", "k3y"),))
    async with (
        serving(tls=authority.server("proxied", host="shop.test")) as server,
        listening(tunnel) as port,
        probing(fake_resolver({})) as probe,
    ):
        through = replace(options, proxy=f"http://p:pr0xy@127.0.0.1:{port}")
        url = server.url(scheme="https", host="shop.test")
        result = await probe(spec(url, ca_file=authority.ca_file, options=through))
        inner = server.requests[0]
    assert (result.outcome, result.address) == (Outcome.PASS, None), result
    assert result.certificate_expires_s is not None
    [connect] = seen
    assert connect.startswith(b"CONNECT shop.test:")
    assert b"Proxy-" + basic("p:pr0xy") in connect
    assert b"X-Key" not in connect
    assert basic("me:s3cret") not in connect
    assert basic("me:s3cret") in inner
    assert b"X-Key: k3y" in inner
    assert b"Proxy-Authorization" not in inner


@pytest.mark.trio
async def test_a_plain_target_is_asked_for_from_the_proxy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "*")
    async with serving() as proxy, probing(fake_resolver({})) as probe:
        options = HttpOptions(proxy=proxy.url(""))
        result = await probe(spec("http://shop.test/x", options=options))
        assert proxy.requests[0].startswith(b"GET http://shop.test/x HTTP/1.1\r\n")
    assert (result.outcome, result.address) == (Outcome.PASS, None)


@pytest.mark.trio
async def test_trouble_with_the_proxy_is_not_the_targets():
    def answer(status: int) -> bytes:
        return f"HTTP/1.1 {status} s3cret\r\nContent-Length: 6\r\n\r\ns3cret".encode()

    cases = [
        (407, Outcome.ERROR, "the proxy wants another login (status 407)"),
        (403, Outcome.ERROR, "the proxy does not let this node through to the target (status 403)"),
        (502, Outcome.FAIL, "the proxy could not reach the target (status 502)"),
    ]
    async with probing() as probe:
        for status, outcome, detail in cases:
            async with serving(lambda _, status=status: answer(status)) as proxy:
                result = await probe(spec("https://shop.test/", options=HttpOptions(proxy=proxy.url(""))))
            assert (result.outcome, result.detail) == (outcome, detail)
        refused = await probe(spec("http://shop.test/", options=HttpOptions(proxy="http://127.0.0.1:1")))
        unnamed = await probe(spec("http://shop.test/", 2000, options=HttpOptions(proxy="http://no.invalid:1")))
        for proxy in ("socks5://127.0.0.1:1", "127.0.0.1:3128", "http://", "http://[s3cret"):
            useless = await probe(spec("http://127.0.0.1:1/", options=HttpOptions(proxy=proxy)))
            assert useless.outcome == Outcome.ERROR
            assert useless.detail.startswith("the proxy is not the URL of an HTTP proxy")
    assert refused.outcome == Outcome.ERROR
    assert refused.detail == "this node gets no connection to its proxy: connection refused"
    assert unnamed.outcome == Outcome.ERROR


@pytest.mark.trio
async def test_a_preferred_family_without_a_network_is_passed_over():
    """The same host without a route in one family and with a server in the other."""
    async with serving() as server, probing(fake_resolver({"shop.test": ["ff0e::1", "127.0.0.1"]})) as probe:
        result = await probe(spec(server.url(host="shop.test")))
    assert (result.outcome, result.address) == (Outcome.PASS, "127.0.0.1")
