"""Where what is written costs nothing, for tests that are not about the disk."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def directory_in_memory() -> Generator[Path]:
    """A directory that is gone afterwards; on the disk, where there is no /dev/shm."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix="demesh-", dir=memory if memory.is_dir() else None) as found:
        yield Path(found)
