"""Public servers in the shape that readers of Dogdorm's lists know."""

import random

import pytest

from demesh.view.servers import Place, Ranked, document, other_endpoint, place_of
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
    return Ranked(
        Place(type_, "IPv4", transport, f"{name}.example.net", 123, "udp"), name, "192.0.2.7", score, tests=9, failed=1
    )


@pytest.mark.parametrize(
    ("type_", "target", "keys", "address", "expected"),
    [
        ("stun", "stun://a.example.net", {}, "192.0.2.7", ("STUN(see_ip)", "IPv4", "UDP", "a.example.net", 3478, "udp")),
        ("stun", "stun://b.example:80", {"transport": '"tcp"'}, None, ("STUN(see_ip)", "IPv4", "TCP", "b.example", 80, "tcp")),
        ("stun", "stuns://a.example.net", {"ip": '"6"'}, None, ("STUN(see_ip)", "IPv6", "TCP", "a.example.net", 5349, "tls")),
        ("stun", "stun://b.example", _BEHAVIOUR, "2001:db8::1", ("STUN(test_nat)", "IPv6", "UDP", "b.example", 3478, "udp")),
        ("turn", "turn://[2001:db8::2]:3479", {}, None, ("TURN", "IPv6", "UDP", "2001:db8::2", 3479, "udp")),
        ("mqtt", "mqtts://a.example.net", {}, None, ("MQTT", "IPv4", "TCP", "a.example.net", 8883, "tls")),
        ("stun", "stun://b.example", {"transport": '"tls"'}, None, ("STUN(see_ip)", "IPv4", "TCP", "b.example", 5349, "tls")),
        ("mqtt", "mqtt+wss://a.example.net/mqtt", {}, None, ("MQTT", "IPv4", "TCP", "a.example.net", 443, "wss")),
        ("ntp", "ntp://a.example.net", {}, "192.0.2.7,2001:db8::1", ("NTP", "IPv4", "UDP", "a.example.net", 123, "udp")),
        ("ntp", "ntp://a.example.net", {}, "2001:db8::1,+7 (12ab)", ("NTP", "IPv6", "UDP", "a.example.net", 123, "udp")),
        ("ntp", "ntp://a.example.net", {}, None, ("NTP", "IPv4", "UDP", "a.example.net", 123, "udp")),
    ],
)  # fmt: skip
def test_a_server_is_told_by_type_family_and_transport(
    type_: str, target: str, keys: dict[str, str], address: str | None, expected: tuple[str, str, str, str, int, str]
) -> None:
    assert place_of(row(type=type_, target=target, keys=tuple(keys.items())), address) == expected


@pytest.mark.parametrize("said", ["", "not JSON", "[" * 1_024, '["4"]', '"IPv4"', "4", "null"])
def test_keys_that_another_member_has_spoilt_say_nothing(said: str) -> None:
    keys = (("ip", said), ("transport", said), ("nat_behaviour", said))
    place = place_of(row(type="stun", target="stun://a.example.net", keys=keys), "2001:db8::1")
    assert place == ("STUN(see_ip)", "IPv6", "UDP", "a.example.net", 3478, "udp")


@pytest.mark.parametrize(
    "host", ["=cmd|calc", "a b", "a\x1b[31m", "a\x00", "a'b", '"', "a,b", "\u202egro", "a;b", "a(1)", "<b>", "\ufffd"]
)
def test_a_host_that_can_be_none_is_in_no_list(host: str) -> None:
    assert place_of(row(type="ntp", target=f"ntp://{host}:123"), None) is None


@pytest.mark.parametrize(
    "host", ["a-b_c.example.net", "192.0.2.7", "[2001:db8::7]", "[fe80::1%eth0]", "münchen.example"]
)
def test_names_and_addresses_of_hosts_are(host: str) -> None:
    place = place_of(row(type="ntp", target=f"ntp://{host}:123"), None)
    assert place is not None
    assert place.host == host.strip("[]")


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


def test_the_best_come_first_however_they_came() -> None:
    servers = [_server("b", 0.5), _server("a", 0.5), _server("c", 0.9), _server("d", 0.1)]
    first = document(servers, 0)
    random.Random(3).shuffle(servers)
    assert document(servers, 0) == first
    assert [group[0]["fqns"][0][0] for group in first["NTP"]["IPv4"]["UDP"]] == ["c", "a", "b", "d"]


_NAT = Place("STUN(test_nat)", "IPv4", "UDP", "nat.example.net", 3478, "udp")


def test_a_server_that_tells_what_a_nat_does_is_a_group_of_its_four_endpoints() -> None:
    server = Ranked(_NAT, "nat", "8.8.8.8", 0.8, ("8.8.4.4", 3479), tests=9)
    alone = Ranked(_NAT._replace(host="alone.example.net"), "alone", "1.1.1.1", 0.9)
    (first,), group = document([server, alone], 0)["STUN(test_nat)"]["IPv4"]["UDP"]
    endpoints = [("8.8.8.8", 3478), ("8.8.8.8", 3479), ("8.8.4.4", 3478), ("8.8.4.4", 3479)]
    assert [(each["ip"], each["port"]) for each in group] == endpoints
    assert [each["fqns"] for each in group] == [["nat.example.net"]] * 2 + [[]] * 2
    assert {(each["group_id"], each["score"], each["test_no"]) for each in group} == {(2, 0.8, 9)}
    assert [each["id"] for each in (first, *group)] == [1, 2, 3, 4, 5]
    assert first["group_id"] == 1


@pytest.mark.parametrize(
    ("address", "told", "expected"),
    [
        ("8.8.8.8", "8.8.4.4:3479", ("8.8.4.4", 3479)),
        ("10.0.0.1", "10.0.0.2:3479", ("10.0.0.2", 3479)),
        ("2606:4700::1", "[2606:4700:0:0::2]:3479", ("2606:4700::2", 3479)),
        ("8.8.8.8", "10.0.0.2:3479", None),
        ("8.8.8.8", "8.8.8.8:3479", None),
        ("8.8.8.8", "8.8.4.4:3478", None),
        ("8.8.8.8", "8.8.4.4:0", None),
        ("8.8.8.8", "[2606:4700::2]:3479", None),
        ("8.8.8.8", "nat.example.net:3479", None),
        ("8.8.8.8", "'); import os", None),
        ("8.8.8.8", None, None),
        (None, "8.8.4.4:3479", None),
    ],
)
def test_an_other_address_that_cannot_be_one_is_not_told(
    address: str | None, told: str | None, expected: tuple[str, int] | None
) -> None:
    assert other_endpoint(_NAT, address, told) == expected
