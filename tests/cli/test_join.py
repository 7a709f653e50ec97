"""`demesh invite` and `demesh join`: one secret line makes a home that is of the mesh, and harms none that is there."""

import io
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from demesh.config.load import read_settings
from demesh.home import Home, HomeLock, Running
from demesh.identity import SwarmKey, peer_id, read_or_make_node_key, read_swarm_key, write_secret
from demesh.invitation import Invitation, read_invitation
from demesh.reachable import dialable
from tests.cli.answering import node_answering
from tests.cli.harness import Ran, demesh

_PEER = "/ip4/192.0.2.7/tcp/8471"
_INVITATION = Invitation(SwarmKey(b"k" * 32), b"m" * 16, (_PEER,), "first", "nas")


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A home that others can dial."""
    home = tmp_path / "first"
    demesh(home, "init", "--name", "first")
    config = home / "demesh.toml"
    config.write_text(config.read_text().replace("[mesh]\n", '[mesh]\nadvertise = "vps1.example.net:8471"\n'))
    return home


def _join(home: Path, line: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> Ran:
    with monkeypatch.context() as context:
        context.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line.encode())))
        return demesh(home, "join", *arguments)


def _contents(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in home.iterdir() if path.name != "lock"} if home.exists() else {}


def test_an_invitation_says_all_that_a_newcomer_needs(first: Path) -> None:
    ran = demesh(first, "invite", "--name", "nas")
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 1
    assert "secret" in ran.err
    own = peer_id(bytes(read_or_make_node_key(first / "node.key").verify_key))
    assert read_invitation(ran.out) == Invitation(
        read_swarm_key(first / "swarm.key"),
        bytes.fromhex((first / "mesh.id").read_text()),
        (f"/dns/vps1.example.net/tcp/8471/p2p/{own}",),
        "first",
        "nas",
    )
    assert read_swarm_key(first / "swarm.key").psk.hex() not in ran.err


def test_a_running_node_is_asked_where_it_is_found(first: Path) -> None:
    fingerprint = read_swarm_key(first / "swarm.key").fingerprint
    said: dict[str, Any] = {"name": "now", "addresses": [_PEER], "listening": [], "swarm_key": fingerprint}
    with node_answering(first, {"/api/v1/node": said}):
        found = read_invitation(demesh(first, "invite").out)
    assert found.inviter == "now"
    assert [each.partition("/p2p/")[0] for each in found.peers] == [_PEER]


def test_the_key_of_another_file_than_the_running_nodes_is_not_given_away(first: Path) -> None:
    said: dict[str, Any] = {"name": "now", "addresses": [_PEER], "listening": [], "swarm_key": "00" * 8}
    with node_answering(first, {"/api/v1/node": said}):
        ran = demesh(first, "invite")
    assert ran.code == 2
    assert "--swarm-key-file" in ran.err
    assert not ran.out


@pytest.mark.parametrize("listen", ["127.0.0.1:8471", "[::1]:8471"])
def test_without_an_address_that_can_be_dialled_there_is_no_invitation(tmp_path: Path, listen: str) -> None:
    home = tmp_path / "home"
    demesh(home, "init")
    config = home / "demesh.toml"
    config.write_text(config.read_text().replace("[mesh]\n", f'[mesh]\nlisten = "{listen}"\n'))
    ran = demesh(home, "invite")
    assert ran.code == 2
    assert "--advertise" in ran.err
    assert not ran.out
    named = demesh(home, "invite", "--advertise", "192.0.2.9:1")
    assert read_invitation(named.out).peers[0].startswith("/ip4/192.0.2.9/tcp/1/p2p/")


def test_a_wildcard_stands_for_the_address_that_faces_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demesh.reachable._facing", lambda kind: {"ip4": ["192.0.2.5"], "ip6": []}[kind])
    listening = ["/ip4/0.0.0.0/tcp/8471", "/ip6/::/tcp/8471", "/ip4/127.0.0.1/tcp/1", "/ip4/192.0.2.5/tcp/8471"]
    assert dialable(listening) == ["/ip4/192.0.2.5/tcp/8471"]


def test_no_home_no_invitation(tmp_path: Path) -> None:
    ran = demesh(tmp_path / "none", "invite")
    assert ran.code == 3
    assert not (tmp_path / "none").exists()


def test_joining_makes_a_home_of_that_mesh(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line, second = demesh(first, "invite", "--name", "büro").out, tmp_path / "second"
    ran = _join(second, line, monkeypatch=monkeypatch)
    assert ran.code == 0, ran.err
    for name in ("swarm.key", "mesh.id"):
        assert (second / name).read_bytes() == (first / name).read_bytes()
    assert (second / "node.key").read_bytes() != (first / "node.key").read_bytes()
    assert {path.stat().st_mode & 0o7777 for path in second.iterdir()} == {0o600}
    settings = read_settings(second / "demesh.toml")
    assert settings.name == "büro"
    assert [each.text for each in settings.peers] == list(read_invitation(line).peers)
    assert "# Other nodes of the mesh" in (second / "demesh.toml").read_text(), "it is the one that init writes"
    assert (second / "swarm.key").read_text().split()[-1] not in ran.out + ran.err
    with pytest.raises(AssertionError, match="the node would run"):
        demesh(second, "node", "run", "--api", "none")


def test_the_name_that_is_given_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _join(tmp_path / "home", _INVITATION.line(), "--name", "mine", monkeypatch=monkeypatch)
    assert read_settings(tmp_path / "home/demesh.toml").name == "mine"


def test_a_line_in_the_arguments_is_refused_and_not_repeated(tmp_path: Path) -> None:
    line = _INVITATION.line()
    ran = demesh(tmp_path / "home", "join", line)
    assert ran.code == 2
    assert "every user of this machine can read it" in ran.err
    assert line not in ran.err
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("line", ["", "demesh1:abcdef", _INVITATION.line()[:-3]])
def test_a_bad_line_makes_nothing(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = _join(tmp_path / "home", line, monkeypatch=monkeypatch)
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    assert not (tmp_path / "home").exists()


def test_at_a_terminal_it_asks_without_showing_what_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda prompt: _INVITATION.line())
    ran = demesh(tmp_path / "home", "join")
    assert ran.code == 0, ran.err
    assert _INVITATION.line() not in ran.out + ran.err


@pytest.mark.parametrize("lost", [None, "mesh.id"])
def test_a_home_of_another_mesh_is_left_alone(first: Path, lost: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if lost:
        (first / lost).unlink()
    before = _contents(first)
    ran = _join(first, _INVITATION.line(), monkeypatch=monkeypatch)
    assert ran.code == 2
    assert "already" in ran.err
    assert "--data-dir" in ran.err
    assert b"m".hex() * 4 in ran.err
    assert _contents(first) == before


def test_joining_again_adds_peers_and_keeps_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    _join(home, _INVITATION.line(), monkeypatch=monkeypatch)
    before = _contents(home)
    again = _join(home, _INVITATION.line(), monkeypatch=monkeypatch)
    assert (again.code, _contents(home)) == (0, before)
    config = home / "demesh.toml"
    config.write_text(
        "# mine\n" + config.read_text() + '\n[[check]]  # keep\nname = "a"\ntarget = "https://example.org"\n'
    )
    written = config.read_text()
    other = Invitation(_INVITATION.key, _INVITATION.mesh_id, (_PEER, "/ip4/192.0.2.8/tcp/8471"), "second")
    ran = _join(home, other.line(), monkeypatch=monkeypatch)
    assert ran.code == 0, ran.err
    assert "1 address added" in ran.out
    assert tomllib.loads(config.read_text())["mesh"]["peers"] == [_PEER, "/ip4/192.0.2.8/tcp/8471"]
    kept = [line for line in config.read_text().splitlines() if "192.0.2" not in line]
    assert kept == [line for line in written.splitlines() if "192.0.2" not in line]
    assert {name: content for name, content in _contents(home).items() if name != "demesh.toml"} == {
        name: content for name, content in before.items() if name != "demesh.toml"
    }


def test_peers_find_their_place_in_a_configuration_without_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, text in enumerate(["", "# only a comment\n", '[mesh]\nlisten = "0.0.0.0:1"\n', '[node]\nname = "a"\n']):
        home = tmp_path / str(number)
        home.mkdir()
        (home / "demesh.toml").write_text(text)
        ran = _join(home, _INVITATION.line(), monkeypatch=monkeypatch)
        assert ran.code == 0, ran.err
        assert [each.text for each in read_settings(home / "demesh.toml").peers] == [_PEER]
        assert (home / "demesh.toml").read_text().startswith(text.rstrip("\n"))


def test_a_newer_swarm_key_of_the_same_mesh_replaces_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    _join(home, _INVITATION.line(), monkeypatch=monkeypatch)
    newer = Invitation(SwarmKey(b"n" * 32), _INVITATION.mesh_id, (_PEER,), "first")
    ran = _join(home, newer.line(), monkeypatch=monkeypatch)
    assert ran.code == 0, ran.err
    assert read_swarm_key(home / "swarm.key") == newer.key
    assert f"{_INVITATION.key.fingerprint} was replaced by {newer.key.fingerprint}" in ran.out


@pytest.mark.parametrize("said", ["configuration", "environment"])
def test_a_swarm_key_elsewhere_is_left_alone(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "swarm.key"
    write_secret(elsewhere, SwarmKey(b"x" * 32).text())
    home.mkdir()
    if said == "environment":
        environment = {"DEMESH_SWARM_KEY_FILE": str(elsewhere)}
    else:
        environment = {}
        (home / "demesh.toml").write_text(f'[mesh]\nswarm_key_file = "{elsewhere}"\n')
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(_INVITATION.line().encode())))
    ran = demesh(home, "join", **environment)
    assert ran.code == 2
    assert str(elsewhere) in ran.err
    assert read_swarm_key(elsewhere) == SwarmKey(b"x" * 32)
    assert not (home / "mesh.id").exists()
    elsewhere.write_text(_INVITATION.key.text())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(_INVITATION.line().encode())))
    assert demesh(home, "join", **environment).code == 0
    assert not (home / "swarm.key").exists()


def test_a_home_in_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    _join(home, _INVITATION.line(), monkeypatch=monkeypatch)
    lock = HomeLock(Home(home))
    lock.announce(Running(1, "/none", None))
    ran = _join(home, _INVITATION.line(), monkeypatch=monkeypatch)
    lock.release()
    assert ran.code == 2
    assert "Stop it first" in ran.err


def test_what_broke_off_can_be_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    _join(home, _INVITATION.line(), monkeypatch=monkeypatch)
    whole = _contents(home)
    for lost in ("mesh.id", "demesh.toml", "swarm.key"):
        (home / lost).unlink()
        assert _join(home, _INVITATION.line(), monkeypatch=monkeypatch).code == 0
        assert _contents(home) == whole
