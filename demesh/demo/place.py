"""Where the demo lives: a directory for the homes, and a short one for the sockets. Both are its own.

Guarantees: a directory that somebody named must be empty, and is kept; one that the demo made is removed at its end.
"""

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demesh import limits
from demesh.errors import UsageError

_PREFIX = "demesh-demo-"
_SOCKET = "demesh/0123456789ab.sock"
_SHORT = "/tmp"


@dataclass(frozen=True, slots=True)
class Place:
    """`runtime` is where nodes put their sockets (XDG_RUNTIME_DIR)."""

    directory: Path
    runtime: Path
    kept: bool


@contextmanager
def make_place(named: str | None) -> Generator[Place]:
    """Raises UsageError."""
    directory = _named(named) if named else None
    runtime = _temporary()
    try:
        yield Place(directory or runtime, runtime, kept=directory is not None)
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


def _named(named: str) -> Path:
    path = Path(named).expanduser().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        empty = not any(path.iterdir())
    except OSError as error:
        raise UsageError(f"Cannot use {path}: {error.strerror}. Name another with --dir.") from None
    if not empty:
        raise UsageError(f"{path} is not empty, and the demo wants a directory of its own. Name another with --dir.")
    return path


def _temporary() -> Path:
    try:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        if len(os.fsencode(path / _SOCKET)) > limits.SOCKET_PATH_BYTES_MAX:
            path.rmdir()
            path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_SHORT))
    except OSError as error:
        raise UsageError(
            f"Cannot make a temporary directory: {error.strerror}. Set TMPDIR to one that can be written."
        ) from None
    return path
