"""Who is let in, by the configuration."""

import re
from pathlib import Path

import pytest

from demesh.errors import UsageError
from demesh.identity import peer_id
from tests.config.files import loaded, settings

_A, _B = b"a" * 32, b"b" * 32


def test_members_and_deny_are_keys(tmp_path: Path) -> None:
    text = f'[mesh]\ntrust = "listed"\nmembers = {{ vps = "{peer_id(_A)}" }}\ndeny = ["{peer_id(_B)}"]\nmdns = true\n'
    found = settings(tmp_path, text)
    assert (found.policy.members, found.policy.listed, found.policy.denied) == ({_A}, True, {_B})
    assert found.mdns


def test_by_default_whoever_has_the_swarm_key_is_let_in(tmp_path: Path) -> None:
    found = settings(tmp_path, "")
    assert not found.policy.listed
    assert not found.policy.denied
    assert not found.mdns


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('trust = "listed"', "mesh.trust: .*names nobody"),
        (f'members = {{ vps = "{peer_id(_A)}" }}\ndeny = ["{peer_id(_A)}"]', "mesh.members.vps: is in mesh.deny too"),
        ('members = { vps = "Qmx" }', "mesh.members.vps: .*not the peer id"),
        ('deny = ["12D3KooWx"]', r"mesh.deny\[1\]: .*not the peer id"),
        ('listen = ["none", "127.0.0.1:1"]', "mesh.listen: .*stands alone"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (problem,) = loaded(tmp_path, f"[mesh]\n{text}\n").problems
    assert re.search(f"demesh.toml:\\d+: {said}", problem)


def test_a_node_may_only_dial(tmp_path: Path) -> None:
    found = settings(tmp_path, '[mesh]\nlisten = "none"\n')
    assert (found.listen, found.listens) == ((), False)
    assert settings(tmp_path, "").listens


def test_the_command_line_may_say_so_too() -> None:
    from demesh.config.command_line import CommandLine
    from demesh.config.load import Settings
    from demesh.config.tables import DefaultsTable

    def over(*listen: str) -> Settings:
        return CommandLine(listen=listen).over(Settings("a", listen=(("127.0.0.1", 1),)), DefaultsTable())

    assert (over("none").listen, over("none").listens) == ((), False)
    assert over().listens
    assert over("127.0.0.1:2").listen == (("127.0.0.1", 2),)
    with pytest.raises(UsageError):
        over("none", "127.0.0.1:2")
