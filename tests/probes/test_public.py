"""Probes for others ask public addresses only, however a target leads elsewhere."""

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio

from demesh.curl import CurlEngine
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import DnsOptions, PingOptions, ProbeSpec
from demesh.probes.public import admits_public, is_own, is_public
from demesh.probes.registry import Probes, Tools
from demesh.probes.resolving import Resolver

pytestmark = pytest.mark.trio


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "0.1.2.3"),
        *("224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%lo", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "fec0::1"),
        *("::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::"),
        *("2001:0:1::1", "::127.0.0.1", "localhost", "127.1", "0x7f000001", "", "2001:4860:4860::8888%eth0"),
    ],
)
async def test_not_public(address: str) -> None:
    assert not is_public(address)
    assert not admits_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
async def test_public(address: str) -> None:
    assert is_public(address)


async def test_the_addresses_of_this_machine_are_its_own() -> None:
    assert is_own("127.0.0.1")
    assert not is_own("8.8.8.8")


def _one(address: str) -> Callable[[str], list[str]]:
    return lambda host: [address] if host != "demesh.invalid" else []


async def _probe(spec: ProbeSpec, resolver: Resolver) -> ProbeResult:
    curl = CurlEngine()
    async with trio.open_nursery() as nursery:
        await nursery.start(curl.run)
        result = await Probes(Tools(curl, lambda: 0, resolver))[spec.type](spec)
        nursery.cancel_scope.cancel()
    return result


@pytest.mark.parametrize(
    ("type_", "target", "options"),
    [
        ("http", "http://{host}:{port}/", None),
        ("tcp", "tcp://{host}:{port}", None),
        ("tls", "tls://{host}:{port}", None),
        ("dns", "dns://{host}:{port}/example.org", DnsOptions()),
        ("dns", "dns://{host}:{port}/example.org", DnsOptions(transport="tcp")),
        ("ping", "ping://{host}", PingOptions()),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "inside.example"])
async def test_no_probe_asks_another_address(type_: str, target: str, options: Any, host: str) -> None:
    listener = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener[0].socket.getsockname()[1]
    spec = ProbeSpec(type_, target.format(host=host, port=port), 1_000, options=options)
    result = await _probe(spec, Resolver(_one("127.0.0.1"), admits=admits_public))
    assert result.outcome == (Outcome.ERROR if host == "127.0.0.1" else Outcome.FAIL)
    assert "public" in result.detail
    assert "127.0.0.1" not in result.detail
    with pytest.raises(trio.TooSlowError), trio.fail_after(0.05):
        await listener[0].accept()
    await listener[0].aclose()


async def test_no_redirect_leads_inside() -> None:
    inside: list[bytes] = []

    async def serve_inside(stream: trio.SocketStream) -> None:
        inside.append(await stream.receive_some())

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve_inside, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]

        async def redirect(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            where = f"http://127.0.0.1:{port}/".encode()
            await stream.send_all(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + where + b"\r\n\r\n")

        serve_outside = partial(trio.serve_tcp, redirect, 0, host="127.0.0.2")
        outside = (await nursery.start(serve_outside))[0].socket.getsockname()[1]
        # 127.0.0.2 stands for an address that is public.
        resolver = Resolver(_one("127.0.0.2"), admits=lambda address: address == "127.0.0.2")
        result = await _probe(ProbeSpec("http", f"http://outside.example:{outside}/", 2_000), resolver)
        nursery.cancel_scope.cancel()
    assert (result.outcome, inside) == (Outcome.ERROR, [])
    assert "public addresses only" in result.detail


async def test_whether_a_name_is_known_inside_is_not_told() -> None:
    def none(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such host")

    answers = [
        await _probe(ProbeSpec("http", "http://db.internal/", 1_000), Resolver(lookup, admits=admits_public))
        for lookup in (_one("10.0.0.7"), none)
    ]
    assert answers[0].detail == answers[1].detail == "the host name has no public address"
    assert answers[0].outcome == answers[1].outcome
