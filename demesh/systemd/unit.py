"""The text of a node's systemd unit. Pure: what is known of the installation comes in (`demesh.systemd.machine`).

A unit names in its first line the digest of all that follows, so that one which somebody has changed is told from one that only
is of another version.

What it may do is as little as a node needs: its data directory, its runtime directory, sockets. It is tried that @system-service
and no memory that is both written and executed are enough for a node with all its libraries (tests/e2e/test_unit.py). Checks of
type `command` and `python` live under the same rules; who needs more for them says so in a drop-in (docs/deploying.md).
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from demesh import limits
from demesh.errors import UsageError

NAME = "demesh.service"
NOTIFY_RELOAD_VERSION = 253
_STATE = Path("/var/lib")
_HOMES = tuple(map(Path, ("/home", "/root", "/run/user")))
_FIRST_LINE = "# Written by `demesh install-unit`. Changes belong into a drop-in (systemctl edit demesh). sha256:"

_DATA_DIR = "Environment", "DEMESH_HOME="
_KEY_OF_ROOT = "LoadCredential", "swarm.key:"
_KEY_OF_USER = "Environment", "DEMESH_SWARM_KEY_FILE="

_CREDENTIAL = """\
# Other secrets: LoadCredential=api.token:/etc/demesh/api.token, and in demesh.toml "${CREDENTIALS_DIRECTORY}/api.token\""""

_HARDENING = """\
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
"""
_MACHINE_HARDENING = """\
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RemoveIPC=yes
"""


@dataclass(frozen=True, slots=True)
class Unit:
    """`program` is what runs demesh. `user` is whom the node runs as; None: this is a unit of a user's own service manager.
    `data_dir` None: where that user's data directory is anyway."""

    program: tuple[str, ...]
    user: str | None
    data_dir: Path | None = None
    swarm_key_file: Path | None = None
    notify_reload: bool = False
    """Whether systemd has Type=notify-reload."""
    raw_ping: bool = False
    """Whether that user may ping only with CAP_NET_RAW."""
    installation: frozenset[Path] = frozenset()
    """Where else than in `program` there is something that the node reads to run: its Python's library."""

    def text(self) -> str:
        """The whole file. Raises UsageError for a path that cannot stand in it."""
        body = f"{self._of_unit()}\n{self._service()}\n[Install]\nWantedBy={'multi-user' if self.user else 'default'}.target\n"
        return f"{_FIRST_LINE}{_digest(body)}\n{body}"

    def _of_unit(self) -> str:
        network = "Wants=network-online.target\nAfter=network-online.target\n" if self.user else ""
        return f"[Unit]\nDescription=demesh, a node of a monitoring mesh\n{network}"

    def _service(self) -> str:
        lines = ["[Service]", *self._type()]
        executable, *arguments = self.program
        if any(char in "\"'\\" for char in executable):
            raise UsageError(f"systemd runs nothing whose path holds quotes or backslashes, as {executable}.")
        words = [_word(executable), *(_word(each).replace("$", "$$") for each in (*arguments, "node", "run"))]
        lines += [f"ExecStart={' '.join(words)}"]
        if self.data_dir:
            lines += [_setting(_DATA_DIR, self.data_dir)]
        lines += self._swarm_key()
        lines += [_CREDENTIAL] if self.user else []
        lines += [f"User={self.user}"] if self.user else []
        lines += self._directories()
        lines += [
            "WatchdogSec=60",
            "Restart=on-failure",
            "RestartSec=5",
            "# 2: what it was told cannot be, as a mistake in demesh.toml. Only a person mends that.",
            "RestartPreventExitStatus=2",
            "# Commands of checks are ended by the node, which then does not take it for what they found.",
            "KillMode=mixed",
            "# A node takes leave of the mesh within 5 s, whatever hangs.",
            "TimeoutStopSec=20",
            f"LimitNOFILE={limits.DESCRIPTORS_WANTED}",
            "UMask=0077",
            "",
        ]
        return "\n".join(lines) + "\n" + self._hardening()

    def _type(self) -> list[str]:
        if self.notify_reload:
            return [
                f"# Before systemd {NOTIFY_RELOAD_VERSION}: Type=notify, and ExecReload=/bin/kill -HUP $MAINPID",
                "Type=notify-reload",
                "NotifyAccess=main",
            ]
        return ["Type=notify", "NotifyAccess=main", "ExecReload=/bin/kill -HUP $MAINPID"]

    def _swarm_key(self) -> list[str]:
        if self.swarm_key_file is None:
            return []
        if self.user is None:
            return [_setting(_KEY_OF_USER, self.swarm_key_file)]
        path = str(self.swarm_key_file)
        if any(char in " \t:\"'\\" for char in path):
            raise UsageError(
                f"The swarm key's path {path!r} cannot stand in a unit: no spaces, colons, quotes, backslashes."
            )
        return [
            _setting(_KEY_OF_ROOT, self.swarm_key_file),
            "Environment=DEMESH_SWARM_KEY_FILE=%d/swarm.key",
        ]

    def _directories(self) -> list[str]:
        lines: list[str] = []
        if self.user and self.state_directory:
            if ":" in self.state_directory:
                raise UsageError(f"{self.data_dir} cannot stand in a unit: below {_STATE} a colon is special there.")
            lines += [f"StateDirectory={_word(self.state_directory)}", "StateDirectoryMode=0700"]
        return [
            *lines,
            "RuntimeDirectory=demesh",
            *(["# The user's group may use the API's socket."] if self.user else []),
            f"RuntimeDirectoryMode={'0750' if self.user else '0700'}",
            "# Without the marker in it a restart cannot know whether the own log goes on.",
            "RuntimeDirectoryPreserve=yes",
        ]

    def _hardening(self) -> str:
        if self.user is None:
            return _HARDENING
        rights = "CAP_NET_RAW" if self.raw_ping else ""
        lines = ["# net.ipv4.ping_group_range lets this user not ping otherwise."] if self.raw_ping else []
        lines += [f"AmbientCapabilities={rights}", f"CapabilityBoundingSet={rights}"]
        lines += [f"ProtectHome={'read-only' if self._is_at_home() else 'yes'}"]
        if self.data_dir and not self.state_directory:
            lines += [f"ReadWritePaths={_word(str(self.data_dir))}"]
        return "\n".join(lines) + "\n" + _MACHINE_HARDENING + _HARDENING

    @property
    def state_directory(self) -> str | None:
        """Where in /var/lib the data directory is; None if it is elsewhere."""
        if self.data_dir and self.data_dir != _STATE and self.data_dir.is_relative_to(_STATE):
            return str(self.data_dir.relative_to(_STATE))
        return None

    def _is_at_home(self) -> bool:
        paths = [Path(self.program[0]), *self.installation, *([self.data_dir] if self.data_dir else [])]
        return any(path.is_relative_to(home) for path in paths for home in _HOMES)


