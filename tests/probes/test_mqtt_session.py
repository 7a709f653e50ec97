"""One MQTT session in memory: what paho is held to, what version 5 says, and that no bytes do any harm."""

import re
import threading
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client

from demesh.failure import Failed
from demesh.probes.mqtt_session import MqttSession
from tests.probes.mqtt_servers import ACKNOWLEDGED, SUBSCRIBED, WELCOME, message, packets


def test_paho_speaks_through_memory_alone(monkeypatch: pytest.MonkeyPatch):
    """The contract with paho: `_create_socket` is private, and all that keeps it from connecting by itself."""
    assert callable(Client._create_socket)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("paho opens a socket of its own")

    monkeypatch.setattr("socket.socket.connect", forbidden)
    monkeypatch.setattr("socket.getaddrinfo", forbidden)
    threads = set(threading.enumerate())
    session = MqttSession("3.1.1", "demesh", "t", b"p")
    session.connect("me", "sesame", 60)
    (first,) = packets(bytearray(session.to_send()))
    assert (first.kind, first.body) == (1, b"\0\x04MQTT\x04\xc2\0\x3c\0\x06demesh\0\x02me\0\x06sesame")
    session.receive(WELCOME)
    session.subscribe()
    session.receive(SUBSCRIBED[:2])
    assert (session.connected, session.subscribed) == (True, False)
    session.receive(SUBSCRIBED[2:])
    session.publish()
    assert [packet.kind for packet in packets(bytearray(session.to_send()))] == [8, 3]
    session.receive(ACKNOWLEDGED + message(b"t", b"p"))
    assert (session.subscribed, session.acknowledged, session.returned) == (True, True, True)
    session.disconnect()
    assert (session.to_send(), session.to_send()) == (b"\xe0\0", b"")
    assert set(threading.enumerate()) <= threads


def _fed(*pieces: bytes) -> MqttSession:
    session = MqttSession("5", "demesh", "t", b"p")
    session.connect("", "", 60)
    for piece in pieces:
        session.receive(piece)
    return session


@given(st.lists(st.binary(max_size=80), max_size=8), st.sampled_from((b"", b"\x20\x03\0\0\0", WELCOME)))
def test_no_bytes_raise_anything_but_a_sentence(pieces: list[bytes], first: bytes):
    for version in ("3.1.1", "5"):
        session = MqttSession(version, "demesh", "t", b"p")
        session.connect("", "", 60)
        with suppress(Failed):
            for piece in filter(None, (first, *pieces)):
                session.receive(piece)


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (b"\x20\x03\0\x87\0", "the broker refuses the connection: not authorized"),
        (b"\x20\x03\0\x9f\0", "the broker refuses the connection: too many connections"),
        (b"\x20\x03\0\0\0\xe0\x01\x8b", "the broker ended the connection: it is shutting down"),
        (b"\x20\x03\0\0\0\xe0\x00", "the broker ended the connection"),
        (b"\x20\x03\0\0\0\x90\x04\0\1\0\x87", "the broker does not let it subscribe: not authorized"),
    ],
)
def test_reasons_of_version_5_are_told_in_words(said: bytes, detail: str):
    with pytest.raises(Failed, match=f"^{re.escape(detail)}$"):
        _fed(said)


def test_a_broker_that_takes_no_quality_of_service_is_published_to_without():
    session = _fed(b"\x20\x05\0\0\x02\x24\0")  # Maximum QoS 0
    session.to_send()
    session.subscribe()
    session.publish()
    assert [packet.kind for packet in packets(bytearray(session.to_send()))] == [8, 3]
    assert session.acknowledged, "there will be no acknowledgement"
