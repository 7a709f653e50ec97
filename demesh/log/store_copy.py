"""A copy of a store that is in use: one moment of it, whole, on the disk under its name or not there at all."""

# pyright: reportUnknownMemberType=false
# (apsw's stubs use collections.abc.Buffer, which Python 3.11 does not have yet)

import os
from contextlib import suppress
from pathlib import Path

import apsw

from demesh.disk import sync_directory, sync_file
from demesh.errors import StoreError


def copy_store(db: apsw.Connection, path: Path) -> None:
    """Copy the database of `db`, with what is only in its WAL yet, to a new file at `path`, mode 0600.

    Others may write to the database meanwhile. Raises StoreError; then nothing is at `path`.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        target = apsw.Connection(str(part), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            backup = target.backup("main", db, "main")
            try:  # `with` would turn an I/O error into a SystemError
                backup.step(-1)
            finally:
                backup.finish()
            target.pragma("journal_mode", "delete")  # one file, which needs no other beside it
            target.execute("DELETE FROM meta WHERE key = 'place'")  # whoever takes it up shall know that it is a copy
        finally:
            target.close()
        sync_file(part)
        part.replace(path)
        sync_directory(path.parent)
    except (apsw.Error, OSError) as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)  # on a full disk it would be in the way
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StoreError(f"The store could not be copied to {path}: {reason}.") from error
