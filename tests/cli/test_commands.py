"""What every command does: helps, exits as documented, and starts without the heavy libraries."""

import subprocess
import sys
from pathlib import Path

import pytest

from demesh import __version__
from demesh.cli import root
from tests.cli.harness import commands, demesh

_ALL = [path for path, _ in commands(root)]


def test_these_are_the_commands() -> None:
    assert {" ".join(path) for path in _ALL} == {
        "",
        "ack",
        "alerts",
        "alerts test",
        "backup",
        "demo",
        "doctor",
        "explain",
        "check",
        "check add",
        "check list",
        "check pause",
        "check remove",
        "check resume",
        "check run",
        "check set",
        "check test",
        "check validate",
        "init",
        "install-unit",
        "invite",
        "join",
        "log",
        "log export",
        "log heads",
        "log repair",
        "log tail",
        "log verify",
        "maintenance",
        "maintenance end",
        "maintenance list",
        "maintenance start",
        "members",
        "members forget",
        "node",
        "node id",
        "node leave",
        "node run",
        "restore",
        "servers",
        "servers import",
        "servers parked",
        "servers retry",
        "silence",
        "silence add",
        "silence end",
        "silence list",
        "status",
        "swarm-key",
        "swarm-key fingerprint",
        "swarm-key new",
        "swarm-key rotate",
        "token",
        "token list",
        "token new",
        "token revoke",
    }


@pytest.mark.parametrize("path", _ALL, ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_helps(path: tuple[str, ...], option: str, tmp_path: Path) -> None:
    ran = demesh(tmp_path / "home", *path, option)
    assert ran.code == 0
    assert ran.out.startswith("Usage: ")
    assert "--help" in ran.out
    assert ran.err == ""


def test_the_version_is_told(tmp_path: Path) -> None:
    ran = demesh(tmp_path / "home", "--version")
    assert ran.out == f"demesh, version {__version__}\n"


def test_no_command_shows_the_help_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    alone = demesh(tmp_path / "home")
    assert alone.code == 2
    assert "Usage: " in alone.err
    unknown = demesh(tmp_path / "home", "statsu")
    assert unknown.code == 2
    assert "'statsu'" in unknown.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("status", "--json"),
        ("members",),
        ("members", "forget", "x"),
        ("servers",),
        ("servers", "parked"),
        ("servers", "retry", "--all"),
        ("node", "leave"),
        ("node", "id"),
        ("log", "heads"),
        ("log", "verify"),
        ("token", "list"),
        ("token", "revoke", "x"),
    ],
)
def test_without_a_node_a_command_says_so_and_what_to_do(arguments: tuple[str, ...], tmp_path: Path) -> None:
    home = tmp_path / "home"
    ran = demesh(home, *arguments)
    assert ran.code == 3
    assert str(home) in ran.err
    assert "demesh node run" in ran.err
    assert ran.err.count("\n") == 1
    assert ran.out == ""
    assert not home.exists()


def test_a_home_without_a_running_node_is_told_from_none(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert demesh(home, "init", "--name", "nas").code == 0
    ran = demesh(home, "status")
    assert ran.code == 3
    assert ran.err.startswith(f"No node is running on {home}.")


def test_no_command_but_node_run_loads_the_heavy_libraries(tmp_path: Path) -> None:
    lines = [[*path, "--help"] for path in _ALL] + [
        ["init"],
        ["node", "id"],
        ["status"],
        ["swarm-key", "fingerprint"],
        ["doctor"],
        ["token", "new"],
    ]
    program = f"""
import sys
from demesh.cli import main
for line in {lines!r}:
    sys.argv = ["demesh", *line]
    try:
        main()
    except SystemExit as end:
        print("code", end.code, line, file=sys.stderr)
print()
print(sorted({{"libp2p", "trio", "fastapi", "hypercorn", "pycurl", "rich"}} & set(sys.modules)))
"""
    environment = {"DEMESH_HOME": str(tmp_path / "home"), "PATH": ""}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"
    codes = [line.split()[1] for line in ran.stderr.splitlines() if line.startswith("code ")]
    *others, doctor, token = codes
    assert others == ["0"] * (len(_ALL) + 2) + ["3", "0"]
    assert doctor in ("1", "2"), "at least, nobody would be told"
    assert token == "0"
