"""Looks at this machine for what a unit must say."""

import os
import pwd
import re
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import demesh
from demesh.errors import UsageError
from demesh.home import Home, users_home

_PING_RANGE = Path("/proc/sys/net/ipv4/ping_group_range")
_GROUPS_OF_SERVICES_MAX = 65_533


def systemd_version() -> int | None:
    """None where there is no systemd."""
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
        if found := re.match(r"systemd (\d+)", said):
            return int(found[1])
    return None


def this_program() -> tuple[str, ...]:
    """What runs this very demesh, whatever PATH says."""
    python = Path(sys.executable).absolute()
    script = python.with_name("demesh")
    return (str(script),) if script.is_file() else (str(python), "-m", "demesh")


def user_of(data_dir: Path) -> str:
    """To whom a data directory belongs, that is elsewhere than where services keep theirs. Raises UsageError."""
    try:
        owner = data_dir.stat().st_uid
    except OSError as error:
        raise UsageError(
            f"The node is to run as the user to whom {data_dir} belongs, but it cannot be looked at: {error.strerror}. Make it "
            "first, as that user, with `demesh init` or `demesh join`."
        ) from None
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        raise UsageError(f"{data_dir} belongs to a user without a name ({owner}); give it to one who has.") from None
    if owner == 0:
        raise UsageError(
            f"{data_dir} belongs to root, and a node should not run as root. Give it to another user (chown -R USER {data_dir})."
        )
    return name


def nodes_of_users() -> dict[str, Home]:
    """The nodes that whoever asks for "the machine's" may mean: by user, that of who runs this, and of who ran sudo for it."""
    found = {_name(os.geteuid()): users_home()}
    with suppress(KeyError):
        sudo = pwd.getpwnam(os.environ.get("SUDO_USER", ""))
        found.setdefault(sudo.pw_name, Home(Path(sudo.pw_dir, ".local/share/demesh")))
    return {user: home for user, home in found.items() if home.exists}


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def owner(path: Path) -> str:
    """To whom a directory belongs; nothing if that cannot be seen."""
    try:
        return _name(path.stat().st_uid)
    except OSError:
        return ""


def user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def needs_raw_ping(user: str) -> bool:
    """Whether a service of this user, who may not exist yet, may ping by CAP_NET_RAW only."""
    try:
        low, high = map(int, _PING_RANGE.read_text().split())
    except (OSError, ValueError):
        return True
    try:
        group = pwd.getpwnam(user).pw_gid
    except KeyError:
        return low > 1 or high < _GROUPS_OF_SERVICES_MAX
    return not low <= group <= high


def installation() -> frozenset[Path]:
    """Where this demesh and its Python are: of an environment, also what it was made from, as that has the library."""
    places = (sys.executable, os.path.realpath(sys.executable), demesh.__file__, sys.prefix, sys.base_prefix)
    return frozenset(Path(place).absolute() for place in places)


def unreachable(user: str) -> Path | None:
    """The directory on the way to this demesh, or to its Python, that `user` may not enter; None if there is none."""
    try:
        known = pwd.getpwnam(user)
        who, groups = known.pw_uid, set(os.getgrouplist(user, known.pw_gid))
    except KeyError:
        who, groups = -1, set[int]()
    for place in sorted(installation()):
        for parent in reversed(place.parents):
            status = parent.stat()
            mine = stat.S_IXUSR if status.st_uid == who else stat.S_IXGRP if status.st_gid in groups else stat.S_IXOTH
            if not status.st_mode & mine:
                return parent
    return None