def data_dir_of(text: str) -> Path | None:
    """The data directory that a unit names."""
    return _told(text, _DATA_DIR)


def swarm_key_file_of(text: str) -> Path | None:
    """The swarm key's file that a unit names; None where the node has it in its data directory."""
    return _told(text, _KEY_OF_ROOT) or _told(text, _KEY_OF_USER)


def is_untouched(text: str) -> bool:
    """Whether a unit is as some `install-unit` wrote it."""
    first, _, body = text.partition("\n")
    return first == _FIRST_LINE + _digest(body)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _setting(kind: tuple[str, str], path: Path) -> str:
    name, prefix = kind
    return f"{name}={_word(f'{prefix}{path}')}"


def _told(text: str, kind: tuple[str, str]) -> Path | None:
    """What `_setting` wrote. None also where it is no absolute path: then somebody else wrote it, and means something else."""
    name, prefix = kind
    for line in text.splitlines():
        word = line.removeprefix(f"{name}=")
        if word != line and (said := _unworded(word)).startswith(f"{prefix}/"):
            return Path(said.removeprefix(prefix))
    return None


def _unworded(word: str) -> str:
    """The text of one word, as `_word` writes it."""
    inner = word[1:-1] if word.startswith('"') and word.endswith('"') else word
    return re.sub(r"%%|\\\\|\\\"", lambda found: found[0][1], inner)


def _word(text: str) -> str:
    """One word of a setting (systemd.syntax(7)). Raises UsageError.

    `$` is special in the arguments of a command, and nowhere else: not even in the path of what is run."""
    if not text.isprintable():
        raise UsageError(f"{text!r} cannot stand in a unit: it holds control characters.")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if any(char in " \t\"'\\;" for char in text) else escaped
