"""The mesh's nodes as Prometheus discovers them."""

from typing import Any

import pytest

from demesh.api.discovery import targets
from tests.api.asking import Node, ask
from tests.view.build import MemberLog, deliver

pytestmark = pytest.mark.trio


def _member(name: str = "nas", **changed: Any) -> dict[str, Any]:
    """As `demesh members --json` tells it."""
    member = {"name": name, "peer_id": f"12D3{name}", "self": False, "presence": "alive", "version": "1.2.3"}
    return {**member, "tags": [], "addresses": ["/ip4/192.0.2.7/tcp/8471"], "address": None, **changed}


def _found(*members: dict[str, Any], asked_as: str = "mon:8470") -> list[str]:
    return [each for told in targets(members, "0a1b2c3d", 8470, asked_as) for each in told["targets"]]


async def test_the_answer_is_what_http_sd_wants() -> None:
    node = Node()
    e = MemberLog("e")
    deliver(node.view, e, e.hello(1_500, addresses=("/ip4/192.0.2.7/tcp/8471",), tags=("eu", "rack-7")), 1_500)
    answer = await ask("/sd/nodes", node=node)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    (told,) = answer.json
    assert told["targets"] == ["192.0.2.7:8470"]
    assert told["labels"].pop("__meta_demesh_peer_id").startswith("12D3")
    assert told["labels"] == {
        "__meta_demesh_mesh": "0a1b2c3d",
        "__meta_demesh_name": "e",
        "__meta_demesh_presence": "alive",
        "__meta_demesh_version": "1.2.3",
        "__meta_demesh_hosts": ",192.0.2.7,",
        "__meta_demesh_port": "8470",
        "__meta_demesh_tags": ",eu,rack-7,",
        "__meta_demesh_tag_eu": "true",
        "__meta_demesh_tag_rack_7": "true",
    }


async def test_without_members_that_can_be_found_the_list_is_empty() -> None:
    answer = await ask("/sd/nodes")
    assert (answer.status, answer.body) == (200, b"[]")


async def test_a_port_that_is_asked_for_is_every_nodes() -> None:
    node = Node()
    e = MemberLog("e")
    deliver(node.view, e, e.hello(1_500, addresses=("/ip6/2001:db8::7/tcp/8471",)), 1_500)
    (told,) = (await ask("/sd/nodes", query="port=9999", node=node)).json
    assert told["targets"] == ["[2001:db8::7]:9999"]
    assert told["labels"]["__meta_demesh_port"] == "9999"
    for nonsense in ("0", "65536", "http"):
        assert (await ask("/sd/nodes", query=f"port={nonsense}", node=node)).status == 422


async def test_it_is_read_like_everything_else() -> None:
    elsewhere = await ask("/sd/nodes", client=("192.0.2.9", 50_000))
    assert elsewhere.status == 401


async def test_a_member_is_where_it_says_first_then_where_it_is_connected() -> None:
    assert _found(_member(addresses=["/dns/nas.example.net/tcp/8471", "/ip4/10.0.0.7/tcp/8471"])) == [
        "nas.example.net:8470"
    ]
    assert _found(_member(addresses=[], address="198.51.100.4:50312")) == ["198.51.100.4:8470"]
    assert _found(_member(addresses=[], address="[2001:db8::4]:50312")) == ["[2001:db8::4]:8470"]
    assert _found(_member(addresses=[])) == []


async def test_all_hosts_of_a_member_are_told_to_choose_from() -> None:
    (told,) = targets([_member(addresses=[f"/ip4/{host}/tcp/8471" for host in ("192.0.2.7", "10.0.0.7")])], "", 1, "")
    assert told["labels"]["__meta_demesh_hosts"] == ",192.0.2.7,10.0.0.7,"


@pytest.mark.parametrize("host", ["nas", "nas:8470", "127.0.0.1:9", "[::1]:8470", "[::1]", "nas.example.net:80"])
async def test_the_node_that_is_asked_is_where_it_was_asked_if_it_tells_nothing_else(host: str) -> None:
    own = _member(addresses=[], self=True)
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    assert _found(own, asked_as=host) == [f"{name}:8470"]
    assert _found(own, asked_as="") == []
    assert _found(_member(self=True), asked_as=host) == ["192.0.2.7:8470"]


@pytest.mark.parametrize(
    "address",
    [
        *("/ip4/127.0.0.1/tcp/8471", "/ip4/169.254.169.254/tcp/80", "/ip6/fe80::1/tcp/8471", "nonsense", "/ip4//tcp/"),
        *(f"/ip4/{host}/tcp/1" for host in ("0.0.0.0", "224.0.0.1", "255.255.255.255", "127.1", "2130706433", "nas")),
        *(f"/ip4/{host}/tcp/1" for host in ("192.0.2.7,10.8.0.1", "192.0.2.7:9,x", "2001:db8::7", "localhost")),
        *(f"/ip6/{host}/tcp/1" for host in ("::1", "::", "ff02::1", "::ffff:127.0.0.1", "2001:db8::7%a,10.8.0.1,b")),
        *(f"/ip6/{host}/tcp/1" for host in ("192.0.2.7", "fe80::1%eth0", "nas")),
        *(f"/dns/{host}/tcp/1" for host in ("localhost", "LocalHost", "a.localhost", "localhost.", "nas.example.net.")),
        *(
            f"/dns4/{host}/tcp/1"
            for host in ("127.1", "2130706433", "0x7f000001", "0x7f.1", "127.0.0.1", "nas.1", "0x")
        ),
        *(f"/dns6/{host}/tcp/1" for host in ("::1", "[::1]", "2001:db8::7", "localhost.localdomain", "ip6-localhost")),
        *(
            f"/dns/{host}/tcp/1"
            for host in ("a,10.8.0.1", "a,10.8.0.1,b", "nas:22", "a@b", "a?b", "a b", "-a", "a-", "a..b")
        ),
        *(
            f"/dns/{host}/tcp/1"
            for host in ("nas\u3002example", "\uff11\uff12\uff17.1", "nas\n", "a_b", "a%", f"{'a.' * 127}a")
        ),
    ],
)
async def test_what_a_member_tells_leads_to_nothing_local(address: str) -> None:
    assert _found(_member(addresses=[address])) == []


async def test_hosts_that_are_elsewhere_are_told_beside_those_that_are_not() -> None:
    hosts = ("dns/a,10.8.0.1,b", "dns/localhost", "dns4/NAS-2.example.net", "dns/127.1", "ip4/10.0.0.7", "ip6/fd00::7")
    (told,) = targets([_member(addresses=[f"/{host}/tcp/8471" for host in hosts])], "", 8470, "")
    assert told["targets"] == ["NAS-2.example.net:8470"]
    assert told["labels"]["__meta_demesh_hosts"] == ",NAS-2.example.net,10.0.0.7,fd00::7,"


async def test_who_has_left_is_no_target_and_who_is_away_or_silent_is() -> None:
    members = [_member(each, presence=each) for each in ("left", "away", "silent", "suspect")]
    told = targets(members, "", 1, "")
    assert [each["labels"]["__meta_demesh_presence"] for each in told] == ["away", "silent", "suspect"]
