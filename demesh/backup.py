"""A node's data directory as one tar file, and back.

Guarantees: a backup is made while the node runs, and holds one moment of its store; it stands under its name whole or not
at all, mode 0600, since the keys are in it, and overwrites nothing. What a killed one has left is taken away by the next to the
same place; of two at the same time the second is refused. A restore takes nothing but plain files and directories inside the data
directory, of bounded number and size, and only into an empty one. It never forks a log: what was published after the
backup cannot be known from it, so the node begins a new epoch of its own log (see `demesh.log.epoch`).

Not guaranteed: that the files beside the store are of the same moment as it.
"""

import fcntl
import os
import stat
import tarfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from shutil import copyfileobj, rmtree
from typing import BinaryIO

from demesh import limits
from demesh.disk import put_new, sync_directory
from demesh.errors import StoreError, UsageError
from demesh.home import Home
from demesh.log.store import Store

_STORE = "log.db"
_DERIVED = "view.db"  # made anew from the store
_STAGING = ".restoring"
_PART = ".part"
_LEFT_OUT_SUFFIXES = (_PART, ".sock", ".marker")


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in the data directory that a backup cannot hold."""

    path: Path
    why: str


def make_backup(home: Home, target: Path, swarm_key: str | None = None) -> list[Skipped]:
    """Write the data directory `home` to the new file `target`, with the text of a `swarm_key` that is elsewhere in the place
    of its own. Raises UsageError, StoreError."""
    if target.resolve().is_relative_to(home.path.resolve()):
        raise UsageError(f"{target} is inside the data directory. Write the backup elsewhere, best to another disk.")
    if target.exists():
        raise _there_already(target)
    skipped: list[Skipped] = []
    try:
        with _growing(target) as file:
            _write(home, file, target, swarm_key, skipped)
    except FileExistsError:
        raise _there_already(target) from None
    except OSError as error:
        raise UsageError(f"Cannot write {target}: {error.strerror}.") from None
    return skipped


def restore_backup(home: Home, source: Path) -> None:
    """Fill the empty data directory `home`, whose lock the caller holds, from the backup `source`.

    Raises UsageError if it is not empty, or if the file is no backup or damaged; then the directory is as it was, but for what a
    restore that was killed while it unpacked had left there.
    """
    staging = Home(home.path / _STAGING)
    if any(path not in (home.lock, staging.path) for path in home.path.iterdir()):
        raise UsageError(f"{home.path} is not empty, and nothing in it is overwritten. Name another with --data-dir.")
    try:
        if staging.path.exists():
            rmtree(staging.path)
        staging.path.mkdir(mode=0o700)
        with tarfile.open(source, mode="r:") as tar:
            _extract(tar, staging.path)
        _check(staging, source)
        # The node's key comes last: without it there is no node here yet.
        for path in sorted(staging.path.iterdir(), key=lambda each: each == staging.node_key):
            path.rename(home.path / path.name)
        sync_directory(home.path)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise UsageError(f"{source} is no backup of demesh, or it is damaged: {error}.") from None
    except OSError as error:
        raise UsageError(f"Cannot restore {source} to {home.path}: {error.strerror or error}.") from None
    finally:
        rmtree(staging.path, ignore_errors=True)


@contextmanager
def _growing(target: Path) -> Generator[BinaryIO]:
    """A file that becomes `target` when all is written; until then it is another, which is gone if anything fails.

    Raises UsageError if another backup to `target` is being made, FileExistsError if one has been meanwhile, OSError.
    """
    part = target.with_name(target.name + _PART)
    _remove_stale(part, target)
    try:
        file = _private(part)
    except FileExistsError:
        raise _busy(target) from None
    with file:  # and so locked until it is gone
        if not _is_kept(part, file):
            raise _busy(target)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            put_new(part, target)
            sync_directory(target.parent)
        finally:
            with suppress(OSError):
                if _is_same(part, file.fileno()):
                    part.unlink()


def _is_kept(part: Path, file: BinaryIO) -> bool:
    """Whether nobody takes away `file` as stale from now on: not before it was locked, either. Raises OSError."""
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # where nothing can be locked, none is taken for stale
    return _is_same(part, file.fileno())


def _is_same(part: Path, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(part.lstat(), os.fstat(descriptor))
    return False


def _remove_stale(part: Path, target: Path) -> None:
    """Take away what a killed backup has left: it is locked as long as one writes to it. Raises UsageError."""
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_same(part, descriptor):
                raise _busy(target)  # another took it away, and writes its own
            part.unlink()
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return
    except BlockingIOError:
        raise _busy(target) from None
    except OSError as error:
        raise UsageError(f"{part} is in the way: {error.strerror}. Remove it, unless a backup is being made.") from None


def _there_already(target: Path) -> UsageError:
    return UsageError(f"{target} exists and is not overwritten.")


def _busy(target: Path) -> UsageError:
    return UsageError(f"Another backup to {target} is being made. Wait for it, or name another file.")


def _write(home: Home, file: BinaryIO, target: Path, swarm_key: str | None, skipped: list[Skipped]) -> None:
    """Write all of the backup to `file`. Raises OSError, StoreError."""
    database = target.with_name(target.name + ".log.db")
    try:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in _files(home, skipped):
                if path == home.swarm_key and swarm_key is not None:
                    continue
                tar.add(path, path.relative_to(home.path).as_posix(), recursive=False, filter=_anonymous)
            if swarm_key is not None:
                _add_text(tar, home.swarm_key.name, swarm_key)
            if home.log_db.exists():
                with Store(home.log_db, readonly=True) as store:
                    store.copy_to(database)
                tar.add(database, _STORE, filter=_anonymous)
    finally:
        with suppress(OSError):
            database.unlink(missing_ok=True)


def _files(home: Home, skipped: list[Skipped]) -> Iterator[Path]:
    """Directories and plain files but for the databases and what belongs to a running node, in order."""
    for directory, names, files in os.walk(home.path):
        names[:] = sorted(name for name in names if Path(directory, name) != home.path / _STAGING)
        for name in sorted((*names, *files)):
            path = Path(directory, name)
            is_database = directory == str(home.path) and name.startswith((_STORE, _DERIVED))
            if is_database or path == home.lock or name.endswith(_LEFT_OUT_SUFFIXES):
                continue
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
                yield path
            else:
                skipped.append(Skipped(path, "a link" if stat.S_ISLNK(mode) else "no plain file"))


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.mode, member.size = 0o600, len(text)
    tar.addfile(member, BytesIO(text.encode("ascii")))


def _extract(tar: tarfile.TarFile, to: Path) -> None:
    for number, member in enumerate(tar):
        where = PurePosixPath(member.name)
        if number >= limits.BACKUP_FILES_MAX:
            raise tarfile.TarError(f"it holds more than {limits.BACKUP_FILES_MAX} files")
        if where.is_absolute() or ".." in where.parts or not where.parts:
            raise tarfile.TarError(f"{member.name!r} leads out of the data directory")
        if where.name.startswith(_DERIVED):
            continue  # an earlier version saved it
        if member.isdir():
            (to / where).mkdir(mode=0o700, parents=True, exist_ok=True)
            continue
        content = tar.extractfile(member) if member.isreg() and not member.issparse() else None
        if content is None:
            raise tarfile.TarError(f"{member.name!r} is neither a plain file nor a directory")
        if member.size > limits.BACKUP_FILE_BYTES_MAX and member.name != _STORE:
            raise tarfile.TarError(f"{member.name!r} has more than {limits.BACKUP_FILE_BYTES_MAX} bytes")
        (to / where.parent).mkdir(mode=0o700, parents=True, exist_ok=True)
        with _private(to / where, member.mode & 0o100) as file:
            copyfileobj(content, file)


def _check(staging: Home, source: Path) -> None:
    """Raises TarError unless what was extracted is a node's."""
    if not staging.node_key.is_file():
        raise tarfile.TarError("there is no node.key in it")
    if staging.log_db.exists():
        try:
            with Store(staging.log_db, readonly=True) as store:
                mesh_id = store.mesh_id().hex()
        except StoreError as error:
            raise tarfile.TarError(str(error).replace(str(staging.log_db), f"{source}:{_STORE}").rstrip(".")) from None
        if staging.mesh_id.read_text("ascii").strip() != mesh_id:
            raise tarfile.TarError("its log.db is of another mesh than its mesh.id")


def _private(path: Path, more: int = 0):  # the kind of file that open() makes has no short name
    """A new file that only this user may read, open for writing."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600 | more), "wb")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Who owned the files on this machine is of no use on another."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
