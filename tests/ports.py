"""Ports for servers that a test starts, and for targets where nobody listens.

Guarantees: no test in another process on this machine is given the same port, and none in this one before its thousand are used
up; nor does the system give it to who asks for any (those are from 32768 on, unless ip_local_port_range says otherwise), or
`demesh demo` draw it. Not that no program takes it that was told to. A child that is forked must not ask.
"""

import errno
import socket
import threading

_FIRST, _END, _BLOCK = 12_000, 20_000, 1_000  # each process that asks has a block of its own


def free_port() -> int:
    """Free for TCP and UDP on all IPv4 addresses. Raises OSError."""
    return free_ports(1)[0]


def free_ports(count: int) -> range:
    """One after the other. Raises OSError."""
    return _ports.take(count)


class _Ports:
    """The first block that no other process has: it is marked by a name that the system takes back when the process ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mark: socket.socket | None = None
        self._next = self._first = 0

    def take(self, count: int) -> range:
        with self._lock:
            if self._mark is None:
                self._mark = self._take_block()
            for _ in range(_BLOCK):
                start = self._next if self._next + count <= _BLOCK else 0
                ports = range(self._first + start, self._first + start + count)
                if all(map(_is_free, ports)):
                    self._next = start + count
                    return ports
                self._next = start + 1
        raise OSError(errno.EADDRINUSE, "all ports of this process are taken")

    def _take_block(self) -> socket.socket:
        mark = socket.socket(socket.AF_UNIX)
        for first in range(_FIRST, _END, _BLOCK):
            if _binds(mark, f"\0demesh-tests-ports-{first}"):
                self._first = first
                return mark
        mark.close()
        raise OSError(errno.EADDRINUSE, "all blocks of ports are taken: so many tests run at once")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if not _binds(probe, ("", port)):
                return False
    return True


def _binds(plain: socket.socket, address: str | tuple[str, int]) -> bool:
    try:
        plain.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


_ports = _Ports()
