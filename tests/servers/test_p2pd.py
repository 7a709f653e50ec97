"""p2pd's settings: text that Python takes, that is nothing but lists, and in which no server's own text can do anything."""

import ast
from typing import Any

import pytest

from demesh.servers.p2pd import settings

_NAMES = {"UDP": 2, "TCP": 1, "IP4": 4, "IP6": 6}
_LISTS = ["STUN_MAP_SERVERS", "STUN_CHANGE_SERVERS", "MQTT_SERVERS", "TURN_SERVERS", "NTP_SERVERS"]
_NOTHING = {2: {4: [], 6: []}, 1: {4: [], 6: []}}


def _server(type_: str, host: str, address: str | None = "192.0.2.7", **changed: Any) -> dict[str, Any]:
    over = "tcp" if type_ == "mqtt" else "udp"
    place = {"type": type_, "family": "IPv4", "host": host, "port": 3478, "over": over, "transport": over}
    return {**place, "address": address, "other_address": None, "state": "up", **changed}


def _read(servers: list[dict[str, Any]]) -> dict[str, Any]:
    """What p2pd would have of it. Fails if it is anything but assignments of literals to the five names."""
    text = settings(servers)
    assert text.isascii()
    tree = ast.parse(text)
    assert all(isinstance(each, ast.Assign) for each in tree.body)
    allowed = (ast.Module, ast.Assign, ast.Dict, ast.List, ast.Constant, ast.Name, ast.Load, ast.Store)
    assert [node for node in ast.walk(tree) if not isinstance(node, allowed)] == []
    assert {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} <= {*_NAMES, *_LISTS}
    names: dict[str, Any] = {"__builtins__": {}, **_NAMES}
    exec(compile(text, "settings.py", "exec"), names)
    return {name: names[name] for name in _LISTS}


def test_without_servers_every_list_is_there() -> None:
    lists = [_NOTHING, _NOTHING, [], [], []]
    assert _read([]) == dict(zip(_LISTS, lists, strict=True))


def test_each_type_has_the_shape_that_p2pd_reads() -> None:
    told = _read(
        [
            _server("stun", "stun.example.net"),
            _server("stun", "2001:db8::7", "2001:db8::7", family="IPv6", over="tcp"),
            _server("stun-nat", "nat.example.net", "8.8.8.8", other_address="8.8.4.4:3479"),
            _server("mqtt", "mqtt.example.net", port=1883),
            _server("turn", "turn.example.net"),
            _server("ntp", "192.0.2.9", "192.0.2.9", port=123),
        ]
    )
    nowhere = {"ip": None, "port": None}
    assert told["STUN_MAP_SERVERS"] == {
        2: {4: [_map("stun.example.net", "192.0.2.7", nowhere)], 6: []},
        1: {4: [], 6: [_map(None, "2001:db8::7", nowhere)]},
    }
    pair = {"mode": 1, "primary": {"ip": "8.8.8.8", "port": 3478}, "secondary": {"ip": "8.8.4.4", "port": 3479}}
    assert told["STUN_CHANGE_SERVERS"] == {2: {4: [pair], 6: []}, 1: {4: [], 6: []}}
    assert told["MQTT_SERVERS"] == [{"host": "mqtt.example.net", "port": 1883, 4: "192.0.2.7", 6: None}]
    turn = {"host": "turn.example.net", "port": 3478, 4: "192.0.2.7", 6: None, "afs": [4]}
    assert told["TURN_SERVERS"] == [{**turn, "user": None, "pass": None, "realm": None}]
    assert told["NTP_SERVERS"] == [{"host": None, "port": 123, 4: "192.0.2.9", 6: None}]


def _map(host: str | None, address: str, secondary: dict[str, None]) -> dict[str, Any]:
    return {"mode": 2, "host": host, "primary": {"ip": address, "port": 3478}, "secondary": secondary}


def test_a_server_of_both_families_is_one_record_and_the_best_come_first() -> None:
    told = _read(
        [
            _server("mqtt", "a.example.net"),
            _server("mqtt", "b.example.net", "192.0.2.8"),
            _server("mqtt", "a.example.net", "2001:db8::7", family="IPv6"),
            _server("mqtt", "a.example.net", "192.0.2.99"),
        ]
    )
    assert [(each["host"], each[4], each[6]) for each in told["MQTT_SERVERS"]] == [
        ("a.example.net", "192.0.2.7", "2001:db8::7"),
        ("b.example.net", "192.0.2.8", None),
    ]


@pytest.mark.parametrize(
    "server",
    [
        *(_server("ntp", "a.example.net", state=state) for state in ("down", "partial", "flapping", "unknown", "paused")),
        *(_server("ntp", "a.example.net", address) for address in (None, "", "2001:db8::7", "no address", "192.0.2.7'")),
        *(_server("ntp", "a.example.net", port=port) for port in (0, 65_536, "123", True, None)),
        _server("stun", "a.example.net", over="tls"),
        _server("mqtt", "a.example.net", over="wss"),
        _server("turn", "a.example.net", over="tcp"),
        _server("gopher", "a.example.net"),
        *(_server("stun-nat", "a.example.net", other_address=other) for other in (None, "", "x", "[2001:db8::7]:9", "8.8.4.4:0")),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_good_now_or_not_for_p2pd_is_left_out(server: dict[str, Any]) -> None:
    assert _read([server]) == _read([])


@pytest.mark.parametrize(
    "host",
    [
        "'}]\nimport os\nos.system('true')\n[{'",
        '"""\n__import__("os")\n"""',
        "\\'; x = 1 #",
        "a\x00\x1b[31m\r\n",
        "UDP",
        "'UDP'",
        "IP4: None",
        "münchen.example",
        "\u202egro.elpmaxe\u2028",
        "\ud800",
        "{0}%s${HOME}",
    ],
    ids=ascii,
)
def test_no_text_of_a_server_does_anything(host: str) -> None:
    told = _read([_server(type_, host, user="mallory", password="sesame") for type_ in ("stun", "mqtt", "turn", "ntp")])
    assert [told[name][0]["host"] for name in ("MQTT_SERVERS", "TURN_SERVERS", "NTP_SERVERS")] == [host] * 3
    assert told["STUN_MAP_SERVERS"][2][4][0]["host"] == host


def test_no_login_is_told_whatever_a_node_says() -> None:
    text = settings([_server("turn", "turn.example.net", user="mallory", password="sesame", realm="secret")])
    assert not {word for word in ("mallory", "sesame", "secret") if word in text}
