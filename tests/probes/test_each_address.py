"""A name that is checked on each of its addresses, against real servers at 127.0.0.1 and 127.0.0.2."""

import errno
import socket
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from demesh import limits
from demesh.curl import CurlEngine
from demesh.metrics import REFUSED
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import Expect, HttpOptions, ProbeSpec
from demesh.probes.each_address import judged
from demesh.probes.public import admits_listed
from demesh.probes.registry import Probes, Tools
from demesh.probes.resolving import Resolver
from tests.certificates import Authority
from tests.ports import free_port
from tests.probes.servers import DAY_MS, NOW_MS, fake_resolver, http, read_request, redirect

pytestmark = pytest.mark.trio
ONE, TWO = "127.0.0.1", "127.0.0.2"
BOTH = [ONE, TWO]
NAME = "pool.test"
PASS, FAIL, MISMATCH, TIMEOUT, ERROR = Outcome


class Servers:
    """Who listens at which address, all at one port, and what each has heard."""

    def __init__(self) -> None:
        self.port = free_port()
        self.heard: dict[str, list[bytes]] = {}

    def spec(self, scheme: str = "http", timeout_ms: int = 5_000, **more: object) -> ProbeSpec:
        target = f"{scheme}://{NAME}:{self.port}"
        return ProbeSpec(scheme.removesuffix("s"), target, timeout_ms, all_addresses=True, **more)  # pyright: ignore[reportArgumentType]


@asynccontextmanager
async def serving(**answers: bytes | None) -> AsyncGenerator[Servers]:
    """HTTP servers at `one` and `two`, as far as these are named; None never answers."""
    servers = Servers()

    async def serve(address: str, answer: bytes | None) -> None:
        async def handle(stream: trio.SocketStream) -> None:
            servers.heard[address].append(await read_request(stream))
            if answer is None:
                await trio.sleep_forever()
            else:
                await stream.send_all(answer)
            await stream.aclose()

        [listener] = await trio.open_tcp_listeners(servers.port, host=address)
        nursery.start_soon(trio.serve_listeners, handle, [listener])

    async with trio.open_nursery() as nursery:
        for name, answer in answers.items():
            address = {"one": ONE, "two": TWO}[name]
            servers.heard[address] = []
            await serve(address, answer)
        yield servers
        nursery.cancel_scope.cancel()


async def _run(spec: ProbeSpec, found: Sequence[str] | Resolver = BOTH, **more: object) -> ProbeResult:
    resolver = found if isinstance(found, Resolver) else fake_resolver({NAME: list(found)})
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        engine = CurlEngine()
        await nursery.start(engine.run)
        tools = Tools(engine, lambda: NOW_MS, resolver, **more)  # pyright: ignore[reportArgumentType]
        with trio.fail_after(spec.timeout_ms / 1_000 + 10):
            result = await Probes(tools)[spec.type](spec)
        nursery.cancel_scope.cancel()
        return result
    raise AssertionError


async def test_a_name_passes_if_all_its_addresses_do_and_each_was_asked_for_the_name() -> None:
    async with serving(one=http(), two=http()) as servers:
        result = await _run(servers.spec())
    assert (result.outcome, result.detail, result.address) == (PASS, "", f"{ONE},{TWO}")
    for address in BOTH:
        (request,) = servers.heard[address]
        assert f"Host: {NAME}:{servers.port}\r\n".encode() in request


async def test_the_name_is_looked_up_once_however_many_addresses_it_has() -> None:
    asked: list[str] = []

    def lookup(host: str) -> list[str]:
        asked.append(host)
        return BOTH

    async with serving(one=http(), two=http()) as servers:
        result = await _run(servers.spec(), Resolver(lookup))
    assert asked == [NAME]
    assert result.phases_us["dns"] > 0


async def test_one_that_is_dead_fails_the_check_and_is_named() -> None:
    async with serving(one=http()) as servers:
        first = ProbeSpec("http", f"http://{NAME}:{servers.port}", 5_000)
        assert (await _run(first)).outcome == PASS, "only the first is asked where nothing else is wanted"
        result = await _run(servers.spec())
    assert (result.outcome, result.detail) == (FAIL, f"1 of 2 addresses: {TWO}: connection refused")
    assert result.address == f"{ONE},{TWO}"


async def test_one_that_is_silent_keeps_none_of_the_others_back_and_ends_with_the_timeout() -> None:
    async with serving(one=None, two=http()) as servers:
        began = trio.current_time()
        result = await _run(servers.spec(timeout_ms=1_500))
        assert trio.current_time() - began < 4
    assert result.outcome == TIMEOUT
    assert result.detail.startswith(f"1 of 2 addresses: {ONE}: no complete answer within 1500 ms")
    assert len(servers.heard[TWO]) == 1


