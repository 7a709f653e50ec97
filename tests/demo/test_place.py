"""What the demo makes for itself is gone when it ends; what is not its own is left alone."""

import os
import tempfile
from pathlib import Path

import pytest

from demesh import limits
from demesh.demo.place import make_place
from demesh.errors import UsageError


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "t"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


def test_a_directory_of_its_own_is_removed_with_all_that_is_in_it(temporary: Path) -> None:
    with make_place(None) as place:
        assert not place.kept
        (place.directory / "fra").mkdir()
        (place.directory / "fra" / "log.db").touch()
        assert place.directory.stat().st_mode & 0o077 == 0
    assert not place.directory.exists()
    assert list(temporary.iterdir()) == []


def test_a_directory_that_was_named_is_kept_and_the_sockets_are_not(tmp_path: Path) -> None:
    with make_place(str(tmp_path / "new" / "demo")) as place:
        (place.directory / "fra").mkdir()
        assert place.runtime.exists()
        assert place.runtime != place.directory
    assert (tmp_path / "new" / "demo" / "fra").exists()
    assert not place.runtime.exists()


def test_a_directory_with_something_in_it_is_refused_and_left_alone(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "node.key").touch()
    with pytest.raises(UsageError, match="is not empty"), make_place(str(tmp_path / "mine")):
        pass
    with pytest.raises(UsageError, match="Cannot use"), make_place(str(tmp_path / "mine" / "node.key")):
        pass
    assert os.listdir(tmp_path / "mine") == ["node.key"]
    assert list(temporary.iterdir()) == []


def test_where_temporary_names_are_too_long_for_a_socket_a_shorter_one_is_found(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = temporary / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with make_place(None) as place:
        assert len(os.fsencode(place.runtime / "demesh" / "0123456789ab.sock")) <= limits.SOCKET_PATH_BYTES_MAX
    assert not place.runtime.exists()
    assert list(long.iterdir()) == []
