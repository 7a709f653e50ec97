"""Public servers in order, best first, in the shape that readers of Dogdorm's lists know. Pure.

Which checks are servers, and of which type, family and transport, is said in one place: `place_of`. It reads what a plan tells of
a check and the address that was asked, nothing else. Names, families and transports are all there always, empty or not.

Guaranteed: the same ranked servers give the same document, in whatever order they come; no credentials are in it. Not guaranteed:
what Dogdorm numbers in its own database (`alias_id`, `status_id`) means anything here: they are null.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from demesh.addresses import first_of
from demesh.log.plan import PlanRow
from demesh.view.networks import family_of

Json = dict[str, Any]

_TYPES = {"STUN(see_ip)": 3, "STUN(test_nat)": 4, "MQTT": 5, "TURN": 6, "NTP": 7}
_FAMILIES = {"IPv4": 2, "IPv6": 10}
_TRANSPORTS = {"UDP": 2, "TCP": 1}
_TABLE_SERVICES = 14
_OF_TYPE = {"stun": "STUN(see_ip)", "mqtt": "MQTT", "turn": "TURN", "ntp": "NTP"}
_PORTS = {"stun": 3478, "stuns": 5349, "turn": 3478, "turns": 5349, "mqtt": 1883, "mqtts": 8883, "ntp": 123}
_OVER_TCP = ("mqtt",)

SERVER_TYPES = frozenset(_OF_TYPE)
"""The types of checks that are of public servers."""


class Place(NamedTuple):
    """Where a server is told: the keys of the document, its host and its port."""

    type: str
    family: str
    transport: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Ranked:
    """A server and what is told of it. Times in seconds, `last_success_s` since 1970; `address` is where it was found last."""

    place: Place
    name: str
    address: str | None
    score: float
    tests: int = 0
    failed: int = 0
    uptime_s: int = 0
    uptime_max_s: int = 0
    last_success_s: int = 0


def place_of(row: PlanRow, address: str | None) -> Place | None:
    """Where the server behind a check is told; None if it is no server, or cannot be told in these lists.

    The family is that of the check's `ip` key, else of the address; IPv4 without either. What runs over TLS is told as TCP.
    """
    try:
        parts = urlsplit(row.target)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if row.type not in _OF_TYPE or not host or not port:
        return None
    keys = dict(row.keys)
    type_ = "STUN(test_nat)" if row.type == "stun" and keys.get("nat_behaviour") == "true" else _OF_TYPE[row.type]
    family = _text(keys.get("ip")) or str(family_of(address) or (6 if ":" in host else 4))
    over_tcp = (
        row.type in _OVER_TCP or parts.scheme in ("stuns", "turns") or _text(keys.get("transport")) in ("tcp", "tls")
    )
    return Place(type_, f"IPv{family}", "TCP" if over_tcp else "UDP", host, port)


def best_first(servers: Iterable[Ranked]) -> list[Ranked]:
    """Of equal scores the one tested more often, then by name."""
    return sorted(servers, key=lambda each: (-each.score, -each.tests, each.name))


def document(servers: Iterable[Ranked], now_s: int) -> Json:
    """As `GET /servers` of Dogdorm: by type, family and transport, lists of groups of records; each of our groups is of one."""
    told: Json = {
        type_: {family: {transport: [] for transport in _TRANSPORTS} for family in _FAMILIES} for type_ in _TYPES
    }
    for number, each in enumerate(best_first(servers), 1):
        lists = told[each.place.type].get(each.place.family)
        if lists is not None:
            lists[each.place.transport].append([_record(number, each)])
    return {**told, "timestamp": now_s}


def _record(number: int, server: Ranked) -> Json:
    place = server.place
    host_is_address = ":" in place.host or place.host.replace(".", "").isdecimal()
    return {
        "id": number,
        "table_type": _TABLE_SERVICES,
        "type": _TYPES[place.type],
        "af": _FAMILIES[place.family],
        "proto": _TRANSPORTS[place.transport],
        "ip": first_of(server.address) or (place.host if host_is_address else None),
        "port": place.port,
        "user": None,
        "password": None,
        "alias_id": None,
        "status_id": None,
        "group_id": number,
        "score": round(server.score, 6),
        "test_no": server.tests,
        "failed_tests": server.failed,
        "uptime": server.uptime_s,
        "max_uptime": server.uptime_max_s,
        "last_success": server.last_success_s,
        "fqns": [] if host_is_address else [place.host],
    }


def _text(told: str | None) -> str:
    """A key's JSON, if it is a text."""
    said = json.loads(told) if told else ""
    return said if isinstance(said, str) else ""
