"""Public servers in the shape that readers of Dogdorm's lists know."""

import random
from dataclasses import replace

import pytest

from demesh.view.servers import Place, Ranked, document, place_of
from tests.view.build import row

_IDENTITY = [
    "id",
    "table_type",
    "type",
    "af",
    "proto",
    "ip",
    "port",
    "user",
    "password",
    "alias_id",
    "status_id",
    "group_id",
]
_RECORD = ["score", "test_no", "failed_tests", "uptime", "max_uptime", "last_success", "fqns"]
_BEHAVIOUR = {"nat_behaviour": "true"}


def _server(name: str, score: float, type_: str = "NTP", transport: str = "UDP") -> Ranked:
    return Ranked(Place(type_, "IPv4", transport, f"{name}.example.net", 123), name, "192.0.2.7", score, 9, 1)


@pytest.mark.parametrize(
    ("type_", "target", "keys", "address", "expected"),
    [
        ("stun", "stun://a.example.net", {}, "192.0.2.7", ("STUN(see_ip)", "IPv4", "UDP", "a.example.net", 3478)),
        ("stun", "stun://a.example.net:80", {"transport": '"tcp"'}, None, ("STUN(see_ip)", "IPv4", "TCP", "a.example.net", 80)),
        ("stun", "stuns://a.example.net", {"ip": '"6"'}, None, ("STUN(see_ip)", "IPv6", "TCP", "a.example.net", 5349)),
        ("stun", "stun://a.example.net", _BEHAVIOUR, "2001:db8::1", ("STUN(test_nat)", "IPv6", "UDP", "a.example.net", 3478)),
        ("turn", "turn://[2001:db8::2]:3479", {}, None, ("TURN", "IPv6", "UDP", "2001:db8::2", 3479)),
        ("mqtt", "mqtts://a.example.net", {}, None, ("MQTT", "IPv4", "TCP", "a.example.net", 8883)),
        ("ntp", "ntp://a.example.net", {}, "192.0.2.7,2001:db8::1", ("NTP", "IPv4", "UDP", "a.example.net", 123)),
        ("ntp", "ntp://a.example.net", {}, "2001:db8::1,+7 (12ab)", ("NTP", "IPv6", "UDP", "a.example.net", 123)),
        ("ntp", "ntp://a.example.net", {}, None, ("NTP", "IPv4", "UDP", "a.example.net", 123)),
    ],
)  # fmt: skip
def test_a_server_is_told_by_type_family_and_transport(
    type_: str, target: str, keys: dict[str, str], address: str | None, expected: tuple[str, str, str, str, int]
) -> None:
    assert place_of(row(type=type_, target=target, keys=tuple(keys.items())), address) == expected


@pytest.mark.parametrize(("type_", "target"), [("http", "https://a.example.net"), ("stun", "stun://a.example.net:x")])
def test_what_is_no_server_is_in_no_list(type_: str, target: str) -> None:
    assert place_of(row(type=type_, target=target), None) is None


def test_every_key_is_there_though_there_is_no_server() -> None:
    empty = {family: {"UDP": [], "TCP": []} for family in ("IPv4", "IPv6")}
    types = ("STUN(see_ip)", "STUN(test_nat)", "MQTT", "TURN", "NTP")
    assert document([], 1_700_000_000) == {**dict.fromkeys(types, empty), "timestamp": 1_700_000_000}


def test_a_record_has_dogdorms_fields_and_numbers_and_no_credentials() -> None:
    (group,) = document([_server("a", 0.8, "TURN")], 0)["TURN"]["IPv4"]["UDP"]
    (record,) = group
    assert list(record) == [*_IDENTITY, *_RECORD]
    told = [record[key] for key in ("type", "af", "proto", "ip", "port", "score", "test_no", "failed_tests", "fqns")]
    assert told == [6, 2, 2, "192.0.2.7", 123, 0.8, 9, 1, ["a.example.net"]]
    assert (record["user"], record["password"]) == (None, None)


def test_of_a_name_that_is_asked_at_each_address_the_first_is_told_as_the_servers() -> None:
    server = replace(_server("a", 0.8), address="192.0.2.7,192.0.2.9,2001:db8::1")
    ((record,),) = document([server], 0)["NTP"]["IPv4"]["UDP"]
    assert record["ip"] == "192.0.2.7"


def test_the_best_come_first_however_they_came() -> None:
    servers = [_server("b", 0.5), _server("a", 0.5), _server("c", 0.9), _server("d", 0.1)]
    first = document(servers, 0)
    random.Random(3).shuffle(servers)
    assert document(servers, 0) == first
    assert [group[0]["fqns"][0][0] for group in first["NTP"]["IPv4"]["UDP"]] == ["c", "a", "b", "d"]
