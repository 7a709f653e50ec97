"""`GET /sd/nodes`: the mesh's nodes as targets of Prometheus' HTTP service discovery, from any node.

https://prometheus.io/docs/prometheus/latest/http_sd/ says what is asked for: a JSON list, the whole of it each time.

Nodes tell each other where their swarm port is, not where their API is. So a target's host is what the member tells (the
first of it; all are in a label, to choose from by relabelling), and its port is the same for all: the one asked for, or
else that of the API which answers. A member that tells nothing is taken to be where it is connected from, the answering node
where it was asked; one of which neither is known is left out, as are members that have left. Of what a member tells only that
counts which may be another machine: unicast addresses that are not this machine's, and names that no resolver reads as an address
or as this machine. Not guaranteed: that an API listens there, or that it lets the asker in, or that a name leads nowhere local.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Protocol
from urllib.parse import urlsplit

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from demesh.address import PeerAddress, address_text, may_be_dialled, parse_host_port
from demesh.config.load import Settings
from demesh.config.tables import ApiTable
from demesh.mesh.reach import dialled_address
from demesh.view.presence import Presence

_PORT_DEFAULT = parse_host_port(ApiTable().listen)[1]
_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_WORD = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE | re.ASCII)
"""What resolvers take the end of an address for: 127.1, 2130706433, 0x7f.1."""
_THIS_MACHINE = {"localhost", "localdomain", "ip6-localhost", "ip6-loopback"}
_NAME_CHARACTERS_MAX = 253


class TargetsModel(BaseModel):
    """One node, as Prometheus wants it."""

    targets: list[str] = Field(description="One: host:port.")
    labels: dict[str, str] = Field(description="`__meta_demesh_…`, for relabelling.")


class DiscoveredNode(Protocol):
    """What is needed of a node."""

    mesh: str

    @property
    def settings(self) -> Settings: ...

    def members(self) -> list[dict[str, Any]]: ...


def add_discovery_route(app: FastAPI, node: DiscoveredNode) -> None:
    @app.get("/sd/nodes", response_model=None, responses={200: {"model": list[TargetsModel]}})
    async def nodes(
        request: Request,
        port: Annotated[int | None, Query(ge=1, le=65_535, description="Of each node's API; else this one's.")] = None,
    ) -> Response:
        """The members that have not left, for Prometheus' http_sd_configs."""
        own_port = node.settings.api[1] if node.settings.api else _PORT_DEFAULT
        return JSONResponse(targets(node.members(), node.mesh, port or own_port, request.headers.get("host", "")))


def targets(members: Sequence[dict[str, Any]], mesh: str, port: int, asked_as: str) -> list[dict[str, Any]]:
    """The answer. `members` are as `demesh members --json` tells them, `asked_as` is the Host header."""
    return [
        {"targets": [address_text(hosts[0], port)], "labels": _labels(each, mesh, port, hosts)}
        for each in members
        if each["presence"] != Presence.LEFT and (hosts := list(dict.fromkeys(_hosts(each, asked_as))))
    ]


def _hosts(member: dict[str, Any], asked_as: str) -> Iterator[str]:
    """Where a member may be, likeliest first."""
    told = [address.host for address in map(dialled_address, member["addresses"]) if address and _is_elsewhere(address)]
    yield from told
    if not told:
        seen = asked_as if member["self"] else member["address"] or ""
        if host := urlsplit(f"//{seen}").hostname:
            yield host


def _is_elsewhere(address: PeerAddress) -> bool:
    """Whether what a member tells may be sent a token: it may be lying."""
    kind = address.text.split("/")[1]
    return _is_unicast(address.host, kind) if kind in ("ip4", "ip6") else _is_name(address.host)


def _is_unicast(host: str, kind: str) -> bool:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    # A scope may hold any character, and leads to a link only.
    fits = f"ip{ip.version}" == kind and not getattr(ip, "scope_id", None)
    return fits and may_be_dialled(host) and not ip.is_reserved


def _is_name(host: str) -> bool:
    words = host.split(".")
    if len(host) > _NAME_CHARACTERS_MAX or not all(map(_WORD.fullmatch, words)):
        return False
    return not _NUMBER.fullmatch(words[-1]) and words[-1].lower() not in _THIS_MACHINE


def _labels(member: dict[str, Any], mesh: str, port: int, hosts: Sequence[str]) -> dict[str, str]:
    tags: list[str] = member["tags"]
    told = {
        "mesh": mesh,
        "name": member["name"],
        "peer_id": member["peer_id"],
        "presence": member["presence"],
        "version": member["version"] or "",
        "hosts": _listed(hosts),
        "port": str(port),
        "tags": _listed(tags),
        **{f"tag_{_NO_LABEL.sub('_', tag)}": "true" for tag in tags},
    }
    return {f"__meta_demesh_{name}": value for name, value in told.items()}


def _listed(words: Sequence[str]) -> str:
    """`,a,b,`: so that a regular expression finds a whole word."""
    return f",{','.join(words)}," if words else ""
