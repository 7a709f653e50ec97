"""Addresses of peers as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.address import PeerAddress, is_routable, multiaddr, parse_host_port, parse_peer
from demesh.errors import UsageError
from demesh.identity import peer_id

_KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("example.org:8471", "example.org", 8471),
        ("192.0.2.7:1", "192.0.2.7", 1),
        ("[2001:db8::1]:65535", "2001:db8::1", 65_535),
        ("localhost:0", "localhost", 0),
    ],
)
def test_host_and_port_are_split(text: str, host: str, port: int) -> None:
    assert parse_host_port(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    ["", "example.org", ":8471", "example.org:", "example.org:http", "example.org:-1", "a:65536", "::1:8471", "[]:1"],
)
def test_what_is_no_address_is_refused_with_the_form(text: str) -> None:
    for parse in (parse_host_port, parse_peer):
        with pytest.raises(UsageError, match=r"write host:port, with IPv6 in brackets \(\[::1\]:8471\)"):
            parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vps.example.net:8471", ("vps.example.net", 8471, False, None)),
        ("dns:tasks.demesh:8471", ("tasks.demesh", 8471, True, None)),
        ("/ip4/192.0.2.7/tcp/8471", ("192.0.2.7", 8471, False, None)),
        ("/ip6/2001:db8::1/tcp/8471", ("2001:db8::1", 8471, False, None)),
        (f"/dns4/vps.example.net/tcp/1/p2p/{peer_id(_KEY)}", ("vps.example.net", 1, False, _KEY)),
    ],
)
def test_a_peer_is_an_address_a_name_or_a_multiaddr(text: str, expected: tuple[str, int, bool, bytes | None]) -> None:
    host, port, every, key = expected
    assert parse_peer(text) == PeerAddress(text, host, port, every, key)


@pytest.mark.parametrize(
    "text",
    [
        "/",
        "/ip4/192.0.2.7",
        "/ip4/192.0.2.7/udp/8471",
        "/ip4/192.0.2.7/tcp/http",
        "/ip4/192.0.2.7/tcp/65536",
        "/unix/run/tcp/1",
        "/ip4/192.0.2.7/tcp/8471/ws",
        "/ip4/192.0.2.7/tcp/8471/p2p",
        f"/ip4/192.0.2.7/tcp/8471/ipfs/{peer_id(_KEY)}",
    ],
)
def test_a_multiaddr_that_cannot_be_dialled_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a multiaddr that demesh dials"):
        parse_peer(text)


@pytest.mark.parametrize("broken", ["QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", "12D3KooW", "0OIl", "é"])
def test_a_peer_id_that_is_no_ed25519_key_is_refused(broken: str) -> None:
    with pytest.raises(UsageError, match="is not the peer id of an Ed25519 key"):
        parse_peer(f"/ip4/192.0.2.7/tcp/8471/p2p/{broken}")


@given(st.text(max_size=40), st.sampled_from(["", "dns:", "/", "/ip4/", "/ip4/1.2.3.4/tcp/", "["]))
def test_no_text_makes_it_fail_otherwise(text: str, prefix: str) -> None:
    try:
        peer = parse_peer(prefix + text)
    except UsageError:
        return
    assert peer.host
    assert 0 <= peer.port <= 65_535


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("192.0.2.7", "/ip4/192.0.2.7/tcp/8471"),
        ("2001:db8::1", "/ip6/2001:db8::1/tcp/8471"),
        ("vps.example.net", "/dns/vps.example.net/tcp/8471"),
    ],
)
def test_a_multiaddr_is_what_parse_peer_reads(host: str, text: str) -> None:
    assert multiaddr(host, 8471) == text
    assert (parse_peer(text).host, parse_peer(text).port) == (host, 8471)


@pytest.mark.parametrize(
    ("text", "routable"),
    [
        ("/ip4/192.0.2.7/tcp/1", True),
        ("/ip4/10.0.0.7/tcp/1", True),
        ("/dns/vps.example.net/tcp/1", True),
        ("/ip4/127.0.0.1/tcp/1", False),
        ("/ip4/0.0.0.0/tcp/1", False),
        ("/ip4/169.254.1.1/tcp/1", False),
        ("/ip6/::1/tcp/1", False),
        ("/ip6/::/tcp/1", False),
        ("/ip6/fe80::1/tcp/1", False),
        ("/ip6/2001:db8::1/tcp/1", True),
    ],
)
def test_loopback_wildcards_and_link_local_are_nothing_to_tell_others(text: str, routable: bool) -> None:
    assert is_routable(text) == routable
