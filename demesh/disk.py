"""What makes a file survive a power cut, beyond writing it."""

import os
from pathlib import Path


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
