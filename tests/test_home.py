"""Where a node lives: one process at a time, found by every command, its marker whole or absent."""

import errno
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demesh.errors import DemeshError, NodeNotRunning, UsageError
from demesh.home import (
    Home,
    HomeLock,
    MarkerFile,
    Running,
    find_home,
    find_running,
    make_runtime_directory,
    running_node,
    runtime_directory,
)
from demesh.log.epoch import Marker
from demesh.log.head import Head

_RUNNING = Running(4242, "/run/demesh/x.sock", "http://127.0.0.1:8470")
_MARKER = Marker(b"boot0000", "64769:131", b"l" * 16, Head(2**53 - 1, b"h" * 32))
_NOBODY = 65_534


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(tmp_path / "home")
    found.make()
    return found


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DEMESH_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("demesh.home.SYSTEMS", Path("/nonexistent/demesh"))  # this machine may have a node of its own


@contextmanager
def _closed_directory(mode: int) -> Generator[Path]:
    """A directory of `mode` that belongs to somebody else, seen by a user who is not root."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    (path / "node.key").touch()
    (path / "lock").touch(mode=0o600)
    path.chmod(mode)
    root = os.geteuid() == 0
    if root:
        os.seteuid(_NOBODY)
    try:
        yield path
    finally:
        if root:
            os.seteuid(0)
        path.chmod(0o700)
        shutil.rmtree(path)


# The data directory


def test_a_data_directory_is_made_for_its_user_alone(tmp_path: Path) -> None:
    Home(tmp_path / "a/b").make()
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o700


def test_a_data_directory_that_cannot_be_made_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"Cannot make the data directory .*/file/home: .* --data-dir"):
        Home(tmp_path / "file/home").make()


def test_the_data_directory_is_the_one_named_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_home(None).path == tmp_path / ".local/share/demesh"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert find_home(None).path == tmp_path / "share/demesh"
    monkeypatch.setenv("DEMESH_HOME", "~/from-environment")
    assert find_home(None).path == tmp_path / "from-environment"
    assert find_home("~/named").path == tmp_path / "named"
    monkeypatch.chdir(tmp_path)
    assert find_home("relative").path == tmp_path / "relative"


def test_a_home_that_may_not_be_looked_into_is_found_and_then_said_to_be_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _closed_directory(0o700) as path:
        monkeypatch.setenv("XDG_DATA_HOME", str(path))
        home = find_home(None)
        assert home.path == path / "demesh"
        with pytest.raises(UsageError, match="No permission to look into"):
            find_running(home)


def test_the_machines_home_is_found_by_who_was_left_with_a_home_of_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systems = Home(tmp_path / "var")
    systems.make()
    systems.node_key.touch(mode=0o644)
    systems.path.chmod(0o755)
    monkeypatch.setattr("demesh.home.SYSTEMS", systems.path)
    with _closed_directory(0o700) as path:
        monkeypatch.setenv("XDG_DATA_HOME", str(path))
        assert find_home(None) == systems


def test_a_runtime_id_tells_homes_apart_however_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert Home(tmp_path / "a").runtime_id == Home(tmp_path / "b/../a").runtime_id == Home(tmp_path / "link").runtime_id
    assert Home(tmp_path / "a").runtime_id != Home(tmp_path / "b").runtime_id


# The lock


def test_one_data_directory_has_one_node(home: Home) -> None:
    lock = HomeLock(home)
    with pytest.raises(DemeshError, match=r"Another process has .*/home: .* --data-dir") as raised:
        HomeLock(home)
    assert raised.value.exit_code == 1, "a service manager tries again: it is about to end, or to say who it is"
    lock.announce(_RUNNING)
    with pytest.raises(UsageError, match=r"Another node \(pid 4242\) is running"):
        HomeLock(home)
    lock.release()
    HomeLock(home).release()


def test_a_command_that_is_just_looking_does_not_keep_a_node_from_starting(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    HomeLock(home).release()
    with home.lock.open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        monkeypatch.setattr("demesh.home.time.sleep", lambda _: fcntl.flock(looking, fcntl.LOCK_UN))
        HomeLock(home).release()


def test_a_refused_start_leaves_the_running_node_announced(home: Home) -> None:
    lock = HomeLock(home)
    lock.announce(_RUNNING)
    for _ in range(2):
        with pytest.raises(UsageError):
            HomeLock(home)
        assert running_node(home) == _RUNNING
    lock.release()


def test_who_holds_it_now_is_not_taken_for_who_held_it_last(home: Home) -> None:
    lock = HomeLock(home)
    lock.announce(_RUNNING)
    lock.release()
    with HomeLock(home):  # as `demesh log repair` does, which says nothing of itself
        assert running_node(home) is None
        with pytest.raises(NodeNotRunning, match=r"is about to start on .*, or a command holds it"):
            find_running(home)
        with pytest.raises(DemeshError) as raised:
            HomeLock(home)
        assert "4242" not in str(raised.value)


def test_a_full_disk_is_a_sentence(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with HomeLock(home) as lock:
        monkeypatch.setattr("demesh.home.os.pwrite", full)
        with pytest.raises(DemeshError, match="lock file: No space left on device"):
            lock.announce(_RUNNING)


def test_the_lock_is_free_after_the_holder_was_killed(home: Home) -> None:
    program = (
        "import sys; from pathlib import Path; from demesh.home import *;"
        "lock = HomeLock(Home(Path(sys.argv[1]))); lock.announce(Running(1, 's', None)); print('held', flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(home.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="Another node"):
            HomeLock(home)
        holder.kill()
        holder.wait(10)
    assert running_node(home) is None, "what the dead one announced is not believed"
    HomeLock(home).release()


@pytest.mark.parametrize("api", ["http://127.0.0.1:8470", None])
def test_other_commands_learn_how_to_reach_the_node(home: Home, api: str | None) -> None:
    assert running_node(home) is None
    lock = HomeLock(home)
    assert running_node(home) is None, "it has not said anything yet"
    for running in (Running(10**9, "/a-long/path/to/a.sock", api, "/run/credentials/swarm.key"), Running(7, "/s", api)):
        lock.announce(running)
        assert find_running(home) == running
    lock.release()
    assert running_node(home) is None
    assert stat.S_IMODE(home.lock.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_a_lock_file_of_nonsense_is_no_node(home: Home, content: bytes) -> None:
    lock = HomeLock(home)
    home.lock.write_bytes(content)
    assert running_node(home) is None
    lock.release()


def test_no_node_and_no_home_are_told_apart(home: Home, tmp_path: Path) -> None:
    with pytest.raises(NodeNotRunning, match="There is no node at"):
        find_running(Home(tmp_path / "elsewhere"))
    home.node_key.touch()
    with pytest.raises(NodeNotRunning, match="No node is running on"):
        find_running(home)


@pytest.mark.parametrize("mode", [0o700, 0o755], ids=["the directory", "the lock file"])
def test_no_permission_is_said_as_such(mode: int) -> None:
    with _closed_directory(mode) as path, pytest.raises(UsageError, match="No permission to look into"):
        find_running(Home(path))


def test_a_data_directory_of_another_user_cannot_be_locked_and_that_is_said() -> None:
    with _closed_directory(0o755) as path, pytest.raises(UsageError, match="Cannot lock the data directory"):
        HomeLock(Home(path))


# The runtime directory


def test_the_runtime_directory_is_systemds_the_sessions_or_this_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert runtime_directory() == Path("/run/demesh")
    monkeypatch.setattr("os.geteuid", lambda: 1_000)
    assert runtime_directory() == Path("/tmp/demesh-1000")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert runtime_directory() == Path("/run/user/1000/demesh")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/demesh:/run/other")
    assert runtime_directory() == Path("/run/demesh")


def test_the_runtime_directory_is_made_for_its_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    assert make_runtime_directory() == make_runtime_directory() == tmp_path / "run/demesh"
    assert stat.S_IMODE((tmp_path / "run/demesh").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_runtime_directory_that_others_may_write_is_refused(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(mode)
    with pytest.raises(UsageError, match="is not a directory that only this user may write"):
        make_runtime_directory()


def test_a_runtime_directory_that_is_a_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "link"))
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is not a directory that only this user may write"):
        make_runtime_directory()


def test_a_runtime_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setattr("os.geteuid", lambda: 4_242)
    with pytest.raises(UsageError, match="is not a directory that only this user may write"):
        make_runtime_directory()


def test_a_runtime_directory_that_cannot_be_made_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with _closed_directory(0o700) as path:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
        with pytest.raises(UsageError, match=r"Cannot make the runtime directory .*Set XDG_RUNTIME_DIR"):
            make_runtime_directory()


# The marker


def test_a_marker_comes_back_as_it_was_written(home: Home, tmp_path: Path) -> None:
    file = MarkerFile(tmp_path, home)
    assert file.read() is None
    file.write(_MARKER)
    later = Marker(b"boot0000", "64769:131", b"m" * 16, Head(0, b"i" * 32))
    file.write(later)
    assert MarkerFile(tmp_path, home).read() == later
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [f"{home.runtime_id}.marker"]


def test_each_home_has_a_marker_of_its_own(home: Home, tmp_path: Path) -> None:
    MarkerFile(tmp_path, home).write(_MARKER)
    assert MarkerFile(tmp_path, Home(tmp_path / "other")).read() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"7", b'{"boot8": 1}'])
def test_a_broken_marker_is_none(content: bytes, home: Home, tmp_path: Path) -> None:
    (tmp_path / f"{home.runtime_id}.marker").write_bytes(content)
    assert MarkerFile(tmp_path, home).read() is None


@pytest.mark.parametrize("key", ["boot8", "store_file", "log", "seq", "hash"])
def test_a_marker_that_lacks_something_is_none(key: str, home: Home, tmp_path: Path) -> None:
    file, path = MarkerFile(tmp_path, home), tmp_path / f"{home.runtime_id}.marker"
    file.write(_MARKER)
    said = json.loads(path.read_text())
    del said[key]
    path.write_text(json.dumps(said))
    assert file.read() is None


def test_a_marker_that_cannot_be_written_is_an_error_and_leaves_the_old_one(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = MarkerFile(tmp_path, home)
    file.write(_MARKER)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DemeshError, match=r"Cannot write .*: No space left on device"):
        file.write(Marker(b"boot0001", "1:1", b"m" * 16, Head(9, b"i" * 32)))
    assert file.read() == _MARKER
    assert len([path for path in tmp_path.iterdir() if path.is_file()]) == 1


def test_a_runtime_directory_that_went_with_its_session_is_made_again(home: Home, tmp_path: Path) -> None:
    MarkerFile(tmp_path / "gone", home).write(_MARKER)
    assert MarkerFile(tmp_path / "gone", home).read() == _MARKER


def test_a_marker_that_cannot_be_written_is_an_error(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DemeshError, match="Cannot write"):
        MarkerFile(tmp_path / "file", home).write(_MARKER)


def test_who_may_not_look_into_the_home_may_still_find_a_services_socket(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = tmp_path / "run"
    services.mkdir()
    monkeypatch.setattr("demesh.home._SERVICES", services)

    def closed(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(UsageError, match="No permission to look into"):
        running_node(home)
    shared = services / f"{home.runtime_id}.sock"
    shared.touch()
    found = running_node(home)
    assert found is not None
    assert found.socket == str(shared)
