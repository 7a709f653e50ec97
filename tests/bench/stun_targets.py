"""Many STUN servers in one process of their own: `python -m tests.bench.stun_targets COUNT` prints their ports."""

import selectors
import socket
import struct
import sys


def answer(request: bytes, source: tuple[str, int]) -> bytes:
    """A Binding response to an IPv4 client, by hand: a library would cost as much as the probe that is measured."""
    address = socket.inet_aton(source[0])
    masked = bytes(a ^ b for a, b in zip(address, request[4:8], strict=True))
    attribute = struct.pack("!HHHH", 0x0020, 8, 1, source[1] ^ 0x2112) + masked
    return struct.pack("!HH", 0x0101, len(attribute)) + request[4:20] + attribute


def main(count: int) -> None:
    with selectors.DefaultSelector() as selector:
        ports: list[int] = []
        for _ in range(count):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("127.0.0.1", 0))
            ports.append(sock.getsockname()[1])
            selector.register(sock, selectors.EVENT_READ)
        print(*ports, flush=True)
        while True:
            for key, _ in selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                request, source = sock.recvfrom(2048)
                if len(request) >= 20:
                    sock.sendto(answer(request, source), source)


if __name__ == "__main__":
    main(int(sys.argv[1]))
