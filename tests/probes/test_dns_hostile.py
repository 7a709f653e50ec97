"""The DNS probe against servers that are silent, refuse, lie or send garbage: a sentence, never a crash, in bounded time."""

import socket
import struct
import threading
import time

import pytest
import trio

from demesh.limits import DNS_STRAYS_MAX, DNS_TCP_BYTES_MAX
from demesh.metrics import REFUSED
from demesh.outcome import Outcome
from demesh.probes.base import DnsOptions, Expect, ProbeSpec
from tests.ports import free_port
from tests.probes.dns_servers import answer, ask, dns_probe, saying
from tests.probes.servers import listening

GOOD = "x.test. 60 IN A 192.0.2.1"
TCP = DnsOptions(transport="tcp")


def other_id(query: bytes) -> bytes:
    reply = answer(query, "x.test. 60 IN A 192.0.2.66")
    return bytes([reply[0] ^ 1]) + reply[1:]


def other_name(query: bytes) -> bytes:
    return answer(query, "x.test. 60 IN A 192.0.2.66").replace(b"\1x\4test", b"\1y\4test", 1)


def strays() -> float:
    return REFUSED.labels("dns", "stray_reply")._value.get()


@pytest.mark.trio
@pytest.mark.parametrize("spoof", [other_id, other_name, lambda query: query, lambda _: b"", lambda _: b"\0" * 11])
async def test_a_reply_to_another_question_is_ignored_and_counted(spoof):
    before = strays()
    async with saying(lambda query: [spoof(query), answer(query, GOOD)]) as port:
        result = await ask(f"dns://127.0.0.1:{port}/x.test", expect=Expect(records=("192.0.2.1",)))
    assert (result.outcome, result.detail) == (Outcome.PASS, "")
    assert strays() == before + 1


@pytest.mark.trio
async def test_a_reply_from_another_address_is_not_heard():
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as spoofer:
        await spoofer.bind(("127.0.0.2", 0))

        async def spoof(query: bytes, source) -> None:
            await spoofer.sendto(answer(query, GOOD), source)

        async with trio.open_nursery() as nursery:
            with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
                await server.bind(("127.0.0.1", 0))

                async def serve() -> None:
                    query, source = await server.recvfrom(4096)
                    await spoof(query, source)

                nursery.start_soon(serve)
                result = await ask(f"dns://127.0.0.1:{server.getsockname()[1]}/x.test", timeout_ms=300)
    assert (result.outcome, result.detail) == (Outcome.TIMEOUT, "no answer within 300 ms")


@pytest.mark.trio
async def test_only_spoofs_end_in_a_timeout_that_tells_of_them_and_a_flood_ends_at_once():
    async with saying(lambda query: [other_id(query)] * 3) as port:
        few = await ask(f"dns://127.0.0.1:{port}/x.test", timeout_ms=300)
    assert few.outcome == Outcome.TIMEOUT
    assert few.detail == "no answer within 300 ms; ignored 3 that answer another question"
    async with saying(lambda query: [other_id(query)] * (DNS_STRAYS_MAX + 20)) as port:
        many = await ask(f"dns://127.0.0.1:{port}/x.test", timeout_ms=60_000)
    assert many.outcome == Outcome.FAIL
    assert many.detail == f"more than {DNS_STRAYS_MAX} datagrams that answer another question"


@pytest.mark.trio
@pytest.mark.parametrize("cut", [13, 20, -12, -16])
async def test_garbage_under_our_id_fails(cut: int):
    async with saying(lambda query: [answer(query, GOOD)[:cut]]) as port:
        result = await ask(f"dns://127.0.0.1:{port}/x.test")
    assert (result.outcome, result.detail) == (Outcome.FAIL, "the answer is not a DNS message that can be read")


@pytest.mark.trio
async def test_a_closed_port_fails_and_names_who_said_so():
    result = await ask(f"dns://127.0.0.1:{free_port()}/x.test")
    assert (result.outcome, result.detail) == (Outcome.FAIL, "port unreachable, says 127.0.0.1")
    assert (result.latency_us, result.address) == (None, "127.0.0.1")
    over_tcp = await ask(f"dns://127.0.0.1:{free_port()}/x.test", options=TCP)
    assert (over_tcp.outcome, over_tcp.detail) == (Outcome.FAIL, "connection refused")


@pytest.mark.trio
async def test_a_cut_reply_without_tcp_behind_it_fails():
    def cut(query: bytes) -> list[bytes]:
        reply = answer(query)
        return [reply[:2] + bytes([reply[2] | 2]) + reply[3:]]

    async with saying(cut) as port:
        result = await ask(f"dns://127.0.0.1:{port}/x.test")
    assert (result.outcome, result.detail) == (Outcome.FAIL, "connection refused")
    assert list(result.phases_us) == ["truncated"]


