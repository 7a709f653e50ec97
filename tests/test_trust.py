"""Which certificate authorities are believed, and that a changed file counts at once."""

import os
from pathlib import Path

import pytest

from demesh.limits import CA_FILE_BYTES_MAX, CA_FILES_KEPT_MAX
from demesh.trust import read_ca_file


def test_a_file_is_read_once_as_long_as_it_stays(tmp_path: Path):
    file = tmp_path / "ca.pem"
    file.write_bytes(b"one")
    first = read_ca_file(str(file))
    assert read_ca_file(str(file)) is first


def test_a_file_that_is_written_replaced_or_gone_counts_at_once(tmp_path: Path):
    file = tmp_path / "ca.pem"
    file.write_bytes(b"one")
    assert read_ca_file(str(file)) == b"one"
    file.write_bytes(b"longer")
    assert read_ca_file(str(file)) == b"longer"

    times = os.stat(file)
    (tmp_path / "new").write_bytes(b"sixsix")  # as long, and as old to the nanosecond
    os.utime(tmp_path / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
    (tmp_path / "new").rename(file)
    assert read_ca_file(str(file)) == b"sixsix"

    file.unlink()
    with pytest.raises(FileNotFoundError):
        read_ca_file(str(file))


def test_what_is_no_file_or_too_large_is_refused_without_waiting(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", CA_FILE_BYTES_MAX + 1)
    for name in ("pipe", ".", "large"):
        with pytest.raises(OSError, match=r"not a file|too large"):
            read_ca_file(str(tmp_path / name))


def test_only_so_many_files_are_kept(tmp_path: Path):
    first = tmp_path / "first"
    first.write_bytes(b"first")
    kept = read_ca_file(str(first))
    for number in range(CA_FILES_KEPT_MAX):
        (tmp_path / str(number)).write_bytes(b"x")
        read_ca_file(str(tmp_path / str(number)))
    assert read_ca_file(str(first)) is not kept
