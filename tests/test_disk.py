"""Nothing is put in the place of anything."""

import errno
import os
from pathlib import Path

import pytest

from demesh.disk import put_new

_NO_LINKS = [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS]


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
