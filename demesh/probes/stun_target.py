"""Whom the targets of STUN and TURN checks mean: stun://, stuns://, turn:// and turns:// with a host, and how it is asked."""

from functools import lru_cache
from typing import cast
from urllib.parse import urlsplit

from demesh.errors import UsageError
from demesh.limits import CHECKS_MAX
from demesh.probes.dialling import Place
from demesh.probes.first_answer import place_at
from demesh.probes.stun_carrier import Transport
from demesh.target import transport_of

_PORT, _TLS_PORT = 3478, 5349


@lru_cache(CHECKS_MAX)
def parse_target(target: str, transport: Transport) -> tuple[Place, Transport]:
    """Where `target` is, and how it is asked: as it says itself, else by `transport`.

    Raises UsageError, a phrase without a full stop.
    """
    try:
        parts = urlsplit(target)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
        said = transport_of(target)
    except ValueError:
        raise UsageError("the target is not a URL that can be asked") from None
    if not host or port == 0 or "@" in parts.netloc:
        raise UsageError(f"the target is not of the form {parts.scheme}://HOST[:PORT]")
    by = cast(Transport, said or transport)
    return place_at(host, port or (_TLS_PORT if by == "tls" else _PORT)), by


def stun_port(port: int, transport: Transport) -> int:
    """Where a server that is asked at `port` by `transport` answers over UDP: TLS has a port of its own."""
    return _PORT if transport == "tls" and port == _TLS_PORT else port
