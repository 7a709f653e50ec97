"""The MQTT probe against brokers that refuse, are silent, lie, or send garbage without end: a sentence, in bounds."""

import base64
import hashlib
import re
import tracemalloc
from collections.abc import Callable

import pytest
import trio

from demesh.limits import MQTT_BYTES_MAX
from demesh.outcome import Outcome
from demesh.probes.base import MqttOptions
from tests.ports import free_port
from tests.probes.mqtt_servers import (
    ACKNOWLEDGED,
    WELCOME,
    Packet,
    ask,
    broker,
    message,
    proper,
)
from tests.probes.servers import listening

PASS, FAIL, MISMATCH, TIMEOUT, ERROR = Outcome.PASS, Outcome.FAIL, Outcome.MISMATCH, Outcome.TIMEOUT, Outcome.ERROR
_NOT_MQTT = "the answer is not MQTT"
_TOO_MUCH = "the broker sends more than was asked for"
_CONNECT, _PUBLISH, _SUBSCRIBE = 1, 3, 8


def _but(kind: int, answer: bytes | Callable[[Packet], bytes] | None):
    """A broker that is proper but for what it says to one kind of packet."""

    def say(packet: Packet) -> bytes | None:
        if packet.kind != kind:
            return proper(packet)
        return answer(packet) if callable(answer) else answer

    return say


@pytest.mark.trio
@pytest.mark.parametrize(
    ("say", "outcome", "detail"),
    [
        (proper, PASS, ""),
        (
            _but(_CONNECT, b"\x20\x02\0\1"),
            FAIL,
            "the broker refuses the connection: it does not speak this version of MQTT",
        ),
        (
            _but(_CONNECT, b"\x20\x02\0\2"),
            FAIL,
            "the broker refuses the connection: it does not accept the client's name",
        ),
        (_but(_CONNECT, b"\x20\x02\0\3"), FAIL, "the broker refuses the connection: it is not available"),
        (_but(_CONNECT, b"\x20\x02\0\4"), FAIL, "the broker refuses the connection: wrong user or password"),
        (_but(_CONNECT, b"\x20\x02\0\5"), FAIL, "the broker refuses the connection: not authorized"),
        (_but(_CONNECT, b"\x20\x02\0\x63"), FAIL, "the broker refuses the connection"),
        (_but(_CONNECT, b"HTTP/1.1 400 Bad Request\r\n\r\n"), FAIL, _NOT_MQTT),
        (_but(_CONNECT, b"\x20\xff\xff\xff\xff\xff"), FAIL, _NOT_MQTT),
        (_but(_CONNECT, b"\x20\x00"), FAIL, _NOT_MQTT),
        (_but(_CONNECT, WELCOME + b"\xf0\x00"), FAIL, _NOT_MQTT),
        (_but(_CONNECT, None), FAIL, "the broker closed the connection"),
        (_but(_SUBSCRIBE, b"\x90\x03\0\1\x80"), FAIL, "the broker does not let it subscribe"),
        (_but(_SUBSCRIBE, b"\x90\x01\0"), FAIL, _NOT_MQTT),
        (_but(_SUBSCRIBE, None), FAIL, "the broker closed the connection"),
        (_but(_PUBLISH, None), FAIL, "the broker closed the connection"),
        (
            _but(_PUBLISH, lambda packet: ACKNOWLEDGED + message(packet.published[0], b"another")),
            MISMATCH,
            "its own topic brought another message, of 7 bytes",
        ),
        (
            _but(_PUBLISH, lambda packet: message(b"\xff\xfe", b"x") + ACKNOWLEDGED + message(*packet.published)),
            PASS,
            "",
        ),
    ],
)
async def test_what_a_broker_says_ends_in_a_sentence(say, outcome: Outcome, detail: str):
    async with broker(say) as port:
        result = await ask(f"mqtt://127.0.0.1:{port}")
    assert (result.outcome, result.detail) == (outcome, detail)


@pytest.mark.trio
@pytest.mark.parametrize(
    ("say", "waiting"),
    [
        (_but(_CONNECT, b""), "still waiting to be let in"),
        (_but(_CONNECT, WELCOME[:3]), "still waiting to be let in"),
        (_but(_CONNECT, b"\x20\xff\xff\x7f" + b"x" * 100), "still waiting to be let in"),
        (_but(_SUBSCRIBE, b""), "still waiting to be subscribed"),
        (_but(_PUBLISH, ACKNOWLEDGED), "still waiting for its own message"),
        (
            _but(_PUBLISH, lambda packet: ACKNOWLEDGED + 2 * message(b"other", packet.published[1])),
            "still waiting for its own message, 2 of others came",
        ),
        (_but(_PUBLISH, lambda packet: message(*packet.published)), "still waiting for its message to be acknowledged"),
    ],
)
async def test_who_says_too_little_is_a_timeout_that_says_what_is_missing(say, waiting: str):
    async with broker(say) as port:
        result = await ask(f"mqtt://127.0.0.1:{port}", timeout_ms=1_500)
    assert (result.outcome, result.detail) == (TIMEOUT, f"no complete answer within 1500 ms, {waiting}")


