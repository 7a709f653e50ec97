"""What kind of NAT this machine is behind, by asking a STUN server after RFC 3489 with pystun3.

Guaranteed: it takes NAT_TYPE_SECONDS_MAX (besides the name's lookup) and NAT_TYPE_PACKETS_MAX packets at most, whatever the
server does, and never raises for that. pystun3 resends for ever when it is answered with an error, and breaks on much that
servers send today. So it gets a socket that only looks like one: it counts, ends everything at the first error, and hands on
good answers alone, written anew with nothing in them but what pystun3 reads. A public server cannot direct this machine's packets
into its own network: they go to public addresses, or nowhere.

It blocks: call it in a thread. Not guaranteed: that the word is right for all traffic. Many NATs treat each peer differently, and
a filter that lets no answer in looks like a NAT.
"""

import importlib
import socket
from dataclasses import dataclass
from typing import Any

from demesh.address import address_text
from demesh.clock import SystemClock
from demesh.limits import NAT_TYPE_PACKETS_MAX, NAT_TYPE_SECONDS_MAX, NAT_TYPE_WAIT_SECONDS, STUN_BYTES_MAX
from demesh.probes.public import is_public
from demesh.probes.stun_message import HEADER_BYTES, Endpoint, Garbled, NotStun, classic, read

_WORDS = {
    "Blocked": "blocked",
    "Open Internet": "no NAT",
    "Symmetric UDP Firewall": "no NAT, behind a firewall",
    "Full Cone": "full cone",
    "Restric NAT": "restricted cone",
    "Restric Port NAT": "port-restricted cone",
    "Symmetric NAT": "symmetric",
}
"""Ours for those of pystun3."""

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class NatType:
    """`word` is one of those above, or `unknown`; then `why` says why. `external` is how the server sees this machine."""

    word: str
    external: str = ""
    why: str = ""


class _Over(BaseException):
    """Ends pystun3, which catches every Exception. The message is a clause without a full stop."""


def find_nat_type(host: str, port: int) -> NatType:
    """As the server at `host`, a name or an IPv4 address, sees it."""
    client: Any = importlib.import_module("stun")
    try:
        server = socket.gethostbyname(host)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            source = _own_address(server, port)
            plain.bind((source, 0))
            guarded = _Guarded(plain, public_only=is_public(server))
            try:
                found, _ = client.get_nat_type(guarded, source, plain.getsockname()[1], server, port)
            except _Over as over:
                return NatType(UNKNOWN, guarded.external, str(over))
    except OSError:
        return NatType(UNKNOWN, why="there is no way to the server")
    except Exception as error:  # noqa: BLE001 pystun3 may stumble over what was not foreseen here
        return NatType(UNKNOWN, why=f"its client failed ({type(error).__name__})")
    word = _WORDS.get(found, UNKNOWN)
    return NatType(word, guarded.external, "its other address does not answer" if word == UNKNOWN else "")


class _Guarded:
    """What pystun3 takes for its socket."""

    def __init__(self, plain: socket.socket, *, public_only: bool) -> None:
        self._plain = plain
        self._public_only = public_only
        self._monotonic_ms = SystemClock().monotonic_ms
        self._ends_ms = self._monotonic_ms() + round(NAT_TYPE_SECONDS_MAX * 1_000)
        self._packets = 0
        self._asked = b""
        self.external = ""

    def sendto(self, data: bytes, target: tuple[str | None, int | None]) -> int:
        host, port = target
        if host is None or port is None:
            raise _Over("the server names no other address")
        if self._public_only and not is_public(host):
            raise _Over("the server is public, and the other address that it names is not")
        self._packets += 1
        if self._packets > NAT_TYPE_PACKETS_MAX:
            raise _Over(f"{NAT_TYPE_PACKETS_MAX} packets were not enough")
        self._asked = data[4:HEADER_BYTES]
        return self._plain.sendto(data, (host, port))

    def recvfrom(self, _size: int) -> tuple[bytes, Endpoint]:
        """The next good answer. Raises OSError when its time is over, as a socket does."""
        ends_ms = self._monotonic_ms() + round(NAT_TYPE_WAIT_SECONDS * 1_000)
        while (left_ms := min(ends_ms, self._ends_ms) - self._monotonic_ms()) > 0:
            self._plain.settimeout(left_ms / 1_000)
            wire, source = self._plain.recvfrom(STUN_BYTES_MAX)
            if (answer := self._read(wire)) is not None:
                return answer, source
        if self._monotonic_ms() >= self._ends_ms:
            raise _Over(f"{NAT_TYPE_SECONDS_MAX:g} s were not enough")
        raise TimeoutError

    def _read(self, wire: bytes) -> bytes | None:
        try:
            message = read(wire, self._asked)
        except (NotStun, Garbled):
            return None
        if message.id != self._asked:
            return None
        if message.kind == "error":
            raise _Over("the server does not answer from elsewhere when it is asked to")
        if message.kind != "response" or message.mapped is None or ":" in message.mapped[0]:
            return None
        self.external = self.external or address_text(*message.mapped)
        other = message.other if message.other and ":" not in message.other[0] else None
        return classic(message.id, message.mapped, other)


def _own_address(server: str, port: int) -> str:
    """From where packets to the server go. Nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.connect((server, port))
        return str(plain.getsockname()[0])
