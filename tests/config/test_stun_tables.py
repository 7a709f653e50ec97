"""Checks of STUN and TURN servers: what a target says of the transport, what others are told, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from demesh.config.adopt import check_of, rebuild
from demesh.config.load import load
from demesh.errors import UsageError
from demesh.probes.base import StunOptions, TurnOptions
from tests.config.files import check, written

MESH = bytes(16)


@pytest.mark.parametrize(
    ("text", "target", "transport"),
    [
        ("target = 'stun://a'", "stun://a", "udp"),
        ("target = 'stun://a?transport=udp'", "stun://a", "udp"),
        ("target = 'stun://a:1?transport=tcp'", "stun://a:1", "tcp"),
        ("target = 'stun://a?transport=tls'", "stun://a", "tls"),
        ("target = 'stun://a'\ntransport = 'tcp'", "stun://a", "tcp"),
        ("target = 'stuns://[::1]'", "stuns://[::1]", "tls"),
        ("target = 'stuns://a?transport=tcp'", "stuns://a", "tls"),
        ("target = 'turns://a?transport=tls'", "turns://a", "tls"),
        ("target = 'turn://a?transport=tcp'\ntransport = 'tcp'", "turn://a", "tcp"),
    ],
)
def test_the_target_and_the_key_say_the_same_in_one_form(
    text: str, target: str, transport: str, tmp_path: Path
) -> None:
    found = check(tmp_path, text)
    assert found.probe.target == target
    assert isinstance(found.probe.options, StunOptions | TurnOptions)
    assert found.probe.options.transport == transport


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("target = 'stun://a?transport=sctp'", "no query but ?transport=udp, tcp or tls"),
        ("target = 'turns://a?transport=udp'", "TLS is spoken over TCP only"),
        ("target = 'stun://a?transport=tcp'\ntransport = 'udp'", "transport: the target says otherwise"),
        ("target = 'stuns://a'\ntransport = 'udp'", "transport: the target says otherwise"),
        ("target = 'turn://me:sesame@a'", "a login has keys of its own"),
        ("target = 'stun://a/path'", "neither user info nor path"),
        ("target = 'stun://a'\nverify_tls = false", "verify_tls: needs TLS"),
        ("target = 'stun://a'\nexpect.cert_expires_in = '14d'", "expect.cert_expires_in: needs TLS"),
        ("target = 'stun://a?transport=tcp'\nnat_behaviour = true", "nat_behaviour: is found out over UDP only"),
        ("target = 'turn://a'\nuser = 'me'", "user: a user without a password"),
        ("target = 'stun://a'\nuser = 'me'", "user"),
    ],
)
def test_what_does_not_go_together_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, main=f'[[check]]\nname = "a"\n{text}\n')
    (problem,) = load(path, {}).problems
    assert said in problem
    assert "sesame" not in problem


@pytest.mark.parametrize(
    "content",
    [
        {"target": "stun://example.org"},
        {"target": "stun://example.org?transport=tcp"},
        {"target": "stuns://example.org", "server_name": "a.example.org", "verify_tls": False},
        {"target": "stun://example.org", "nat_behaviour": True, "expect": {"response_time": "200ms"}},
        {"target": "turns://example.org", "expect": {"cert_expires_in": "14d"}},
    ],
)
def test_others_can_be_told_all_of_it_but_a_login(content: dict[str, Any]) -> None:
    made = check_of({"name": "a", **content})
    row = made.row(MESH, True)
    assert row.whole
    assert "?" not in row.target
    assert rebuild(row, MESH).probe == made.probe


def test_two_ways_to_write_a_transport_are_one_definition() -> None:
    said, keyed = (
        check_of({"name": "a", **content}).row(MESH, True).definition
        for content in ({"target": "stun://a?transport=tcp"}, {"target": "stun://a", "transport": "tcp"})
    )
    assert said == keyed
    assert said != check_of({"name": "a", "target": "stun://a"}).row(MESH, True).definition


def test_a_check_with_a_login_stays_on_its_node(tmp_path: Path) -> None:
    row = check(tmp_path, "target = 'turn://a'\nuser = 'me'\npassword = 'sesame'").row(MESH, True)
    assert not row.whole
    assert "sesame" not in repr(row)
    with pytest.raises(UsageError):
        rebuild(row, MESH)
