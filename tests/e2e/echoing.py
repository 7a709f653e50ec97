"""A TURN server and an MQTT broker that send back what they learn of a login, wherever their protocols have room for words."""

import socket
import socketserver
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

from aioice import stun

from demesh.probes.stun_message import long_term_key, read
from tests.probes.stun_servers import reply

_REALM = "echoing"
_NOT_AUTHORIZED, _REASON_STRING = 0x87, 0x1F  # MQTT 5, sections 2.4 and 2.2.2.2


class TurnEcho(socketserver.BaseRequestHandler):
    """Refuses who proves the password, in his own words. What it received says whether it was proven."""

    received: list[str]
    password: str

    def handle(self) -> None:
        wire, answering = cast(tuple[bytes, socket.socket], self.request)
        user = stun.parse_message(wire).attributes.get("USERNAME")
        if user is None:
            challenge: dict[str, Any] = {"ERROR_CODE": (401, "Unauthorized"), "REALM": _REALM, "NONCE": b"nonce"}
            answering.sendto(reply(wire, error=True, **challenge), self.client_address)
            return
        key = long_term_key(user, _REALM, self.password)
        assert read(wire).signed_with(key)
        self.received.append(f"{user} {self.password}")
        words = f"{user} {self.password}"
        said: dict[str, Any] = {"ERROR_CODE": (486, words), "SOFTWARE": words, "REALM": words, "NONCE": words.encode()}
        answering.sendto(reply(wire, error=True, key=key, **said), self.client_address)


class MqttEcho(socketserver.BaseRequestHandler):
    """Refuses who says MQTT 5 with all that he sent as the reason, and sends the same bytes to all others."""

    received: list[str]

    def handle(self) -> None:
        sent = self.request.recv(4_096)
        self.received.append(sent.decode("latin-1"))
        level = sent.partition(b"MQTT")[2][:1]
        words = bytes(byte for byte in sent if 32 <= byte < 127)[:100]
        reason = bytes((_REASON_STRING, 0, len(words))) + words
        body = bytes((0, _NOT_AUTHORIZED, len(reason))) + reason
        self.request.sendall(bytes((0x20, len(body))) + body if level == b"\x05" else sent)


@contextmanager
def serving(server: socketserver.BaseServer) -> Generator[int]:
    """Its port."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield cast(tuple[str, int], server.server_address)[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
