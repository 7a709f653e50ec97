"""What can be read of logs that are held, whatever holds them: a store, or an export of one."""

from collections.abc import Sequence
from typing import Protocol

from demesh.log.entry import BadRow, Entry, Kind
from demesh.log.state import LogState


class Held(Protocol):
    """See `demesh.log.store_read.StoredLogs` for what each call promises."""

    def mesh_id(self) -> bytes: ...

    def logs(self) -> Sequence[LogState]: ...

    def wall_ms_at(self, log: bytes, seq: int) -> int | None: ...

    def read(self, log: bytes, first: int, last: int) -> tuple[list[Entry], list[BadRow]]: ...

    def read_on(self, log: bytes, first: int, *, bytes_max: int) -> list[Entry]: ...

    def read_but_results(self, log: bytes, first: int, below: int, *, bytes_max: int) -> list[Entry]: ...

    def newest(self, log: bytes, kind: Kind, *, before: int, count: int = 1) -> list[Entry]: ...
