"""Where a node lives: the data directory, its lock, and the marker that says how far the own log was published.

    DATA_DIR/  node.key  swarm.key  mesh.id  log.db  view.db  tokens.json  demesh.toml  lock       mode 0700
               swarm.key.change, of the swarm key that is to come, or came last
    runtime directory/  <id>.sock  <id>.marker          gone after a reboot, or void: the marker names its boot; never copied

Guarantees: at most one process holds a data directory (flock, released by the kernel however the process ends); the
marker is replaced as a whole or not at all. Not guaranteed: anything on network file systems without working locks.
"""

import fcntl
import hashlib
import json
import os
import secrets
import stat
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self, cast

from demesh.errors import DemeshError, NodeNotRunning, UsageError, of_file
from demesh.log.epoch import Marker
from demesh.log.head import Head

_SERVICES = Path("/run/demesh")
SYSTEMS = Path("/var/lib/demesh")
"""The data directory of a machine's own node."""
_LOCK_TRIES = 5
_LOCK_TRY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Home:
    """A data directory, which need not exist yet."""

    path: Path

    @property
    def node_key(self) -> Path:
        return self.path / "node.key"

    @property
    def swarm_key(self) -> Path:
        return self.path / "swarm.key"

    @property
    def swarm_key_change(self) -> Path:
        return self.path / "swarm.key.change"

    @property
    def mesh_id(self) -> Path:
        return self.path / "mesh.id"

    @property
    def log_db(self) -> Path:
        return self.path / "log.db"

    @property
    def view_db(self) -> Path:
        return self.path / "view.db"

    @property
    def tokens(self) -> Path:
        return self.path / "tokens.json"

    @property
    def config(self) -> Path:
        return self.path / "demesh.toml"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def exists(self) -> bool:
        """Whether a node lives there, as far as this user may know."""
        try:
            return self.node_key.exists()
        except PermissionError:
            return True

    @property
    def runtime_id(self) -> str:
        """Tells data directories apart in the shared runtime directory."""
        return hashlib.blake2b(os.fsencode(self.path.resolve()), digest_size=6).hexdigest()

    def require_store(self) -> None:
        """Raises NodeNotRunning if no log is stored here."""
        if not self.log_db.exists():
            raise NodeNotRunning(
                f"There is no log at {self.path}. Start a node with `demesh node run`, or name another with --data-dir."
            )

    def make(self) -> None:
        """Make the directory, mode 0700. Raises UsageError, DemeshError for what may pass."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            what = f"Cannot make the data directory {self.path}: {error.strerror}. Name another with --data-dir."
            raise of_file(error, what) from None


def read_mesh_id(home: Home) -> bytes:
    """The 16-byte id of the mesh that the data directory belongs to. Raises UsageError."""
    try:
        mesh_id = bytes.fromhex(home.mesh_id.read_text("ascii").strip())
    except (OSError, ValueError):
        mesh_id = b""
    if len(mesh_id) != 16:
        raise UsageError(f"{home.mesh_id} must hold 32 hex digits; restore it from a backup.")
    return mesh_id


def bytes_on_disk(database: Path) -> int:
    """The size of an SQLite database with its write-ahead log; 0 if there is none."""
    total = 0
    for path in (database, database.with_name(f"{database.name}-wal")):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def find_home(data_dir: str | None) -> Home:
    """The data directory that was named, or else DEMESH_HOME, the user's own, the system's; the user's own if none exists."""
    named = data_dir or os.environ.get("DEMESH_HOME")
    if named:
        return Home(Path(named).expanduser().absolute())
    users, systems = users_home(), Home(SYSTEMS)
    try:
        own = users.node_key.exists()
    except PermissionError:
        own = False  # it is somebody else's: `runuser` and some `sudo` leave HOME as it was
    return systems if not own and systems.exists else users


def users_home() -> Home:
    """The data directory of whoever runs this."""
    share = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Home(Path(share).expanduser().absolute() / "demesh")


@dataclass(frozen=True, slots=True)
class Running:
    """What a running node says of itself in its lock file."""

    pid: int
    socket: str
    api: str | None
    swarm_key_file: str | None = None
    """Where its swarm key is, if that is not the data directory's own."""
    starting: bool = False
    """It does not answer there yet."""


