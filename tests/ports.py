"""Ports for servers that a test starts, and for targets where nobody listens.

Guarantees: no other test on this machine is given the same port, in this process or another; the system gives it to nobody who
asks it for any port: those are its ephemeral ports, from 32768 on. Not that no program takes it that was told to.
"""

import errno
import socket
from collections.abc import Iterator
from itertools import cycle

_FIRST, _END = 12_000, 32_000
_BLOCK = 1_000  # each process that asks has one of its own


def free_port() -> int:
    """Free for TCP and UDP on 127.0.0.1."""
    return next(port for port in _ports if _is_free(port))


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                return False
    return True


def _own_ports() -> Iterator[int]:
    first = _own_block()
    yield from cycle(range(first, first + _BLOCK))


_held: list[socket.socket] = []


def _own_block() -> int:
    """The first that no other process has: it is marked by a name that the system takes back when the process ends."""
    mark = socket.socket(socket.AF_UNIX)
    _held.append(mark)
    for first in range(_FIRST, _END, _BLOCK):
        try:
            mark.bind(f"\0demesh-tests-ports-{first}")
        except OSError:
            continue
        return first
    raise OSError(errno.EADDRINUSE, "all blocks of ports are taken: so many tests run at once")


_ports = _own_ports()
