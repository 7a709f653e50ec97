"""The API's routes. Everything here reads; what changes state is not served.

Reading is open on loopback and on the Unix socket. A request with a Host header that is not this machine's is refused, so
that a page in a browser cannot reach a node by a name of its own (DNS rebinding).
"""

from collections.abc import Awaitable, Callable, MutableMapping
from ipaddress import ip_address
from typing import Any

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from demesh import __version__
from demesh.metrics import REFUSED
from demesh.node import Node

_Scope = MutableMapping[str, Any]
_Asgi = Callable[[_Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


def make_app(node: Node) -> _Asgi:
    """The ASGI application that answers for `node`."""
    app = FastAPI(title="demesh", version=__version__, docs_url=None, redoc_url=None)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """This process is sane. Says nothing about checks."""
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/api/v1/status")
    async def status() -> dict[str, Any]:
        """What this node knows of the whole mesh, now."""
        return node.status()

    @app.get("/api/v1/log/heads")
    async def heads() -> list[dict[str, Any]]:
        """Every log this node holds, with its newest entry."""
        return node.heads()

    return _only_local_hosts(app)


def _only_local_hosts(app: Any) -> _Asgi:
    async def guarded(
        scope: _Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if scope["type"] == "http":
            hosts = [value.decode("latin-1") for key, value in scope["headers"] if key == b"host"]
            if not all(map(_is_local, hosts)):
                REFUSED.labels("api", "host").inc()
                refused = Response("This node answers to localhost only.\n", 421, media_type="text/plain")
                await refused(scope, receive, send)
                return
        await app(scope, receive, send)

    return guarded


def _is_local(host: str) -> bool:
    """Whether a Host header, with its port or without, is localhost or a loopback address."""
    name, colon, port = host.rpartition(":")
    name = name if colon and port.isdecimal() else host
    try:
        return name.lower() == "localhost" or ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False
