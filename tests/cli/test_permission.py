"""What a user who may not look into a data directory, or not write there, is told: that, and never that there is no node."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import pytest

from demesh.cli import root
from tests.cli.harness import commands, demesh, examples

_NOBODY = 65_534
_PROGRAM = f"""
import importlib, json, os, pkgutil, shlex, sys, tempfile
import demesh.backup, demesh.cli, demesh.doctor, demesh.log.audit, demesh.log.replay
import demesh.log.store, demesh.view.report, encodings.idna
for package in (demesh.cli, demesh.doctor):
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{{package.__name__}}.{{module.name}}")
for line in json.loads(sys.argv[1]):
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 1), os.dup2(said.fileno(), 2)
            if os.geteuid() == 0:
                os.setgroups([]), os.setgid({_NOBODY}), os.setuid({_NOBODY})
            sys.argv = shlex.split(line)
            try:
                demesh.cli.main()
            except SystemExit as end:
                sys.stdout.flush(), sys.stderr.flush()
                os._exit(end.code)  # without the time that Python takes to end
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        print(json.dumps([line, code, said.read()]))
"""
"""Runs each command as another user, in a copy of this process: that user may not be able to read this Python's library."""

_ALL = [
    re.split(" [|<>] ", examples(command)[0])[0]
    for path, command in commands(root)
    if not isinstance(command, click.Group)
    and path not in {("check", "test"), ("demo",), ("servers", "import"), ("install-unit",)}
]
"""The first example of each that looks into the data directory."""


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """The home of a node, which its user alone may enter; not even that one unless it is root."""
    home = tmp_path / "home"
    assert demesh(home, "init", "--name", "nas").code == 0
    home.chmod(0)
    yield home
    home.chmod(0o700)


def _as_nobody(home: Path, *lines: str) -> list[tuple[str, int, str]]:
    """Each line, its exit code and what it printed, run by a user without rights: another one if this is root."""
    environment = {**os.environ, "DEMESH_HOME": str(home), "HOME": "/nonexistent", "XDG_RUNTIME_DIR": str(home)}
    program = [sys.executable, "-c", _PROGRAM, json.dumps(lines)]
    ran = subprocess.run(program, env=environment, cwd="/", capture_output=True, text=True, timeout=120, check=True)
    return [tuple(json.loads(line)) for line in ran.stdout.splitlines()]


@pytest.mark.slow
def test_no_permission_is_said_as_such_by_every_command(closed: Path) -> None:
    told = _as_nobody(closed, *_ALL)
    assert len(told) == len(_ALL)
    for line, code, printed in told:
        said = printed.replace(str(closed), "")  # it is called as this test
        assert code == 2, (line, said)
        assert "ermission" in said, (line, said)
        assert "Traceback" not in said, line
        assert "no node" not in said.lower(), line


def test_a_directory_that_may_not_be_written_is_named() -> None:
    with TemporaryDirectory() as place:  # the way to pytest's own is closed to others
        home = Path(place)
        (home / "demesh.toml").write_text('[[check]]\nname = "db"\ntarget = "tcp://db.example.net:5432"\n')
        (home / "demesh.toml").chmod(0o644)
        home.chmod(0o555)
        ((_, code, said),) = _as_nobody(home, "demesh check pause db")
        home.chmod(0o700)
    assert code == 2
    assert f"Cannot write {home}/demesh.toml: Permission denied." in said
