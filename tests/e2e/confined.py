"""Runs a command under the system calls that the unit leaves it: `python3 confined.py COMMAND...`.

systemd's own filters, built by the same library from the same lists, but without a systemd that runs: SystemCallFilter,
MemoryDenyWriteExecute and RestrictAddressFamilies of demesh/systemd/unit.py. For a Python that has libseccomp's binding (Debian's
python3-seccomp), so it imports nothing of demesh.
"""

import errno
import mmap
import os
import socket
import subprocess
import sys

import seccomp  # pyright: ignore[reportMissingImports] of Debian's python3

_SHM_EXEC = 0o100000
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)


def _calls(group: str) -> set[str]:
    """The system calls of one of systemd's groups, with those of the groups in it."""
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    ).stdout
    calls: set[str] = set()
    for line in said.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            calls |= _calls(word)
        elif word and not word.startswith("#"):
            calls.add(word)
    return calls


def _confine() -> None:
    denied = seccomp.ERRNO(errno.EPERM)
    memory = seccomp.SyscallFilter(seccomp.ALLOW)
    both = mmap.PROT_WRITE | mmap.PROT_EXEC
    memory.add_rule(denied, "mmap", seccomp.Arg(2, seccomp.MASKED_EQ, both, both))
    for call in ("mprotect", "pkey_mprotect"):
        memory.add_rule(denied, call, seccomp.Arg(2, seccomp.MASKED_EQ, mmap.PROT_EXEC, mmap.PROT_EXEC))
    memory.add_rule(denied, "shmat", seccomp.Arg(2, seccomp.MASKED_EQ, _SHM_EXEC, _SHM_EXEC))
    for family in set(range(64)) - set(map(int, _FAMILIES)):
        memory.add_rule(seccomp.ERRNO(errno.EAFNOSUPPORT), "socket", seccomp.Arg(0, seccomp.EQ, family))
    calls = seccomp.SyscallFilter(denied)
    for call in _calls("@system-service") | _calls("@default"):
        try:
            calls.add_rule(seccomp.ALLOW, call)
        except (RuntimeError, OSError):
            continue  # of another architecture
    memory.load()
    calls.load()


_confine()
os.execv(sys.argv[1], sys.argv[1:])
