"""Pings as another user, in the network namespace it is started in: reads its orders from the command line, prints what came.

A process of its own, since a right that is dropped cannot be taken up again.
"""

import dataclasses
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import trio
import trio.testing

from demesh.probes import icmp
from demesh.probes.base import Expect, PingOptions, ProbeSpec
from demesh.probes.ping import PingProbe
from demesh.probes.resolving import Resolver
from demesh.probes.rights import ping_rights

ECHO_REQUEST = 8
DISTORTIONS: dict[str, Callable[[bytes], bytes]] = {
    "other payload": lambda reply: reply[:-1] + bytes([reply[-1] ^ 1]),
    "shorter": lambda reply: reply[:-1],
}


async def respond(manner: str) -> None:
    """Answers echo requests to 127.0.0.1 in a manner that no kernel has; the kernel's own answers must be off."""
    requests = trio.socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    stranger = trio.socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    await stranger.bind(("127.0.0.2", 0))
    answering = stranger if manner == "from elsewhere" else requests

    async def say_again(reply: bytes, to: tuple[str, int]) -> None:
        await trio.sleep(0.35)
        await answering.sendto(reply, to)

    async with trio.open_nursery() as nursery:
        while True:
            packet, source = await requests.recvfrom(65535)
            request = packet[20:]
            if request[0] != ECHO_REQUEST or (manner == "odd ones" and request[7] % 2 == 0):
                continue
            reply = DISTORTIONS.get(manner, bytes)(bytes([icmp.ECHO_REPLY[4], 0, 0, 0]) + request[4:])
            reply = reply[:2] + icmp.checksum(reply).to_bytes(2, "big") + reply[4:]
            await answering.sendto(reply, source)
            if manner == "twice":
                nursery.start_soon(say_again, reply, source)


async def hog() -> None:
    while True:
        time.sleep(0.05)  # noqa: ASYNC251 a loop that is held up is the point
        await trio.lowlevel.checkpoint()


async def main(orders: dict[str, Any]) -> None:
    probe = PingProbe(Resolver(lambda host: orders["names"][host]))
    results: list[dict[str, Any]] = []
    async with trio.open_nursery() as nursery:
        if manner := orders.get("respond"):
            nursery.start_soon(respond, manner)
            await trio.testing.wait_all_tasks_blocked()
        "".encode("idna")  # the other user may not be able to read the codec
        if uid := orders.get("uid"):
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
        if orders.get("hog"):
            nursery.start_soon(hog)
        for each in orders["pings"]:
            spec = ProbeSpec(
                "ping",
                each["target"],
                each.get("timeout_ms", 1000),
                Expect(response_time_ms=each.get("response_time_ms")),
                ip_version=each.get("ip_version", 0),
                options=PingOptions(each.get("packets", 1), each.get("payload_bytes", 32)),
            )
            result = await probe(spec)
            results.append(dataclasses.asdict(result) | {"outcome": result.outcome.name})
        nursery.cancel_scope.cancel()
    rights = {version: dataclasses.asdict(ping_rights(version)) for version in (4, 6)}
    print(json.dumps({"results": results, "rights": rights}))


if __name__ == "__main__":
    trio.run(main, json.loads(sys.argv[1]))
