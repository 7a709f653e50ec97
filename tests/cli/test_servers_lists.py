"""`demesh check list` and `validate` say the sum of a long list of servers, and each check of a short one."""

import json
from pathlib import Path

import pytest

from tests.cli.harness import demesh

_HEADER = "type,host,port,transport,family,user,password_file,note\n"


def _home(directory: Path, number: int) -> Path:
    directory.mkdir()
    (directory / "demesh.toml").write_text('[[server_list]]\nfile = "l.csv"\n')
    (directory / "l.csv").write_text(_HEADER + "".join(f"tcp,a{each}.example.net,25,,,,,\n" for each in range(number)))
    return directory


@pytest.mark.parametrize("command", ["list", "validate"])
def test_a_long_list_is_told_as_a_sum(command: str, tmp_path: Path) -> None:
    home = _home(tmp_path / "home", 300)
    said = demesh(home, "check", command)
    assert said.code == 0
    assert f"300 checks more of {home}/l.csv; --json shows them." in said.out
    assert "a7.example.net" not in said.out
    told = json.loads(demesh(home, "check", command, "--json").out)
    assert len(told if command == "list" else told["checks"]) == 300


@pytest.mark.parametrize("command", ["list", "validate"])
def test_a_short_list_is_shown_check_by_check(command: str, tmp_path: Path) -> None:
    said = demesh(_home(tmp_path / "home", 3), "check", command).out
    assert "tcp a2.example.net:25 tcp" in said
    assert "--json shows" not in said


def test_a_row_that_is_left_out_is_said_by_validate(tmp_path: Path) -> None:
    home = _home(tmp_path / "home", 1)
    with (home / "l.csv").open("a") as file:
        file.write("tcp,10.0.0.1,25,,,,,\n")
    assert f"left out: {home}/l.csv:3: the address is no public one." in demesh(home, "check", "validate").out
