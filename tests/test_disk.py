"""One at a time in a directory, and nothing put in the place of anything."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from demesh import limits
from demesh.disk import changing, put_new

_NO_LINKS = [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS]


def _is_held(directory: Path) -> bool:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_a_directory_is_held_until_the_change_is_over_however_it_ends(tmp_path: Path) -> None:
    with changing(tmp_path):
        assert _is_held(tmp_path)
    assert not _is_held(tmp_path)
    with pytest.raises(ZeroDivisionError), changing(tmp_path):
        _ = 1 / 0
    assert not _is_held(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_who_holds_it_may_take_it_again_by_whatever_name_and_keeps_it(tmp_path: Path) -> None:
    (directory := tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(directory)
    with changing(directory):
        with changing(tmp_path / "link"):
            assert _is_held(directory)
        assert _is_held(directory)
    assert not _is_held(directory)


def test_another_thread_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited, said, sleep = threading.Event(), list[str](), time.sleep

    def waits(seconds: float) -> None:
        waited.set()
        sleep(seconds)

    def other() -> None:
        with changing(tmp_path):
            said.append("other")

    monkeypatch.setattr(time, "sleep", waits)
    thread = threading.Thread(target=other)
    with changing(tmp_path):
        thread.start()
        assert waited.wait(60)
        said.append("first")
    thread.join(60)
    assert said == ["first", "other"]


def test_who_was_killed_holds_nothing(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from demesh.disk import changing\n"
        "with changing(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=60, check=False)
    assert ran.returncode == -9
    assert not _is_held(tmp_path)


def test_one_who_does_not_let_go_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """To lock a directory takes no more than to read it."""
    monkeypatch.setattr(limits, "CHANGE_WAIT_SECONDS_MAX", 0.1)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with changing(tmp_path):
        assert f"Somebody has locked {tmp_path}" in caplog.text
    os.close(descriptor)


def test_where_nothing_can_be_locked_it_is_gone_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    with changing(tmp_path / "none"):
        done.append("no directory")

    def refuse(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with changing(tmp_path):
        done.append("no locks")
    assert done == ["no directory", "no locks"]


@pytest.mark.parametrize("refusal", [None, *_NO_LINKS])
def test_a_file_is_put_in_its_place_and_never_over_another(
    refusal: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if refusal:

        def no_links(_old: Path, _new: Path) -> None:
            raise OSError(refusal, os.strerror(refusal))

        monkeypatch.setattr(os, "link", no_links)
    new, path, link = tmp_path / "new", tmp_path / "path", tmp_path / "link"
    new.write_text("1")
    put_new(new, path)
    assert path.read_text() == "1"
    new.unlink(missing_ok=True)  # a link of it is the same file
    new.write_text("2")
    path.write_text("kept")
    link.symlink_to(tmp_path / "elsewhere")
    for taken in (path, link):
        with pytest.raises(FileExistsError):
            put_new(new, taken)
    assert (path.read_text(), new.read_text()) == ("kept", "2")
    assert not (tmp_path / "elsewhere").exists()


def test_without_hard_links_what_fails_leaves_no_empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    (tmp_path / "new").write_text("1")
    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(PermissionError):
        put_new(tmp_path / "new", tmp_path / "path")
    assert not (tmp_path / "path").exists()
