"""What a stranger on the network can see and do: TCP connections to a node, and a copy of every byte that it sends."""

import socket
import threading
import time
from contextlib import suppress
from typing import Self

_PIECE = 65_536


class Tap:
    """Passes connections on to `host:port`, and keeps in `received` what came back."""

    def __init__(self, target: str) -> None:
        host, port = target.split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self.multiaddr = f"/ip4/127.0.0.1/tcp/{self._listener.getsockname()[1]}"
        self.received = bytearray()

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                stranger, _ = self._listener.accept()
                node = socket.create_connection(self._target)
                self._sockets += [stranger, node]
                for source, sink, kept in ((stranger, node, bytearray()), (node, stranger, self.received)):
                    self._threads.append(threading.Thread(target=_copy, args=(source, sink, kept)))
                    self._threads[-1].start()


def _copy(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            kept += piece
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def answer_to(target: str, said: bytes, seconds: float) -> bytes:
    """All that the node sends to somebody who says this and then waits; it has to hang up within `seconds`."""
    host, port = target.split(":")
    deadline = time.monotonic() + seconds
    answer = b""
    with socket.create_connection((host, int(port))) as stranger, suppress(ConnectionError):
        stranger.sendall(said)
        while True:
            stranger.settimeout(max(0.01, deadline - time.monotonic()))
            if not (piece := stranger.recv(_PIECE)):
                break
            answer += piece
    return answer
