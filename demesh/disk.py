"""What makes a file survive a power cut, beyond writing it; and what keeps two from changing it at once, or making it twice.

Guarantees: `changing` is held by one at a time, and by nobody once its process has ended, however it ends; `put_new` never
overwrites. Not guaranteed: `changing` on file systems that lock nothing, nor where somebody does not let go of it, which takes no
more than the right to read the directory; there it is gone on without, as a change that is lost now and then is less bad than a
configuration, or a token, that cannot be changed at all.
"""

import errno
import fcntl
import logging
import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from demesh import limits

log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.02
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


class _Held(threading.local):
    """The directories that this thread holds, each by its device and inode."""

    def __init__(self) -> None:
        self.places: set[tuple[int, int]] = set()


_held = _Held()


@contextmanager
def changing(directory: Path) -> Generator[None]:
    """Hold off all others who would change a file in `directory`: around reading it, changing it and replacing it.

    Whoever holds it may take it again. A directory that is not there, or may not be read, is no reason to stop here: whoever
    then reads or writes in it says so. Never wait for a person within it.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        descriptor = None
    if descriptor is None:
        yield
        return
    try:
        status = os.fstat(descriptor)
        place = (status.st_dev, status.st_ino)
        if place in _held.places:
            yield
            return
        _lock(descriptor, directory)
        _held.places.add(place)
        try:
            yield
        finally:
            _held.places.discard(place)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    for _ in range(round(limits.CHANGE_WAIT_SECONDS_MAX / _LOOK_SECONDS)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOOK_SECONDS)
        except OSError:
            return  # nothing can be locked on this file system
        else:
            return
    log.warning(
        "Somebody has locked %s for %d s; it is not waited for any longer.", directory, limits.CHANGE_WAIT_SECONDS_MAX
    )
