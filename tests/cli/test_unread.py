"""A command whose reader goes away ends with 141 and not a word, on real pipes; one that Ctrl-C ends at once, with 130."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from demesh.home import Home
from demesh.log.store import Store
from tests.cli.answering import url_answering
from tests.cli.harness import demesh
from tests.cli.status_answers import FULL
from tests.log.builders import MESH, log_of, put

_ROOT = Path(__file__).parents[2]
_SCRIPT = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["scripts"]["demesh"]
_CALLED = {
    "module": ["-m", "demesh"],
    "script": ["-c", f"from {_SCRIPT.split(':')[0]} import {_SCRIPT.split(':')[1]}; {_SCRIPT.split(':')[1]}()"],
}


def _home(path: Path, entries: int) -> Path:
    """The home of a node that has written a log of so many."""
    home = Home(path)
    home.make()
    home.node_key.write_text("11" * 32 + "\n")
    home.mesh_id.write_text(MESH.hex() + "\n")
    with Store(home.log_db, mesh_id=MESH) as store:
        put(store, log_of("ann", entries), own=True)
    return home.path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with a token, and a log of which an export is so short that it is written when all is done."""
    home = _home(tmp_path_factory.mktemp("unread") / "home", 5)
    assert demesh(home, "token", "new").code == 0
    return home


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with url_answering({"/api/v1/status": FULL}) as url:
        yield url


@pytest.fixture
def unread() -> Iterator[int]:
    """The end of a pipe to write to, whose other end is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def _environment(home: Path, **more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DEMESH_", "XDG_", "RUNTIME_"))}
    kept.pop("PYTHONUNBUFFERED", None)
    return {**kept, "DEMESH_HOME": str(home), "XDG_RUNTIME_DIR": str(home.parent), **more}


def _run(
    home: Path, *arguments: str, out: int, err: int = subprocess.PIPE, unbuffered: bool = False
) -> tuple[int, str]:
    """The exit code, and what was written to stderr."""
    ran = subprocess.run(
        [sys.executable, "-m", "demesh", *arguments],
        cwd=_ROOT,
        env=_environment(home, **({"PYTHONUNBUFFERED": "1"} if unbuffered else {})),
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.returncode, ran.stderr


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize(
    "line",
    [
        "--version",
        "--help",
        "status --help",
        "check test --help",
        "token list",
        "log heads",
        "log export",
        "log tail",
    ],
)
def test_whoever_reads_no_more_is_no_error(line: str, unbuffered: bool, home: Path, unread: int) -> None:
    code, said = _run(home, *line.split(), out=subprocess.DEVNULL, unbuffered=unbuffered)
    assert code == 0
    assert _run(home, *line.split(), out=unread, unbuffered=unbuffered) == (141, said)


@pytest.mark.parametrize("line", ["status", "status --json", "status --down", "status --watch"])
def test_a_status_that_nobody_reads_says_nothing_of_the_checks(line: str, home: Path, url: str, unread: int) -> None:
    assert _run(home, *line.split(), "--node", url, out=unread) == (141, "")


def test_a_reader_that_has_read_enough(tmp_path: Path) -> None:
    """As in `demesh log export | head -c 10`; more is exported than a pipe holds."""
    home = _home(tmp_path / "home", 400)
    running = subprocess.Popen(
        [sys.executable, "-m", "demesh", "log", "export"],
        cwd=_ROOT,
        env=_environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert running.stdout
    assert running.stderr
    with running:
        assert len(running.stdout.read(10)) == 10
        running.stdout.close()
        said = running.stderr.read()
    assert (running.returncode, said) == (141, b"")


@pytest.mark.parametrize("line", ["token list", "token revoke nobody's", "statsu"])
def test_nor_is_it_when_what_is_said_goes_the_same_way(line: str, home: Path, unread: int) -> None:
    """As in `demesh token revoke nobody's 2>&1 | true`."""
    assert _run(home, *line.split(), out=unread, err=unread)[0] == 141


def test_what_goes_to_a_reader_that_is_there_comes_though_the_other_one_is_gone(
    home: Path, tmp_path: Path, unread: int
) -> None:
    with (tmp_path / "out").open("wb") as out:
        code, _ = _run(home, "token", "new", "--name", "shown", out=out.fileno(), err=unread)
    assert code == 141
    assert (tmp_path / "out").read_text().startswith("demesh_")


@pytest.mark.parametrize("called", _CALLED)
def test_ctrl_c_in_the_first_moment_is_no_traceback(called: str, home: Path, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    ran = subprocess.run(
        [sys.executable, *_CALLED[called], "status"],
        cwd=_ROOT,
        env=_environment(home, PYTHONPATH=os.pathsep.join((str(tmp_path), str(_ROOT)))),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, b"", b"")