@pytest.mark.trio
@pytest.mark.parametrize(
    ("reply", "outcome", "detail"),
    [
        (b"", Outcome.FAIL, "the connection was closed without an answer"),
        (b"\0", Outcome.FAIL, "the connection was closed before the answer was complete"),
        (b"\0\5abc", Outcome.FAIL, "the connection was closed before the answer was complete"),
        (b"\0\4abcd", Outcome.FAIL, "the answer is not DNS, or is to another question"),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            Outcome.FAIL,
            f"the answer has {0x5353} bytes, more than the {DNS_TCP_BYTES_MAX} that are read",
        ),
        (None, Outcome.TIMEOUT, "no complete answer within 1000 ms, still waiting for the answer"),
    ],
)
async def test_a_connection_that_gives_no_answer(reply: bytes | None, outcome: Outcome, detail: str):
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        if reply is None:
            await trio.sleep_forever()
        await stream.send_all(reply or b"")
        await stream.aclose()

    async with listening(serve) as port:
        result = await ask(f"dns://127.0.0.1:{port}/x.test", options=TCP, timeout_ms=1_000)
    assert (result.outcome, result.detail) == (outcome, detail)


@pytest.mark.trio
async def test_the_kernel_times_the_answer_however_busy_the_node_is():
    async def hog() -> None:
        while True:
            time.sleep(0.05)  # noqa: ASYNC251 a loop that is held up is the point
            await trio.lowlevel.checkpoint()

    def respond(sock: socket.socket) -> None:
        while (received := sock.recvfrom(4096))[0] != b"end":
            sock.sendto(answer(received[0], GOOD), received[1])

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        responder = threading.Thread(target=respond, args=(sock,), daemon=True)
        responder.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hog)
            results = [await ask(f"dns://127.0.0.1:{sock.getsockname()[1]}/x.test") for _ in range(5)]
            nursery.cancel_scope.cancel()
        sock.sendto(b"end", sock.getsockname())
        responder.join()
    assert {result.outcome for result in results} == {Outcome.PASS}
    took_us = sorted(result.latency_us for result in results if result.latency_us is not None)
    assert len(took_us) == 5
    assert took_us[2] < 40_000, "the responder may be late on a busy machine, but not most of the time"


@pytest.mark.trio
async def test_a_reply_cut_short_over_a_connection_fails():
    async def serve(stream: trio.SocketStream) -> None:
        reply = answer((await stream.receive_some())[2:])
        await stream.send_all(struct.pack("!H", len(reply)) + reply[:2] + bytes([reply[2] | 2]) + reply[3:])

    async with listening(serve) as port:
        result = await ask(f"dns://127.0.0.1:{port}/x.test", options=TCP)
    assert (result.outcome, result.detail) == (Outcome.FAIL, "the answer is cut short though it came over a connection")


@pytest.mark.trio
async def test_who_asks_for_any_record_accepts_none():
    async with saying(lambda query: [answer(query)]) as port:
        anything = await ask(f"dns://127.0.0.1:{port}/x.test", options=DnsOptions("ANY"))
        address = await ask(f"dns://127.0.0.1:{port}/x.test")
    assert (anything.outcome, address.outcome) == (Outcome.PASS, Outcome.MISMATCH)


@pytest.mark.trio
@pytest.mark.parametrize(
    ("target", "options", "expect", "detail"),
    [
        ("dns://127.0.0.1/", DnsOptions(), Expect(), "the target is not of the form"),
        ("dns://127.0.0.1:0/x", DnsOptions(), Expect(), "the target is not of the form"),
        ("dns://127.0.0.1:x/x", DnsOptions(), Expect(), "the target is not a URL"),
        ("http://127.0.0.1/x", DnsOptions(), Expect(), "the target is not of the form"),
        ("dns://127.0.0.1/a..b", DnsOptions(), Expect(), "'a..b' is not a name"),
        ("dns://127.0.0.1/%FF", DnsOptions(), Expect(), "the target is not a URL"),
        ("dns://127.0.0.1/x", DnsOptions("NOPE"), Expect(), "'NOPE' is not a type"),
        ("dns://127.0.0.1/x", DnsOptions("AXFR"), Expect(), "records of type 'AXFR' cannot"),
        ("dns://127.0.0.1/x", DnsOptions(), Expect(rcode="YES"), "'YES' is no DNS response code"),
        ("dns://127.0.0.1/x", DnsOptions(), Expect(records=("1.2.3",)), "'1.2.3' is not the data of"),
    ],
)
async def test_what_cannot_be_asked_is_an_error(target: str, options: DnsOptions, expect: Expect, detail: str):
    result = await dns_probe()(ProbeSpec("dns", target, 1000, expect, options=options))
    assert result.outcome == Outcome.ERROR
    assert result.detail.startswith(detail)


@pytest.mark.trio
async def test_the_query_says_what_was_asked():
    queries: list[bytes] = []

    def note(query: bytes) -> list[bytes]:
        queries.append(query)
        return [answer(query)]

    async with saying(note) as port:
        for recursion in (True, False, False):  # two of the random ids may well be the same
            await ask(f"dns://127.0.0.1:{port}/0%2F25.x.test", options=DnsOptions("PTR", recursion=recursion))
    desired = [struct.unpack_from("!H", query, 2)[0] for query in queries]
    assert desired == [0x0100, 0, 0]
    assert all(query[12:].startswith(b"\x040/25\1x\4test\0\0\x0c\0\1") for query in queries)
    assert len({query[:2] for query in queries}) > 1
