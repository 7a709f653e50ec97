"""Public servers in order, best first, in the shape that readers of Dogdorm's lists know. Pure.

Which checks are servers, and of which type, family and transport, is said in one place: `place_of`. It reads what a plan tells of
a check and the address that was asked, nothing else; a host that can be none is in no list. Names, families and transports are
all there always, empty or not.

Guaranteed: the same ranked servers give the same document, in whatever order they come; no credentials are in it. Not guaranteed:
what Dogdorm numbers in its own database (`alias_id`, `status_id`) means anything here: they are null.

A server that is fit to find out what a NAT does has four endpoints, which are told as a group of four records if they are known:

    address, port    address, other port    other address, port    other address, other port
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from demesh.address import parse_host_port
from demesh.errors import UsageError
from demesh.log.plan import PlanRow
from demesh.view.networks import family_of

Json = dict[str, Any]

_TYPES = {"STUN(see_ip)": 3, "STUN(test_nat)": 4, "MQTT": 5, "TURN": 6, "NTP": 7}
_FAMILIES = {"IPv4": 2, "IPv6": 10}
_TRANSPORTS = {"UDP": 2, "TCP": 1}
_TABLE_SERVICES = 14
_OF_TYPE = {"stun": "STUN(see_ip)", "mqtt": "MQTT", "turn": "TURN", "ntp": "NTP"}
_PORTS = {
    "stun": {"tls": 5349, "": 3478},
    "turn": {"tls": 5349, "": 3478},
    "mqtt": {"tls": 8883, "ws": 80, "wss": 443, "": 1883},
    "ntp": {"": 123},
}
"""By type and by what it is asked over."""
_OVER = {"stuns": "tls", "turns": "tls", "mqtt": "tcp", "mqtts": "tls", "mqtt+ws": "ws", "mqtt+wss": "wss"}

SERVER_TYPES = frozenset(_OF_TYPE)
"""The types of checks that are of public servers."""

_HOST = re.compile(r"[\w.:%-]+")
"""What names and addresses of hosts are made of; others write them into their plans, and they end in tables and programs."""


Endpoint = tuple[str, int]
"""An address and a port."""


class Place(NamedTuple):
    """Where a server is told: the keys of the document, its host and its port. `over` is what it is asked over: udp, tcp, tls,
    and for MQTT also ws and wss.
    """

    type: str
    family: str
    transport: str
    host: str
    port: int
    over: str


@dataclass(frozen=True, slots=True)
class Ranked:
    """A server and what is told of it. Times in seconds, `last_success_s` since 1970; `address` is where it was found last,
    `other` its other address and port. `now` is what the votes leave of its score, `passing` how many vantages see it pass.
    """

    place: Place
    name: str
    address: str | None
    score: float
    other: Endpoint | None = None
    tests: int = 0
    failed: int = 0
    uptime_s: int = 0
    uptime_max_s: int = 0
    last_success_s: int = 0
    now: float = 1.0
    passing: int = 0


def place_of(row: PlanRow, address: str | None) -> Place | None:
    """Where the server behind a check is told; None if it is no server, or cannot be told in these lists.

    The family is that of the check's `ip` key, else of the address; IPv4 without either. What runs over TLS is told as TCP.
    """
    keys = dict(row.keys)
    try:
        parts = urlsplit(row.target)
        over = _OVER.get(parts.scheme) or _one_of(("udp", "tcp", "tls"), keys.get("transport")) or "udp"
        ports = _PORTS.get(row.type, {})
        host, port = parts.hostname, parts.port or ports.get(over) or ports.get("")
    except ValueError:
        return None
    if row.type not in _OF_TYPE or not host or not _HOST.fullmatch(host) or not port:
        return None
    type_ = "STUN(test_nat)" if row.type == "stun" and keys.get("nat_behaviour") == "true" else _OF_TYPE[row.type]
    family = _one_of(("4", "6"), keys.get("ip")) or str(family_of(address) or (6 if ":" in host else 4))
    return Place(type_, f"IPv{family}", "UDP" if over == "udp" else "TCP", host, port, over)


def other_endpoint(place: Place, address: str | None, told: str | None) -> Endpoint | None:
    """The other address and port of a server that a vantage has told, if they can be such: both other than the first, of the same
    family, and public if the first is.
    """
    try:
        host, port = parse_host_port(told or "")
        first, other = ip_address(address or ""), ip_address(host)
    except (UsageError, ValueError):
        return None
    fits = other.version == first.version and other != first and port not in (0, place.port)
    return (str(other), port) if fits and (other.is_global or not first.is_global) else None


def goodness(score: float, now: float, passing: int, place: Place, name: str) -> tuple[float, float, int, Place, str]:
    """By this all rankings are sorted. Before anything is recorded all scores are 0: then the votes of now decide."""
    return -score, -now, -passing, place, name


def best_first(servers: Iterable[Ranked]) -> list[Ranked]:
    return sorted(servers, key=lambda each: goodness(each.score, each.now, each.passing, each.place, each.name))


def document(servers: Iterable[Ranked], now_s: int) -> Json:
    """As `GET /servers` of Dogdorm: by type, family and transport, lists of groups of records."""
    told: Json = {
        type_: {family: {transport: [] for transport in _TRANSPORTS} for family in _FAMILIES} for type_ in _TYPES
    }
    numbers = count(1)
    for group, each in enumerate(best_first(servers), 1):
        lists = told[each.place.type].get(each.place.family)
        if lists is not None:
            records = [_record(next(numbers), group, each, *endpoint) for endpoint in _endpoints(each)]
            lists[each.place.transport].append(records)
    return {**told, "timestamp": now_s}


def _endpoints(server: Ranked) -> list[tuple[str | None, int]]:
    place = server.place
    address = server.address or (place.host if _is_address(place.host) else None)
    if server.other is None:
        return [(address, place.port)]
    return [(host, port) for host in (address, server.other[0]) for port in (place.port, server.other[1])]


def _record(number: int, group: int, server: Ranked, address: str | None, port: int) -> Json:
    place = server.place
    is_named = not _is_address(place.host) and (server.other is None or address != server.other[0])
    return {
        "id": number,
        "table_type": _TABLE_SERVICES,
        "type": _TYPES[place.type],
        "af": _FAMILIES[place.family],
        "proto": _TRANSPORTS[place.transport],
        "ip": address,
        "port": port,
        "user": None,
        "password": None,
        "alias_id": None,
        "status_id": None,
        "group_id": group,
        "score": round(server.score, 6),
        "test_no": server.tests,
        "failed_tests": server.failed,
        "uptime": server.uptime_s,
        "max_uptime": server.uptime_max_s,
        "last_success": server.last_success_s,
        "fqns": [place.host] if is_named else [],
    }


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdecimal()


def _one_of(values: tuple[str, ...], told: str | None) -> str:
    """What a key's JSON says, which another member has written, if it is one of these; else an empty text."""
    return next((each for each in values if told == json.dumps(each)), "")
