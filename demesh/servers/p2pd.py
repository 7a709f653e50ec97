"""Public servers as p2pd's settings have them: Python text, for the place of those lists in its `settings.py`.

    MQTT_SERVERS = [
        {'host': 'mqtt.example.net', 'port': 1883, IP4: '192.0.2.7', IP6: None},
    ]

It is what Dogdorm's `GET /legacy` gave: STUN_MAP_SERVERS, STUN_CHANGE_SERVERS, MQTT_SERVERS and TURN_SERVERS; and NTP_SERVERS,
which p2pd has in the shape of MQTT's. UDP, TCP, IP4 and IP6 are names that its settings define.

Guaranteed: whatever the servers' texts are, the text assigns literals to these five names and does nothing else; it is ASCII. It
has no credentials: `user` and `pass` are None. It has only servers that are good now: state `up`, with an address that is one,
asked in a way that p2pd speaks (no TLS, no WebSocket, TURN over UDP); of those that tell what a NAT does, only the ones whose
other address is known. Best first, as they are given. A server of both families is told once where p2pd wants both in one record.
"""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Any

from demesh.address import parse_host_port
from demesh.errors import UsageError

Told = dict[str, Any]
"""A server as `GET /api/v1/servers` tells it."""

_PORT_MAX = 65_535
_HEADER = """\
# Public servers that are up now, best first, told by demesh: for p2pd's settings.py, which defines UDP, TCP, IP4 and IP6.
# TURN_SERVERS want a user and a password, which are not told.
"""


class _Name:
    """A name of p2pd's settings, written as such."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


_IP4, _IP6 = _Name("IP4"), _Name("IP6")
_FAMILIES = {"IPv4": _IP4, "IPv6": _IP6}
_TRANSPORTS = {"udp": _Name("UDP"), "tcp": _Name("TCP")}
_OVER = {"stun": ("udp", "tcp"), "stun-nat": ("udp",), "mqtt": ("tcp",), "turn": ("udp",), "ntp": ("udp",)}


def settings(servers: Iterable[Told]) -> str:
    """The text for these servers, best first."""
    good = [each for each in servers if _is_good(each)]
    map_servers = [(each, _map_record(each)) for each in good if each["type"] == "stun"]
    change_servers = [
        (each, {"mode": 1, "primary": _endpoint(each), "secondary": other})
        for each in good
        if each["type"] == "stun-nat" and (other := _other(each))
    ]
    return "\n".join(
        (
            _HEADER,
            _by_transport("STUN_MAP_SERVERS", map_servers),
            _by_transport("STUN_CHANGE_SERVERS", change_servers),
            _list("MQTT_SERVERS", _both_families(good, "mqtt")),
            _list("TURN_SERVERS", [_without_login(each) for each in _both_families(good, "turn")]),
            _list("NTP_SERVERS", _both_families(good, "ntp")),
        )
    )


def _is_good(server: Told) -> bool:
    return (
        server["state"] == "up"
        and server.get("over") in _OVER.get(server["type"], ())
        and _fits(server["address"], server["family"])
        and isinstance(server["host"], str)
        and _is_port(server["port"])
    )


def _fits(address: Any, family: str) -> bool:
    """Whether it is an address of this family."""
    try:
        return f"IPv{ip_address(address).version}" == family if isinstance(address, str) else False
    except ValueError:
        return False


def _is_port(port: Any) -> bool:
    return type(port) is int and 0 < port <= _PORT_MAX


def _host(server: Told) -> str | None:
    """Its name; None if it is known by its address only."""
    try:
        ip_address(server["host"])
    except ValueError:
        return server["host"]
    return None


def _endpoint(server: Told) -> Told:
    return {"ip": server["address"], "port": server["port"]}


def _other(server: Told) -> Told | None:
    try:
        host, port = parse_host_port(server.get("other_address") or "")
    except UsageError:
        return None
    return {"ip": host, "port": port} if _fits(host, server["family"]) and _is_port(port) else None


def _map_record(server: Told) -> Told:
    nowhere = {"ip": None, "port": None}
    return {"mode": 2, "host": _host(server), "primary": _endpoint(server), "secondary": nowhere}


def _both_families(servers: Sequence[Told], type_: str) -> list[dict[Any, Any]]:
    """A record for each name and port, where the best of its servers comes; each without a name has one of its own."""
    found: dict[tuple[str, int], dict[Any, Any]] = {}
    for each in servers:
        if each["type"] == type_:
            blank = {"host": _host(each), "port": each["port"], _IP4: None, _IP6: None}
            record = found.setdefault((each["host"], each["port"]), blank)
            family = _FAMILIES[each["family"]]
            record[family] = record[family] or each["address"]
    return [*found.values()]


def _without_login(record: dict[Any, Any]) -> dict[Any, Any]:
    families = [family for family in (_IP4, _IP6) if record[family]]
    return {**record, "afs": families, "user": None, "pass": None, "realm": None}


def _by_transport(name: str, servers: Sequence[tuple[Told, Told]]) -> str:
    def records(transport: str, family: str) -> str:
        return _lines(record for each, record in servers if (each["over"], each["family"]) == (transport, family))

    told = (
        f"{transport!r}: {{{', '.join(f'{family!r}: {records(over, of)}' for of, family in _FAMILIES.items())}}}"
        for over, transport in _TRANSPORTS.items()
    )
    return f"{name} = {{{', '.join(told)}}}\n"


def _list(name: str, records: Iterable[object]) -> str:
    return f"{name} = {_lines(records)}\n"


def _lines(records: Iterable[object]) -> str:
    # !a quotes each text, and leaves no character in it that a terminal or an editor would show as something else.
    lines = "".join(f"    {each!a},\n" for each in records)
    return f"[\n{lines}]" if lines else "[]"
