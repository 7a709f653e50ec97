"""The other side of sd_notify: a socket, and what came in."""

import select
import socket
import time
from collections.abc import Iterator
from typing import Self

Message = dict[str, str]


class Manager:
    """Listens at `address`, a path or an abstract name with `@`, as systemd does."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard: list[tuple[float, Message]] = []
        """What was taken in, each with when (monotonic seconds)."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def next(self, seconds: float = 0) -> Message | None:
        """The next message, waited for at most so long."""
        ready, _, _ = select.select([self._socket], [], [], seconds)
        if not ready:
            return None
        lines = self._socket.recv(65_536).decode().splitlines()
        message = dict(line.split("=", 1) for line in lines)
        self.heard.append((time.monotonic(), message))
        return message

    def waiting(self) -> list[Message]:
        """All that have come in by now."""
        return list(iter(self.next, None))

    def until(self, name: str, seconds: float) -> Message:
        """The first message with a line of that name; those before it are in `heard`."""
        for message in self._within(seconds):
            if name in message:
                return message
        raise AssertionError(f"no {name} within {seconds} s; heard: {self.heard}")

    def listen(self, seconds: float) -> list[Message]:
        """What comes in within that time."""
        return list(self._within(seconds))

    def _within(self, seconds: float) -> Iterator[Message]:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if message := self.next(left):
                yield message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