@pytest.mark.trio
@pytest.mark.parametrize(
    "flood",
    [
        WELCOME + b"\xd0\x00" * 10_000,  # PINGRESP, the shortest of packets
        WELCOME + message(b"other", b"x" * 100) * 10_000,
        b"\x20\xff\xff\xff\x7f" + b"x" * 1_000_000,  # one packet that is 256 MB long
        WELCOME + b"\x34\x07\x00\x01t\x00\x01ab" * 10_000,  # QoS 2, of which a client must remember each
    ],
)
async def test_a_broker_that_does_not_stop_is_left(flood: bytes):
    async with broker(_but(_CONNECT, flood)) as port:
        tracemalloc.start()
        result = await ask(f"mqtt://127.0.0.1:{port}")
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (result.outcome, result.detail) == (FAIL, _TOO_MUCH)
    assert peak_bytes < 10_000_000


@pytest.mark.trio
@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "the server refuses a WebSocket, with status 404"),
        (
            b"HTTP/1.1 301 X\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n",
            "the server refuses a WebSocket, with status 301",
        ),
        (b"\0\1\2garbage\r\n\r\n", "the answer is not that of a WebSocket"),
        (
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: no\r\n\r\n",
            "the answer is not that of a WebSocket",
        ),
        (b"HTTP/1.1 101 X\r\n" + b"X-Y: z\r\n" * 10_000, None),
    ],
)
async def test_what_is_no_websocket_ends_in_a_sentence(answer: bytes, detail: str | None):
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        await trio.sleep_forever()

    async with listening(serve) as port:
        result = await ask(f"mqtt+ws://127.0.0.1:{port}/mqtt")
    assert result.outcome == FAIL
    assert (
        result.detail == detail if detail else "more than was asked for" in result.detail or "not that" in result.detail
    )


def _accepted(request: bytes) -> bytes:
    key = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
    assert key
    digest = hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    accept = base64.b64encode(digest).decode()
    head = ("HTTP/1.1 101 X", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}")
    return "\r\n".join((*head, "Sec-WebSocket-Protocol: mqtt", "", "")).encode()


@pytest.mark.trio
@pytest.mark.parametrize(
    ("frames", "outcome", "detail"),
    [
        (b"\x81\x02hi", FAIL, "the WebSocket carries text, not MQTT"),
        (b"\x88\x02\x03\xe8", FAIL, "the server closed the WebSocket"),
        (b"\xff\xff\xff\xff", FAIL, None),
        (b"\x89\x00" * 20_000, FAIL, "the server sends more than was asked for"),
        (b"\x82\x7f\0\0\0\x01\0\0\0\0" + b"\x20" * MQTT_BYTES_MAX, FAIL, None),
        (b"\x82\x04HTTP", FAIL, _NOT_MQTT),
        (b"\x02\x02\x20\x02\x80\x02\0\5", FAIL, "the broker refuses the connection: not authorized"),
        (b"\x82\x01\x20\x89\x01x", TIMEOUT, "no complete answer within 1000 ms, still waiting to be let in"),
    ],
)
async def test_what_a_websocket_brings_ends_in_a_sentence(frames: bytes, outcome: Outcome, detail: str | None):
    requests: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        requests.append(bytes(await stream.receive_some()))
        await stream.send_all(_accepted(requests[0]) + frames)
        await trio.sleep_forever()

    async with listening(serve) as port:
        result = await ask(f"mqtt+ws://me:sesame@127.0.0.1:{port}/a%20b?", timeout_ms=1_000)
    assert result.outcome == outcome
    assert result.detail == detail or detail is None
    assert requests[0].startswith(b"GET /a%20b HTTP/1.1\r\n")
    assert f"127.0.0.1:{port}".encode() in requests[0]
    assert b"sesame" not in requests[0]


@pytest.mark.trio
@pytest.mark.parametrize("target", ["mqtt://", "mqtt://a:99999", "mqtt://[::1", "ftp://a:1"])
async def test_what_is_no_target_is_this_nodes_mistake(target: str):
    assert (await ask(target)).outcome == ERROR


@pytest.mark.trio
async def test_nothing_of_a_login_is_told():
    async with broker(_but(_CONNECT, b"\x20\x02\0\4")) as port:
        result = await ask(f"mqtt://sesame:sesame@127.0.0.1:{port}")
        options = MqttOptions(user="sesame", password="sesame" * 20_000)
        too_long = await ask(f"mqtt://127.0.0.1:{port}", options=options)
    assert too_long.detail == "the user or the password is none that MQTT can send"
    assert "sesame" not in f"{result}{too_long}{options}"


@pytest.mark.trio
async def test_where_nobody_listens_is_told():
    result = await ask(f"mqtt://127.0.0.1:{free_port()}")
    assert (result.outcome, result.detail) == (FAIL, "connection refused")
