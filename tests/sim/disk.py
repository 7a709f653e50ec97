"""The disks of all machines: `tests.crash.disk`, with a directory for each machine, which can be sealed, fill up or break.

A process that is killed leaves its files as they are: while its directory is sealed, whatever it still does to them is
dropped. The files lie in memory (/dev/shm, where there is one); nothing is really synced.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import apsw

from tests.crash.disk import Disk, Fault, File


class Cut(apsw.IOError):
    """The process was killed in the middle of what it wrote."""


@dataclass
class State:
    """What is the matter with one directory."""

    sealed: bool = False
    fault: Fault | None = None
    hit_at_wal: bool = False
    """Whether the fault has struck something that the store must not lose."""
    steps_left: int | None = None
    """After so many more steps the process is killed."""


class _File(File):
    def __init__(self, disk: "Disks", name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(disk, name, flags)
        self.state = disk.state(self.path.parent) if self.path else State()
        self.is_wal = self.path is not None and self.path.name == "log.db-wal"
        self.is_log = self.path is not None and self.path.name.startswith("log.db")


class Disks(Disk):
    def __init__(self) -> None:
        super().__init__()
        self._states: dict[Path, State] = {}

    def state(self, directory: Path) -> State:
        return self._states.setdefault(directory, State())

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 SQLite's name
        return _File(self, name, flags)

    def step(self, file: File, data: bytes | None, offset: int) -> bool:
        assert isinstance(file, _File)
        state = file.state
        if state.sealed:
            return False
        if state.steps_left is not None and file.is_log:
            state.steps_left -= 1
            if state.steps_left <= 0:
                state.steps_left, state.sealed = None, True
                raise Cut("killed")
        if state.fault is not None:
            try:
                state.fault(file, data, offset)
            except apsw.Error:
                state.hit_at_wal = state.hit_at_wal or file.is_wal
                raise
        return True

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 SQLite's name
        if not self.state(Path(filename).parent).sealed:
            super().xDelete(filename, syncdir)

    def cut_power(self, directory: Path, chance: random.Random | None) -> None:
        """Leave of the files in `directory` what was synced, and with `chance` any other sectors too. Nobody has them open."""
        left = self.after_power_cut(chance, directory)
        for path in directory.iterdir():
            if path not in left:
                path.unlink()
        for path, content in left.items():
            path.write_bytes(content)
        self.forget(directory)
