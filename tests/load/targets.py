"""Public servers' stand-ins: so many of each kind on loopback, each at an address of its own, and what answers there.

STUN (over UDP and TCP) and NTP are answered by one process (`tests.load.responder`), MQTT by one real mosquitto. All listen on
127.0.0.0/8 only, each target on a socket of its own, so that an answer comes from the address that was asked.
"""

import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.machine import cpu_seconds
from tests.e2e.harness import eventually, require
from tests.ports import free_port

KINDS = ("stun", "stun-tcp", "ntp", "mqtt")
_SHARES = dict(zip(KINDS, (1_000, 200, 300, 200), strict=True))
_TARGETS = {
    "stun": "stun://{address}:{port}",
    "stun-tcp": "stun://{address}:{port}?transport=tcp",
    "ntp": "ntp://{address}:{port}",
    "mqtt": "mqtt://{address}:{port}",
}
_READY_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Counts:
    """How many targets there are of each kind, and the port that all of a kind have."""

    counts: dict[str, int]
    ports: dict[str, int]

    @classmethod
    def of(cls, total: int) -> "Counts":
        """About as public lists have them: `total` in all, most of them STUN over UDP."""
        counts = {kind: max(1, total * share // sum(_SHARES.values())) for kind, share in _SHARES.items()}
        counts["stun"] += total - sum(counts.values())
        return cls(counts, {kind: free_port() for kind in KINDS})

    def targets(self) -> list[str]:
        return [
            _TARGETS[kind].format(address=address, port=self.ports[kind])
            for kind, count in self.counts.items()
            for address in addresses(kind, count)
        ]


def addresses(kind: str, count: int) -> Iterator[str]:
    """One loopback address for each of `count` targets of a kind."""
    return (f"127.{1 + KINDS.index(kind)}.{number // 250}.{number % 250 + 1}" for number in range(count))


class Servers:
    """What answers, as processes whose CPU time can be told."""

    def __init__(self, pids: dict[str, int]) -> None:
        self.pids = pids

    def cpu_seconds(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self.pids.items()}


@contextmanager
def serving(place: Path, counts: Counts) -> Generator[Servers]:
    """All servers, until the end of the block."""
    kinds = [f"{kind}:{counts.counts[kind]}:{counts.ports[kind]}" for kind in KINDS if kind != "mqtt"]
    command = [sys.executable, "-m", "tests.load.responder", *kinds]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as responder:
        try:
            assert responder.stdout is not None
            if not responder.stdout.readline():
                raise AssertionError("the responder does not start")
            with _mosquitto(place, counts) as broker:
                yield Servers({"responder": responder.pid, "mosquitto": broker})
        finally:
            responder.kill()


@contextmanager
def _mosquitto(place: Path, counts: Counts) -> Generator[int]:
    """The process id of a broker that listens at each address of its kind."""
    program = require("mosquitto")
    port, told = counts.ports["mqtt"], list(addresses("mqtt", counts.counts["mqtt"]))
    lines = ["user root", "persistence false", "log_type error", "allow_anonymous true"]
    lines += [f"listener {port} {address}" for address in told]
    (place / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    with (place / "mosquitto.output").open("wb") as output:
        broker = subprocess.Popen([program, "-c", str(place / "mosquitto.conf")], stdout=output, stderr=output)
    try:
        eventually(
            lambda: socket.create_connection((told[-1], port), 1).close(),
            lambda _: True,
            _READY_SECONDS,
            "mosquitto listens",
        )
        yield broker.pid
    finally:
        broker.kill()
        broker.wait()