async def test_what_the_lookup_took_is_part_of_the_timeout() -> None:
    def lookup(_: str) -> list[str]:
        threading.Event().wait(2)
        return BOTH

    async with serving(one=None, two=http()) as servers:
        began = trio.current_time()
        result = await _run(servers.spec(timeout_ms=3_000), Resolver(lookup))
        assert trio.current_time() - began < 4.8
    assert result.detail.startswith(f"1 of 2 addresses: {ONE}: no complete answer within 3000 ms")


async def test_what_a_target_did_is_told_before_what_it_did_not_do() -> None:
    async with serving(one=None, two=http(status=503)) as servers:
        result = await _run(servers.spec(timeout_ms=1_500))
    assert result.outcome == MISMATCH
    assert result.detail.startswith(f"2 of 2 addresses: {ONE}: no complete answer within 1500 ms")
    assert f"; {TWO}: status 503" in result.detail


async def test_what_all_say_is_said_once() -> None:
    result = await _run(Servers().spec("tcp"))
    assert result.detail == f"2 of 2 addresses: {ONE}, {TWO}: connection refused"


def without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection over IPv6 is possible from here."""
    with trio.socket.socket() as some:
        kind = type(some)
    connect = kind.connect

    async def unreachable(self: trio.socket.SocketType, address: object) -> None:
        if self.family == socket.AF_INET6:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        await connect(self, address)

    monkeypatch.setattr(kind, "connect", unreachable)


async def test_an_address_that_this_node_cannot_ask_counts_neither_way(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ipv6(monkeypatch)
    found = ["2001:db8::1", ONE, TWO]
    async with serving(one=http(), two=http()) as servers:
        result = await _run(servers.spec("tcp"), found)
    assert (result.outcome, result.detail, result.address) == (PASS, "", f"{ONE},{TWO}")
    async with serving(two=http()) as servers:
        result = await _run(servers.spec("tcp"), found)
    others = "(1 more cannot be asked from here)"
    assert (result.outcome, result.detail) == (FAIL, f"1 of 2 addresses {others}: {ONE}: connection refused")


async def test_where_none_can_be_asked_it_is_this_nodes_error(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ipv6(monkeypatch)
    result = await _run(Servers().spec("tcp"), ["2001:db8::1", "2001:db8::2"])
    assert result.outcome == ERROR
    assert result.detail == (
        "2 of 2 addresses: 2001:db8::1, 2001:db8::2: no network: this node has no route to the address"
    )


async def test_the_name_is_what_certificates_must_bear_and_the_earliest_expiry_is_told(authority: Authority) -> None:
    servers, told = Servers(), []
    async with trio.open_nursery() as nursery:
        for address, days in ((ONE, 90), (TWO, 5)):
            context = authority.server(f"at-{address}", host=NAME, days=days)
            context.sni_callback = lambda _tls, name, _context: told.append(name)

            async def speak(plain: trio.SocketStream, context: object = context) -> None:
                stream = trio.SSLStream(plain, context, server_side=True, https_compatible=True)  # pyright: ignore[reportArgumentType]
                if b"GET" in await stream.receive_some():
                    await stream.send_all(http())
                await stream.aclose()

            [listener] = await trio.open_tcp_listeners(servers.port, host=address)
            nursery.start_soon(trio.serve_listeners, speak, [listener])
        expect = Expect(cert_expires_in_ms=7 * DAY_MS)
        result = await _run(servers.spec("https", ca_file=authority.ca_file, expect=expect))
        nursery.cancel_scope.cancel()
    assert told == [NAME, NAME]
    assert result.outcome == MISMATCH
    assert result.detail.startswith(f"1 of 2 addresses: {TWO}: certificate expires in "), result.detail
    assert result.certificate_expires_s is not None
    assert abs(result.certificate_expires_s * 1000 - NOW_MS - 5 * DAY_MS) < DAY_MS


async def test_a_redirect_to_another_host_goes_where_that_leads() -> None:
    async with serving(one=redirect("http://elsewhere.test:1/"), two=redirect(f"http://{NAME}/x")) as servers:
        resolver = fake_resolver({NAME: BOTH, "elsewhere.test": ["127.0.0.3"]})
        result = await _run(servers.spec(options=HttpOptions(follow_redirects=True)), resolver)
    assert "elsewhere.test" not in result.detail
    assert result.detail.startswith(f"2 of 2 addresses: {ONE}, {TWO}: after 1 redirect: connection refused")


async def test_a_listed_check_asks_none_of_the_addresses_that_are_not_public() -> None:
    refused = REFUSED.labels("probes", "address")
    before = refused._value.get()
    async with serving(one=http(), two=http()) as servers:
        resolver = Resolver(lambda _: ["10.1.2.3", TWO, "8.8.8.8"], admits=admits_listed, discreet=False)
        found = await resolver.resolve_all(NAME, 1)
        none = Resolver(lambda _: BOTH, admits=admits_listed, discreet=False)
        result = await _run(servers.spec(), none)
    assert found == ["8.8.8.8"]
    assert result.outcome == ERROR
    assert "no public address" in result.detail
    assert servers.heard == {ONE: [], TWO: []}
    assert refused._value.get() == before + 4


async def test_at_most_so_many_are_asked_of_both_families_and_the_rest_are_counted() -> None:
    refused = REFUSED.labels("probes", "addresses")
    before = refused._value.get()
    found = [f"127.0.1.{n}" for n in range(20)] + ["::1"] + [f"fd00:dead::{n}" for n in range(1, 3)]
    result = await _run(Servers().spec("tcp", 1_000), found)
    assert result.address is not None
    assert (await _run(Servers().spec("tcp", 1_000), found[::-1])).address == result.address, "the same ones each time"
    assert result.address.startswith("127.0.1.0,127.0.1.1,127.0.1.2,")
    assert refused._value.get() == before + 2 * (len(found) - limits.NAME_ADDRESSES_MAX)


async def test_in_whatever_order_a_name_is_answered_the_result_is_the_same() -> None:
    async with serving(one=http(), two=http()) as servers:
        texts = {(await _run(servers.spec(), found)).address for found in (BOTH, BOTH[::-1], BOTH + BOTH)}
    assert texts == {f"{ONE},{TWO}"}


async def test_where_many_such_checks_hang_the_other_addresses_of_one_more_are_not_blamed() -> None:
    async with serving(one=http()) as servers:
        result = await _run(servers.spec(timeout_ms=1_500), other_addresses=trio.Semaphore(0))
    assert (result.outcome, result.address) == (PASS, ONE)


async def test_a_name_with_one_address_is_as_it_always_is() -> None:
    async with serving(one=http(status=503)) as servers:
        result = await _run(servers.spec(), [ONE])
        usual = await _run(ProbeSpec("http", f"http://{NAME}:{servers.port}", 5_000), [ONE])
    assert (result.outcome, result.detail, result.address) == (usual.outcome, usual.detail, usual.address)


async def test_only_the_family_that_is_wanted_is_asked() -> None:
    async with serving(one=http(), two=http()) as servers:
        assert (await _run(servers.spec(ip_version=4), ["::1", *BOTH])).address == f"{ONE},{TWO}"
        result = await _run(servers.spec(ip_version=6))
    assert (result.outcome, result.detail) == (FAIL, "the host name has no IPv6 address")


@pytest.mark.parametrize(
    "target",
    [
        *(
            "http://{}/",
            "https://{}/",
            "tcp://{}",
            "tls://{}",
            "dns://{}/a.test",
            "stun://{}",
            "stuns://{}",
            "turn://{}",
        ),
        *("mqtt://{}", "mqtt+ws://{}/x", "ntp://{}"),
    ],
)
async def test_each_type_that_looks_a_name_up_asks_each_address(target: str) -> None:
    target = target.format(f"{NAME}:{free_port()}")
    type_ = {"https": "http", "stuns": "stun", "mqtt+ws": "mqtt"}.get(
        target.partition(":")[0], target.partition(":")[0]
    )
    result = await _run(ProbeSpec(type_, target, 3_000, all_addresses=True, verify_tls=False))
    assert result.outcome == FAIL
    together, apart = f"2 of 2 addresses: {ONE}, {TWO}: ", (f"2 of 2 addresses: {ONE}: ", f"; {TWO}: ")
    assert result.detail.startswith(together) or all(each in result.detail for each in apart), result.detail


async def test_pings_are_answered_by_each_address() -> None:
    result = await _run(ProbeSpec("ping", f"ping://{NAME}", 3_000, all_addresses=True))
    assert (result.outcome, result.address) == (PASS, f"{ONE},{TWO}")


async def test_of_what_passes_the_slowest_is_told_and_of_clocks_the_one_in_the_middle() -> None:
    results = {
        f"192.0.2.{n}": ProbeResult(PASS, latency_us=ms * 1_000, clock_offset_us=offset)
        for n, (ms, offset) in enumerate(((5, 70), (9, -3), (7, 1)))
    }
    told = judged(results)
    assert (told.outcome, told.latency_us, told.clock_offset_us) == (PASS, 9_000, 1)


@pytest.mark.parametrize("first", [PASS, FAIL, ERROR])
async def test_one_that_asks_to_be_left_alone_is_enough_for_all_to_be(first: Outcome) -> None:
    for confirm in (True, False):
        results = {"192.0.2.1": ProbeResult(first), "192.0.2.2": ProbeResult(FAIL, confirm=confirm)}
        assert judged(results).confirm == judged(dict(reversed(results.items()))).confirm == confirm


@pytest.mark.parametrize("target", ["dns:///a.test", "tcp://127.0.0.1:1"])
async def test_what_has_no_name_to_look_up_is_asked_as_always(target: str) -> None:
    result = await _run(ProbeSpec(target.partition(":")[0], target, 300, all_addresses=True))
    assert "addresses" not in result.detail
