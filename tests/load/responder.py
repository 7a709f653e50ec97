"""Answers STUN and NTP on many loopback addresses: `python -m tests.load.responder KIND:COUNT:PORT …`, until it is killed.

It prints a line once it listens. One process for all of them, so that what it costs can be told apart from what a node costs.
"""

import resource
import selectors
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

from tests.bench.stun_targets import answer
from tests.load.targets import addresses
from tests.probes.ntp_servers import reply

_BYTES_MAX = 2_048
_STUN_BYTES_MIN = 20
_NTP_BYTES = 48


def _datagrams(sock: socket.socket, smallest: int, answer: Callable[[bytes, tuple[str, int]], bytes]) -> None:
    """Answer all that has come."""
    with suppress(BlockingIOError):
        while True:
            request, source = sock.recvfrom(_BYTES_MAX)
            if len(request) >= smallest:
                sock.sendto(answer(request, source), source)


def _answer_on(selector: selectors.BaseSelector, connection: socket.socket) -> None:
    with suppress(ConnectionError):
        if len(request := connection.recv(_BYTES_MAX)) >= _STUN_BYTES_MIN:
            connection.sendall(answer(request, connection.getpeername()))
            return
    selector.unregister(connection)
    connection.close()


def _accept(selector: selectors.BaseSelector, listener: socket.socket) -> None:
    connection, _ = listener.accept()
    selector.register(connection, selectors.EVENT_READ, lambda: _answer_on(selector, connection))


def _listen(selector: selectors.BaseSelector, kind: str, address: str, port: int) -> None:
    if kind == "stun-tcp":
        listener = socket.create_server((address, port))
        selector.register(listener, selectors.EVENT_READ, lambda: _accept(selector, listener))
        return
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((address, port))
    if kind == "stun":
        selector.register(sock, selectors.EVENT_READ, lambda: _datagrams(sock, _STUN_BYTES_MIN, answer))
    else:
        ntp = lambda query, _: reply(query)  # noqa: E731 as short as it is plain
        selector.register(sock, selectors.EVENT_READ, lambda: _datagrams(sock, _NTP_BYTES, ntp))


def main(kinds: list[str]) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with selectors.DefaultSelector() as selector:
        for kind, count, port in (each.split(":") for each in kinds):
            for address in addresses(kind, int(count)):
                _listen(selector, kind, address, int(port))
        print("listening", flush=True)
        while True:
            for key, _ in selector.select():
                key.data()


if __name__ == "__main__":
    main(sys.argv[1:])
