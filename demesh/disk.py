"""What makes a file survive a power cut, beyond writing it, and what never overwrites one."""

import errno
import os
from pathlib import Path


_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
"""How file systems, and those who watch over them, say that there are no hard links."""


def sync_file(path: Path) -> None:
    """Return once what was written to the file is on the disk. Raises OSError."""
    _sync(path, os.O_RDONLY)


def sync_directory(path: Path) -> None:
    """Return once the names in the directory (files made, renamed, removed) are on the disk. Raises OSError."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_new(temporary: Path, path: Path) -> None:
    """Give the file `temporary` the name `path`, which is then all of it or not there; it may keep its own name as well.

    Raises FileExistsError if anything has that name, and OSError. (Without hard links a kill in between leaves an empty file.)
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    else:
        return
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        temporary.replace(path)
    except BaseException:
        path.unlink()
        raise
