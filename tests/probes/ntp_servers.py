"""Time servers for the NTP probe: a real one, and what a made-up one says; and the probe itself, set up."""

import getpass
import socket
import struct
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from demesh.clock import packet_ns
from demesh.outcome import ProbeResult
from demesh.probes.base import Expect, ProbeSpec
from demesh.probes.ntp import NtpProbe
from demesh.probes.resolving import Resolver
from tests.e2e.harness import eventually, require
from tests.ports import free_port
from tests.probes.servers import fake_resolver

_PACKET = struct.Struct("!BBbb4s4s4s8s8s8s8s")
_TO_UNIX_S = 2_208_988_800


@contextmanager
def chrony(home: Path, *lines: str) -> Generator[int]:
    """The port, on both loopback addresses, of a real time server that leaves this machine's clock alone."""
    program = require("chronyd")
    home.mkdir()
    port = free_port()
    config = home / "chrony.conf"
    common = (f"port {port}", "cmdport 0", f"pidfile {home}/pid", "bindaddress 127.0.0.1", "bindaddress ::1", "allow")
    config.write_text("\n".join((*common, *lines)) + "\n")
    with (home / "output").open("wb") as output:
        command = [program, "-x", "-U", "-u", getpass.getuser(), "-d", "-f", str(config)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        told = f"chronyd answers; {(home / 'output').read_text()}"
        eventually(lambda: exchange(port), lambda reply: len(reply) == 48, 10, told)
        yield port
    finally:
        process.kill()
        process.wait()


def exchange(port: int) -> bytes:
    """What a server says to a client's packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.connect(("127.0.0.1", port))
        client.send(b"\x23" + bytes(39) + b"question")
        return client.recv(1_024)


def stamp(unix_s: float) -> bytes:
    """As NTP has it, of whatever era."""
    return struct.pack("!Q", round((unix_s + _TO_UNIX_S) * 2**32) % 2**64)


def reply(
    query: bytes,
    *,
    leap: int = 0,
    version: int = 4,
    mode: int = 4,
    stratum: int = 2,
    root_delay_s: float = 0.001,
    root_dispersion_s: float = 0.001,
    reference: bytes = bytes((192, 0, 2, 1)),
    origin: bytes | None = None,
    received_s: float | None = None,
    sent_s: float | None = None,
    zero: bool = False,
) -> bytes:
    """A proper reply, but for what is named. `received_s` and `sent_s` are Unix time, now if they are not said."""
    now_s = packet_ns() / 1e9
    received = stamp(now_s if received_s is None else received_s)
    sent = bytes(8) if zero else stamp(now_s if sent_s is None else sent_s)
    short = (struct.pack("!I", round(seconds * 65_536)) for seconds in (root_delay_s, root_dispersion_s))
    return _PACKET.pack(
        leap << 6 | version << 3 | mode,
        stratum,
        6,
        -20,
        *short,
        reference,
        stamp(now_s - 60),
        query[40:48] if origin is None else origin,
        received,
        sent,
    )


def ntp_probe(resolver: Resolver | None = None, wall_ns: Callable[[], int] = packet_ns) -> NtpProbe:
    return NtpProbe(wall_ns, resolver or fake_resolver({}))


async def ask(
    target: str, *, timeout_ms: int = 5_000, expect: Expect | None = None, probe: NtpProbe | None = None, **more: object
) -> ProbeResult:
    spec = ProbeSpec("ntp", target, timeout_ms, expect or Expect(), **more)  # type: ignore[arg-type]
    return await (probe or ntp_probe())(spec)
