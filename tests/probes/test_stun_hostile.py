"""The STUN probe against servers that are silent, refuse, lie or send garbage: a sentence, never a crash, in bounded time."""

import socket
from typing import Any

import pytest
import trio

from demesh.limits import STUN_BYTES_MAX, STUN_STRAYS_MAX
from demesh.metrics import REFUSED
from demesh.outcome import Outcome
from tests.ports import free_port
from tests.probes.dns_servers import saying
from tests.probes.servers import listening
from tests.probes.stun_servers import ask, reply

PASS, FAIL, MISMATCH, TIMEOUT = Outcome.PASS, Outcome.FAIL, Outcome.MISMATCH, Outcome.TIMEOUT
MAPPED: dict[str, Any] = {"XOR_MAPPED_ADDRESS": ("192.0.2.1", 1234)}
pytestmark = pytest.mark.trio


def good(request: bytes) -> bytes:
    return reply(request, **MAPPED)


def other_id(request: bytes) -> bytes:
    answer = reply(request, XOR_MAPPED_ADDRESS=("192.0.2.66", 1))
    return answer[:8] + bytes([answer[8] ^ 1]) + answer[9:]


def of_type(type_: int, request: bytes) -> bytes:
    return type_.to_bytes(2, "big") + good(request)[2:]


@pytest.mark.parametrize(
    ("respond", "outcome", "detail"),
    [
        (good, PASS, ""),
        (lambda r: reply(r, MAPPED_ADDRESS=("192.0.2.1", 1234)), PASS, ""),
        (lambda r: reply(r, SOFTWARE="padded", **MAPPED), PASS, ""),
        (lambda r: reply(r, error=True, ERROR_CODE=(420, "Unknown\x1b[2J")), FAIL, "error 420 (Unknown [2J)"),
        (lambda r: reply(r, error=True, ERROR_CODE=(500, "")), FAIL, "the server answers with error 500"),
        (lambda r: reply(r, error=True), MISMATCH, "an error without a code"),
        (reply, MISMATCH, "the answer has no mapped address"),
        (lambda r: r, MISMATCH, "sends back what it is sent"),
        (lambda r: of_type(0x0FFF, r), MISMATCH, "garbled"),
        (lambda r: of_type(0x0103, r), MISMATCH, "of another kind than the request"),
        (lambda r: of_type(0x0011, r), MISMATCH, "of another kind than the request"),
        (lambda r: good(r)[:-4], MISMATCH, "garbled"),
        (lambda r: good(r)[:22], MISMATCH, "garbled"),
        (lambda r: good(r) + bytes(60_000), MISMATCH, "garbled"),
        (lambda r: good(r)[:-8] + b"\0\3" + good(r)[-6:], MISMATCH, "garbled"),
    ],
)
async def test_each_answer_is_told_for_what_it_is(respond, outcome: Outcome, detail: str):
    async with saying(lambda request: [respond(request)]) as port:
        result = await ask(f"stun://127.0.0.1:{port}")
    assert result.outcome == outcome, result.detail
    assert detail in result.detail
    assert "\x1b" not in result.detail
    assert result.facts.get("mapped_address") == ("192.0.2.1:1234" if outcome == PASS else None)


@pytest.mark.parametrize(
    "spoof",
    [
        other_id,
        lambda _: b"",
        lambda _: b"\1\1",
        lambda r: r[:4] + bytes(4) + good(r)[8:],
        lambda _: b"HTTP/1.1 400 " * 4,
    ],
)
async def test_a_message_that_is_no_answer_is_passed_over_and_counted(spoof):
    counted = REFUSED.labels("stun", "stray_reply")._value
    before = counted.get()
    async with saying(lambda request: [spoof(request), good(request)]) as port:
        result = await ask(f"stun://127.0.0.1:{port}")
    assert (result.outcome, result.facts["mapped_address"]) == (PASS, "192.0.2.1:1234")
    assert counted.get() == before + 1


@pytest.mark.parametrize(
    ("respond", "outcome", "detail"),
    [
        (lambda r: [], TIMEOUT, "no answer within 450 ms"),
        (lambda r: [other_id(r)], TIMEOUT, "no answer within 450 ms; ignored 1 to another request"),
        (lambda r: [b"no STUN at all"], MISMATCH, "the answer is not STUN"),
        (lambda r: [other_id(r)] * (STUN_STRAYS_MAX + 1), FAIL, f"more than {STUN_STRAYS_MAX} messages"),
    ],
)
async def test_who_never_answers_is_told_in_time(respond, outcome: Outcome, detail: str):
    async with saying(respond) as port:
        with trio.fail_after(10):
            # Before the second request is sent, or long after it.
            result = await ask(f"stun://127.0.0.1:{port}", 450 if outcome is TIMEOUT else 5_000)
    assert result.outcome == outcome
    assert result.detail.startswith(detail)


async def test_an_answer_from_another_address_is_not_heard():
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        await elsewhere.bind(("127.0.0.2", 0))
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            await server.bind(("127.0.0.1", 0))

            async def serve() -> None:
                request, source = await server.recvfrom(4096)
                await elsewhere.sendto(good(request), source)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                result = await ask(f"stun://127.0.0.1:{server.getsockname()[1]}", 300)
    assert result.outcome == TIMEOUT


async def test_a_request_that_is_lost_is_sent_again_and_costs_what_it_cost():
    requests: list[bytes] = []

    def respond(request: bytes) -> list[bytes]:
        requests.append(request)
        return [good(request)] if len(requests) == 2 else []

    async with saying(respond) as port:
        result = await ask(f"stun://127.0.0.1:{port}")
    assert result.outcome == PASS
    assert requests[0] == requests[1]
    assert result.latency_us is not None
    assert result.latency_us >= 500_000


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_a_refusal_is_a_failure_at_once(host: str):
    result = await ask(f"stun://{host}:{free_port()}")
    assert (result.outcome, result.detail) == (FAIL, f"port unreachable, says {host.strip('[]')}")
    over_tcp = await ask(f"stun://127.0.0.1:{free_port()}", transport="tcp")
    assert (over_tcp.outcome, over_tcp.detail) == (FAIL, "connection refused")


@pytest.mark.parametrize(
    ("said", "outcome", "detail"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", MISMATCH, "the answer is not STUN"),
        (b"\1\1\xff\xfc\x21\x12\xa4\x42" + bytes(12), MISMATCH, f"more than the {STUN_BYTES_MAX} that are read"),
        (b"", FAIL, "the connection was closed without an answer"),
        (b"\1\1\0", FAIL, "the connection was closed before the answer was complete"),
    ],
)
async def test_a_connection_that_brings_no_answer_is_told_for_what_it_is(said: bytes, outcome: Outcome, detail: str):
    async def speak(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(said)
        await stream.aclose()

    async with listening(speak) as port:
        result = await ask(f"stun://127.0.0.1:{port}", transport="tcp")
    assert result.outcome == outcome
    assert detail in result.detail


async def test_an_answer_in_pieces_after_another_is_found():
    async def speak(stream: trio.SocketStream) -> None:
        request = bytes(await stream.receive_some())
        for byte in other_id(request) + good(request):
            await stream.send_all(bytes([byte]))
        await stream.receive_some()

    async with listening(speak) as port:
        result = await ask(f"stun://127.0.0.1:{port}", transport="tcp")
    assert result.outcome == PASS, result.detail
