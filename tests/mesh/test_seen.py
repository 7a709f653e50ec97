"""Which addresses a node tells: its own, and those that others agree to see it at."""

import pytest

from demesh.mesh.seen import Sightings, addresses_to_tell

_OURS = ["10.0.0.0/24", "fd00::/64"]
_A, _B, _C = b"a", b"b", b"c"


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        ([], []),
        ([(_A, "10.0.0.2", "192.0.2.9")], []),
        ([(_A, "10.0.0.2", "192.0.2.9"), (_B, "10.0.0.3", "192.0.2.9")], ["192.0.2.9"]),
        ([(_A, "10.0.0.2", "192.0.2.8"), (_B, "10.0.0.3", "192.0.2.9")], []),
        ([(_A, "198.51.100.7", "192.0.2.9")], ["192.0.2.9"]),
        ([(_A, "fd00::5", "2001:db8::9")], []),
        ([(_A, "127.0.0.1", "192.0.2.9")], []),
        ([(_A, "198.51.100.7", "127.0.0.1"), (_B, "10.0.0.3", "127.0.0.1")], []),
        ([(_A, "198.51.100.7", "fe80::1")], []),
        ([(_A, "198.51.100.7", "evil.example")], []),
        ([(_A, "198.51.100.7", "")], []),
    ],
)
def test_two_who_agree_or_one_from_outside(said: list[tuple[bytes, str, str]], believed: list[str]) -> None:
    sightings = Sightings()
    for peer, host, seen in said:
        sightings.note(peer, host, seen)
    assert sightings.hosts(_OURS) == believed


def test_the_same_peer_twice_is_one_witness() -> None:
    sightings = Sightings()
    sightings.note(_A, "10.0.0.2", "192.0.2.9")
    sightings.note(_A, "10.0.0.2", "192.0.2.9")
    assert sightings.hosts(_OURS) == []


def test_who_sees_this_node_where_nobody_could_dial_it_need_not_be_asked_again_and_is_no_witness() -> None:
    sightings = Sightings()
    sightings.note(_A, "127.0.0.1", "127.0.0.1")
    sightings.note(_B, "198.51.100.7", "192.0.2.9")
    sightings.note(_C, "198.51.100.8", "evil.example")
    assert sightings.said_by(_A)
    assert sightings.witnesses() == 1


def test_what_was_believed_stays_until_something_else_is() -> None:
    sightings = Sightings()
    sightings.note(_A, "198.51.100.7", "192.0.2.9")
    assert sightings.hosts(_OURS) == ["192.0.2.9"]
    sightings.keep([])
    assert not sightings.said_by(_A)
    assert sightings.hosts(_OURS) == ["192.0.2.9"]
    sightings.note(_B, "198.51.100.8", "192.0.2.77")
    assert sightings.hosts(_OURS) == ["192.0.2.77"]


@pytest.mark.parametrize(
    ("listening", "dialable", "told"),
    [
        (["/ip4/0.0.0.0/tcp/9000"], ["/ip4/10.0.0.1/tcp/9000"], ["/ip4/8.8.8.8/tcp/9000", "/ip4/10.0.0.1/tcp/9000"]),
        (["/ip4/10.0.0.1/tcp/9000"], ["/ip4/10.0.0.1/tcp/9000"], ["/ip4/8.8.8.8/tcp/9000", "/ip4/10.0.0.1/tcp/9000"]),
        (["/ip4/0.0.0.0/tcp/9000"], ["/ip4/8.8.8.8/tcp/9000"], ["/ip4/8.8.8.8/tcp/9000"]),
        (["/ip4/127.0.0.1/tcp/9000"], [], []),
        (["/ip6/::/tcp/9000"], [], []),
        ([], [], []),
    ],
)
def test_what_was_seen_is_told_with_the_port_that_one_listens_at(
    listening: list[str], dialable: list[str], told: list[str]
) -> None:
    assert addresses_to_tell(listening, dialable, ["8.8.8.8"]) == told
