"""What `demesh node run` refuses before anything runs, each with a sentence."""

import json
import os
import socket
from pathlib import Path

import pytest

from demesh.home import Home, HomeLock, Running
from tests.cli.harness import Ran, demesh


def _run(home: Path, *arguments: str) -> Ran:
    return demesh(home, "node", "run", "--api", "none", *arguments)


def _runs(home: Path, *arguments: str) -> None:
    with pytest.raises(AssertionError, match="the node would run"):
        _run(home, *arguments)


def test_a_node_needs_nothing_but_a_target(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _runs(home, "https://example.org/")
    assert {"node.key", "swarm.key", "mesh.id", "log.db", "lock"} <= {path.name for path in home.iterdir()}
    assert home.stat().st_mode & 0o777 == 0o700
    assert {(home / name).stat().st_mode & 0o777 for name in ("node.key", "swarm.key")} == {0o600}
    assert json.loads((home / "lock").read_text())["starting"], "so that nobody takes it for one that should answer"


def test_copies_of_keys_that_a_killed_command_left_are_taken_away(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    left, being_written, anothers = (
        home / name for name in (".swarm.key.0a1b2c3d.part", ".tokens.json.0a1b2c3d.part", ".film.mkv.part")
    )
    for each in (left, being_written, anothers):
        each.touch()
    for each in (left, anothers):
        os.utime(each, (0, 0))
    _runs(home)
    assert [each.exists() for each in (left, being_written, anothers)] == [False, True, True]


def test_a_second_node_on_one_data_directory_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    lock = HomeLock(Home(home))
    lock.announce(Running(4242, "/run/x.sock", None))
    ran = _run(home)
    lock.release()
    assert ran.code == 2
    assert ran.err.startswith(f"Another node (pid 4242) is running on {home}.")
    assert "--data-dir" in ran.err
    assert not (home / "node.key").exists()


def test_joining_without_the_swarm_key_is_refused_and_founds_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ran = _run(home, "--peer", "vps.example.net:8471")
    assert ran.code == 2
    assert f"There is no swarm key at {home / 'swarm.key'}" in ran.err
    assert "--swarm-key-file" in ran.err
    assert "`demesh invite`" in ran.err
    assert not (home / "swarm.key").exists()
    demesh(home, "swarm-key", "new")
    _runs(home, "--peer", "vps.example.net:8471")


def test_the_swarm_key_may_come_by_option_by_environment_or_by_the_file(tmp_path: Path) -> None:
    key = tmp_path / "swarm.key"
    demesh(tmp_path / "home", "swarm-key", "new", str(key))
    _runs(tmp_path / "a", "--peer", "vps:1", "--swarm-key-file", str(key))
    with pytest.raises(AssertionError, match="the node would run"):
        demesh(tmp_path / "b", "node", "run", "--api", "none", "--peer", "vps:1", DEMESH_SWARM_KEY_FILE=str(key))
    (tmp_path / "c").mkdir()
    (tmp_path / "c/demesh.toml").write_text('[mesh]\npeers = ["vps:1"]\nswarm_key_file = "../swarm.key"\n')
    _runs(tmp_path / "c")


@pytest.mark.parametrize("arguments", [(), ("--peer", "vps:1")])
def test_a_home_keeps_its_mesh_whatever_becomes_of_the_swarm_key(arguments: tuple[str, ...], tmp_path: Path) -> None:
    home = tmp_path / "home"
    _runs(home)
    mesh_id = (home / "mesh.id").read_text()
    demesh(home, "swarm-key", "new", str(tmp_path / "other.key"))
    _runs(home, "--swarm-key-file", str(tmp_path / "other.key"), *arguments)
    assert (home / "mesh.id").read_text() == mesh_id
    (home / "mesh.id").unlink()
    _runs(home, "--swarm-key-file", str(tmp_path / "other.key"), *arguments)
    assert (home / "mesh.id").read_text() == mesh_id, "the log knows it too"


def test_a_new_node_with_peers_founds_no_mesh_by_itself(tmp_path: Path) -> None:
    home = tmp_path / "home"
    demesh(home, "swarm-key", "new")
    _runs(home, "--peer", "vps.example.net:8471")
    assert not (home / "mesh.id").exists()
    assert not (home / "log.db").exists()


@pytest.mark.parametrize("content", ["", "zz", "00" * 15])
def test_a_broken_mesh_id_is_refused(content: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "mesh.id").write_text(content)
    demesh(home, "swarm-key", "new")
    ran = _run(home)
    assert ran.code == 2
    assert str(home / "mesh.id") in ran.err


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_busy_api_port_is_named_with_its_remedy(host: str, tmp_path: Path) -> None:
    family = socket.AF_INET6 if "[" in host else socket.AF_INET
    with socket.socket(family) as busy:
        busy.bind((host.strip("[]"), 0))
        busy.listen()
        address = f"{host}:{busy.getsockname()[1]}"
        ran = demesh(tmp_path / "home", "node", "run", "--api", address)
    assert ran.code == 1, "2 is what systemd does not try again"
    assert ran.err.startswith(f"The API cannot listen on {address}: Address already in use.")
    assert "--api" in ran.err


_BEYOND = ["0.0.0.0:8470", "192.0.2.7:8470", "[2001:db8::1]:8470", "example.org:8470"]


@pytest.mark.parametrize("api", _BEYOND)
def test_an_api_that_others_could_reach_is_refused_without_a_token(api: str, tmp_path: Path) -> None:
    ran = demesh(tmp_path / "home", "node", "run", "--api", api)
    assert ran.code == 2
    assert ran.err.startswith(f"The API cannot listen on {api}: it could be reached from elsewhere")
    assert "demesh token new" in ran.err


def test_with_a_token_the_api_may_listen_for_others(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _runs(home)
    demesh(home, "token", "new", "--read")
    with pytest.raises(AssertionError, match="the node would run"):
        demesh(home, "node", "run", "--api", "0.0.0.0:0")


def test_a_configured_token_file_is_used_and_must_hold_a_token(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "demesh.toml").write_text('[api]\nlisten = "0.0.0.0:0"\ntoken_file = "api.token"\n')
    missing = demesh(home, "node", "run")
    assert missing.code == 2
    assert f"{home / 'api.token'} cannot be read" in missing.err
    (home / "api.token").write_text("0123456789abcdef\n")
    with pytest.raises(AssertionError, match="the node would run"):
        demesh(home, "node", "run")


def test_the_form_of_the_log_comes_by_option_or_by_environment(tmp_path: Path) -> None:
    _runs(tmp_path / "home", "--log-format", "json", "--stats")
    refused = demesh(tmp_path / "home", "node", "run", "--api", "none", DEMESH_LOG_FORMAT="xml")
    assert refused.code == 2
    assert "'xml' is not one of 'text', 'json'" in refused.err


def test_elsewhere_than_on_linux_it_says_what_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    ran = _run(tmp_path / "home")
    assert ran.code == 2
    assert "--node URL" in ran.err


def test_a_runtime_directory_too_deep_for_a_socket_is_named(tmp_path: Path) -> None:
    ran = demesh(tmp_path / "home", "node", "run", "--api", "none", XDG_RUNTIME_DIR=str(tmp_path / ("x" * 100)))
    assert ran.code == 2
    assert "too long for a socket. Set XDG_RUNTIME_DIR" in ran.err
