"""Who is answered. Stands before every route.

    asked                            read                  change
    over the Unix socket             yes                   yes: only the node's own user can open it, or its group too
    from loopback                    yes                   with a token that may write
    from elsewhere                   with a token          with a token that may write

A request that a proxy passed on (it has one of the headers PROXY_HEADERS) comes from elsewhere, wherever the proxy is.
A Host header that names neither this machine nor one of `hosts` is refused, so that a page in a browser cannot reach a node
by a name of its own (DNS rebinding); that needs a name, so where the API listens on every address, any address will do.
Request bodies are read here, bounded in bytes and in time. Every refusal is counted and is a JSON object with one sentence.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import trio

from demesh import limits
from demesh.api.problem import problem
from demesh.metrics import REFUSED
from demesh.tokens import Scope, TokenCheck

log = logging.getLogger(__name__)

AsgiScope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Asgi = Callable[[AsgiScope, Receive, Send], Awaitable[None]]

_WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
PROXY_HEADERS = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip"})


@dataclass(frozen=True, slots=True)
class Access:
    """Whom a node answers: by which names of its own, and with which tokens. `listen` is the API's host, None if it has none."""

    tokens: TokenCheck
    listen: str | None = None
    hosts: Collection[str] = ()

    def knows_host(self, header: str) -> bool:
        """Whether a Host header, with its port or without, is one that a person would use for this node."""
        name, colon, port = header.rpartition(":")
        name = (name if colon and port.isdecimal() else header).lower()
        if name == "localhost" or name in self.hosts:
            return True
        try:
            address = ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return self.listen is not None and name == self.listen.lower()
        if ("[" in name) != (address.version == 6):
            return False
        return address.is_loopback or (self.listen is not None and _listens_at(self.listen, address))

    def scope_of(self, scope: AsgiScope) -> Scope | None:
        """What the sender of a request may do; None if nothing."""
        client, headers = scope["client"], scope["headers"]
        if client is None:  # only a Unix socket has no address
            return Scope.WRITE
        bearers = [value for name, value in headers if name == b"authorization"]
        address = _address(client[0])
        if bearers:
            kind, _, token = bearers[0].decode("latin-1").partition(" ")
            given = self.tokens.scope_of(token.strip()) if kind.lower() == "bearer" and len(bearers) == 1 else None
            if given is None:
                log.warning("A request from %s was refused: its token is not known here.", address)
            return given
        passed_on = any(name in PROXY_HEADERS for name, _ in headers)
        return Scope.READ if address.is_loopback and not passed_on else None


def guarded(app: Asgi, access: Access) -> Asgi:
    """`app` behind this guard; the scope that was granted is in `scope["granted"]`."""

    async def answer(scope: AsgiScope, receive: Receive, send: Send) -> None:
        async def refuse(reason: str, status: int, sentence: str) -> None:
            REFUSED.labels("api", reason).inc()
            await problem(status, sentence)(scope, receive, send)

        if scope["type"] != "http":  # a WebSocket
            await send({"type": "websocket.close"})
            return
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if not all(map(access.knows_host, hosts)):
            named = "This node does not answer to that name; use its address, or add the name to [api] hosts."
            await refuse("host", 421, named)
            return
        granted = access.scope_of(scope)
        if granted is None:
            await refuse("token", 401, "A token is needed here; `demesh token new` on the node's machine makes one.")
            return
        # HEAD is GET without the body, which the server holds back.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        if method in _WITH_BODY:
            body = await _read_body(receive)
            if body is None:
                bounds = f"A request has at most {limits.API_BODY_BYTES_MAX} bytes, and sends them promptly."
                await refuse("body", 413, bounds)
                return
            receive = _given(body, receive)
        await app({**scope, "method": method, "granted": granted}, receive, send)

    return answer


def _address(text: str) -> IPv4Address | IPv6Address:
    """A client's address; what IPv6 only wraps is unwrapped."""
    address = ip_address(text)
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _listens_at(listen: str, address: IPv4Address | IPv6Address) -> bool:
    try:
        ours = ip_address(listen)
    except ValueError:
        return False
    return ours.is_unspecified or ours == address


async def _read_body(receive: Receive) -> bytes | None:
    """A request's body; None if it is too long or does not come."""
    body = bytearray()
    with trio.move_on_after(limits.API_BODY_SECONDS_MAX):
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if len(body) > limits.API_BODY_BYTES_MAX:
                return None
            if not message.get("more_body", False):
                return bytes(body)
    return None


def _given(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` first."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def given() -> Any:
        return waiting.pop() if waiting else await receive()

    return given