class HomeLock:
    """The exclusive hold on a data directory; kept until it is released, or the process ends."""

    def __init__(self, home: Home) -> None:
        """Raises UsageError when a node holds it, DemeshError when another process does, which will end."""
        try:
            descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            remedy = "Run as the user it belongs to, or name another with --data-dir."
            raise of_file(error, f"Cannot lock the data directory {home.path}: {error.strerror}. {remedy}") from None
        if not _locked(descriptor):
            os.close(descriptor)
            other = running_node(home)
            if other is None:
                raise DemeshError(
                    f"Another process has {home.path}: a node that is about to start, or a command such as `demesh log repair`. "
                    "Wait until it has ended, or name another with --data-dir."
                )
            raise UsageError(
                f"Another node (pid {other.pid}) is running on {home.path}. Stop it first, or give this one its own --data-dir."
            )
        os.ftruncate(descriptor, 0)  # what the last one said
        self._descriptor = descriptor

    def announce(self, running: Running) -> None:
        """Tell other commands how to reach this node. Raises DemeshError for a full disk."""
        text = json.dumps(asdict(running)).encode()
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text, 0)
        except OSError as error:
            raise DemeshError(f"Cannot write the data directory's lock file: {error.strerror}.") from None

    def release(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _locked(descriptor: int) -> bool:
    """Take the exclusive lock. Tried a few times: a command that looks whether a node is running holds it for a moment."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_TRY_SECONDS)
        else:
            return True
    return False


def running_node(home: Home) -> Running | None:
    """What the node that holds `home` says of itself; None if none does. Whoever may not read that, but is in the group of a
    service's user, still learns of the socket, with pid 0. Raises UsageError if that may not be used either."""
    try:
        said = _said_by_holder(home)
    except PermissionError:
        shared = _SERVICES / f"{home.runtime_id}.sock"
        if os.access(shared, os.W_OK):
            return Running(0, str(shared), None)
        raise UsageError(
            f"No permission to look into {home.path}; ask as the user that runs the node, or use --node URL."
        ) from None
    if not said:
        return None
    api, key = said.get("api"), said.get("swarm_key_file")
    return Running(
        int(str(said["pid"])),
        str(said["socket"]),
        str(api) if api else None,
        str(key) if key else None,
        bool(said.get("starting")),
    )


def is_held(home: Home) -> bool:
    """Whether a process holds `home`, be it one that is starting and says nothing yet. Raises PermissionError."""
    return _said_by_holder(home) is not None


def _said_by_holder(home: Home) -> dict[str, object] | None:
    """What the lock file of a `home` that is held says, which may be nothing; None if nobody holds it. Raises PermissionError."""
    try:
        with home.lock.open("rb") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except BlockingIOError:
                return cast(dict[str, object], json.loads(file.read() or b"{}"))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}


def find_running(home: Home) -> Running:
    """Like `running_node`. Raises NodeNotRunning with what to do."""
    running = running_node(home)
    if running is None:
        if is_held(home):
            raise NodeNotRunning(
                f"A node is about to start on {home.path}, or a command holds it; ask again in a while."
            )
        what = f"No node is running on {home.path}." if home.exists else f"There is no node at {home.path}."
        raise NodeNotRunning(f"{what} Start one with `demesh node run`, or name another with --data-dir or --node URL.")
    return running


def machine_id() -> str:
    """What tells this machine from others, and outlives a reboot; empty in a container that has none of its own."""
    try:
        return Path("/etc/machine-id").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def runtime_directory() -> Path:
    """A directory of this user that a reboot empties: systemd's, the session's, /run for root, else one in /tmp."""
    if named := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(named.split(":")[0])
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(session) / "demesh"
    return _SERVICES if os.geteuid() == 0 else Path(f"/tmp/demesh-{os.geteuid()}")


def make_runtime_directory() -> Path:
    """`runtime_directory()`, made if missing. Raises UsageError if it is not ours alone to write."""
    path = runtime_directory()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = path.lstat()
    except OSError as error:
        what = f"Cannot make the runtime directory {path}: {error.strerror}. Set XDG_RUNTIME_DIR to one that can be written."
        raise of_file(error, what) from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise UsageError(
            f"The runtime directory {path} is not a directory that only this user may write. Remove it, or set XDG_RUNTIME_DIR."
        )
    return path


class MarkerFile:
    """The marker of `demesh.log.epoch` on disk."""

    def __init__(self, runtime: Path, home: Home) -> None:
        self._path = runtime / f"{home.runtime_id}.marker"

    def read(self) -> Marker | None:
        """None when there is none, or none that can be read: both only cost a new epoch."""
        try:
            said = cast(dict[str, str], json.loads(self._path.read_bytes()))
            return Marker(
                boot8=bytes.fromhex(said["boot8"]),
                store_file=said["store_file"],
                log=bytes.fromhex(said["log"]),
                head=Head(int(said["seq"]), bytes.fromhex(said["hash"])),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def drop(self) -> None:
        """The next start of the node begins a new epoch. Raises DemeshError."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise DemeshError(f"Cannot remove {self._path}: {error.strerror}.") from None

    def write(self, marker: Marker) -> None:
        """Raises DemeshError: a node that cannot write its marker must not publish."""
        text = json.dumps(
            {
                "boot8": marker.boot8.hex(),
                "store_file": marker.store_file,
                "log": marker.log.hex(),
                "seq": str(marker.head.seq),
                "hash": marker.head.hash.hex(),
            }
        )
        temporary = self._path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            # A session's runtime directory goes with its last log-in; the node stays.
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_text(text)
            temporary.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise DemeshError(f"Cannot write {self._path}: {error.strerror}.") from error
