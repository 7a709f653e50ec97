"""A disk that fails on purpose, under SQLite: counts every write, sync, truncation and removal, and fails the k-th.

It also knows what a power cut would leave: of each file what was last synced, and any part of what was written since. Files
that were renamed by others than SQLite are not followed. Nothing is really synced: the process under test does not end.
"""

import random
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import apsw

Fault = Callable[["File", bytes | None, int], None]
"""What happens in place of the k-th step: given the file, and what was to be written where (None: no write)."""

_SECTOR_BYTES = 512


@dataclass
class _Kept:
    """One file: its bytes when last synced, and what was done to it since, in order."""

    synced: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Where and what was written; None: cut off there."""

    def sync(self) -> None:
        _apply(self.synced, self.since)
        self.since.clear()

    def after(self, steps: list[tuple[int, bytes | None]]) -> bytes:
        content = bytearray(self.synced)
        _apply(content, steps)
        return bytes(content)


def _apply(content: bytearray, steps: list[tuple[int, bytes | None]]) -> None:
    for offset, data in steps:
        if data is None:
            del content[offset:]
            continue
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data


class File(apsw.VFSFile):
    def __init__(self, disk: "Disk", name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self.disk = disk
        self.path = Path(path) if path else None
        self._kept = disk.file(self.path) if self.path else _Kept()

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 SQLite's name
        if self.disk.step(self, bytes(data), offset):
            self.write(bytes(data), offset)

    def write(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._kept.since.append((offset, data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 SQLite's name
        if self.disk.step(self, None, newsize):
            super().xTruncate(newsize)
            self._kept.since.append((newsize, None))

    def xSync(self, flags: int) -> None:  # noqa: N802 SQLite's name
        if self.disk.step(self, None, 0):
            self._kept.sync()


class Disk(apsw.VFS):
    """The default file system of SQLite while it is `failing`. Nothing fails unless `fail_at` says so."""

    def __init__(self) -> None:
        self.steps = 0
        self.fail_at = 0
        """The number of the step that fails, from 1 on; 0: none."""
        self.fault: Fault = io_error
        self.stays_broken = False
        """Whether every step behind that one fails as well, as on a full or dying disk."""
        self._files: dict[Path, _Kept] = {}
        super().__init__("failing", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 SQLite's name
        return File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 SQLite's name
        super().xDelete(filename, syncdir)
        self._files.pop(Path(filename), None)

    def file(self, path: Path) -> _Kept:
        # What is there before SQLite comes was synced by whoever put it there.
        if path not in self._files:
            self._files[path] = _Kept(bytearray(path.read_bytes() if path.exists() else b""))
        return self._files[path]

    def step(self, file: File, data: bytes | None, offset: int) -> bool:
        """Called before each step; whether it is done at all."""
        self.steps += 1
        is_due = self.fail_at and (self.steps == self.fail_at or (self.stays_broken and self.steps > self.fail_at))
        if is_due:
            self.fault(file, data, offset)
        return True

    def after_power_cut(self, chance: random.Random | None, under: Path | None = None) -> dict[Path, bytes]:
        """What a power cut would leave: only what was synced, or with `chance` any of the other sectors as well.

        Of the files in the directory `under`, or of all.
        """
        return {
            path: kept.after(_survivors(kept.since, chance) if chance else [])
            for path, kept in self._files.items()
            if not path.name.endswith("-shm") and under in (None, path.parent) and path.exists()
        }

    def forget(self, under: Path) -> None:
        """What is in the directory `under` now is taken for synced."""
        for path in [each for each in self._files if each.parent == under]:
            del self._files[path]

    def replace(self, files: dict[Path, bytes]) -> None:
        """Put `files` there in the place of all that is in their directories."""
        for directory in {path.parent for path in (*self._files, *files)}:
            for path in directory.iterdir():
                path.unlink()
        for path, content in files.items():
            path.write_bytes(content)
        self._files.clear()


def _survivors(steps: list[tuple[int, bytes | None]], chance: random.Random) -> list[tuple[int, bytes | None]]:
    """Any of the sectors that were written, in any order that a disk may choose: it drops and keeps them as it likes."""
    left: list[tuple[int, bytes | None]] = []
    for offset, data in steps:
        if data is None:
            left.append((offset, None))
            continue
        at = offset
        while at < offset + len(data):
            end = min((at // _SECTOR_BYTES + 1) * _SECTOR_BYTES, offset + len(data))
            if chance.random() < 0.5:
                left.append((at, data[at - offset : end - offset]))
            at = end
    return left


def io_error(file: File, data: bytes | None, offset: int) -> None:
    raise apsw.IOError("the test says so")


def full(file: File, data: bytes | None, offset: int) -> None:
    if data is not None:
        raise apsw.FullError("the test says so")


def torn(file: File, data: bytes | None, offset: int) -> None:
    """Half of it is written before the disk gives up."""
    if data is not None:
        file.write(data[: len(data) // 2], offset)
    raise apsw.IOError("the test says so")


@contextmanager
def failing_disk() -> Generator[Disk]:
    disk = Disk()
    try:
        yield disk
    finally:
        disk.unregister()
