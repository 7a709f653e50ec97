"""Connecting to a target under trio, for all probes that speak for themselves.

Guaranteed:

- One address per attempt, recorded. The machine's preferred address is tried; only if it gives no connection within its
  share of the time, one of the other family. An address family that is asked for is the only one tried.
- The phase `dns` is there for names only. The phase `connect` is the round trip that the kernel measured (TCP_INFO, on
  Linux), so that a busy node does not count its own lateness; where a packet of the connection was lost, or the kernel
  does not tell, it is the time this process saw.
- What this node lacks (a route, an address family, descriptors) is Outcome.ERROR and excuses no refusal of the other
  address.
"""

import errno
import socket
import struct
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

import trio

from demesh.failure import Failed, connect_failure
from demesh.limits import CHECKS_MAX
from demesh.outcome import Outcome, ProbeResult, fit_detail
from demesh.probes.base import ProbeSpec
from demesh.probes.resolving import Resolver, of_family

_TCP_INFO_RTT_US = 68  # offsets of 32-bit numbers in the kernel's struct tcp_info
_TCP_INFO_RETRANSMITS = 100
_TCP_INFO_BYTES = 104


@dataclass(frozen=True, slots=True)
class Place:
    """Where a target is: `host` in ASCII, without brackets."""

    host: str
    port: int
    version: int
    """4 or 6 if the host is an address, 0 if it is a name."""


@lru_cache(CHECKS_MAX)
def place_of(target: str, usual_port: int = 0) -> Place:
    """Raises Failed if `target` is no URL with a host and a port; 0: it must name one."""
    try:
        parts = urlsplit(target)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port or usual_port
    except ValueError:
        raise Failed(Outcome.ERROR, "the target is not a URL that can be asked") from None
    if not host or not port:
        raise Failed(Outcome.ERROR, f"the target names no {'port' if host else 'host'}")
    try:
        return Place(host, port, ip_address(host).version)
    except ValueError:
        return Place(host, port, 0)


@dataclass(slots=True)
class Progress:
    """How far one run has come, for what is said when it goes no further."""

    address: str | None = None
    phases_us: dict[str, int] = field(default_factory=dict[str, int])
    certificate_expires_s: int | None = None
    doing: str = ""
    """The last part of a sentence about a run that did not end, e.g. `still connecting`."""

    @contextmanager
    def phase(self, name: str, doing: str) -> Generator[None]:
        """Times a phase; one that raises has no duration."""
        self.doing = doing
        started = trio.current_time()
        yield
        self.phases_us[name] = _us_since(started)

    @property
    def latency_us(self) -> int:
        return sum(self.phases_us.values())

    def failed(self, outcome: Outcome, sentence: str) -> ProbeResult:
        """The result of a run that ended here: without a latency, because there was no answer."""
        return ProbeResult(
            outcome, None, fit_detail(sentence), self.phases_us, self.certificate_expires_s, self.address
        )

    def judged(self, broken: Mapping[str, str]) -> ProbeResult:
        """The result of a run that was answered; `broken` has a phrase for each expectation that the answer breaks."""
        return ProbeResult(
            Outcome.MISMATCH if broken else Outcome.PASS,
            self.latency_us,
            fit_detail("; ".join(broken.values())),
            self.phases_us,
            self.certificate_expires_s,
            self.address,
            broken=broken,
        )

    def timed_out(self, timeout_ms: int) -> ProbeResult:
        return self.failed(Outcome.TIMEOUT, f"no complete answer within {timeout_ms} ms, {self.doing}")


async def addresses_of(
    place: Place, spec: ProbeSpec, resolver: Resolver, deadline: float, progress: Progress
) -> list[str]:
    """The addresses to try, one of each family at most. Raises Failed."""
    wanted = spec.ip_version
    if place.version:
        if wanted not in (0, place.version):
            raise Failed(
                Outcome.ERROR, f"the target is an IPv{place.version} address, and only IPv{wanted} may be used"
            )
        resolver.admit(place.host)
        return [place.host]
    with progress.phase("dns", "still resolving the host name"):
        addresses = await resolver.resolve(place.host, deadline - trio.current_time())
    return of_family(addresses, wanted)


async def dial(
    place: Place, spec: ProbeSpec, resolver: Resolver, deadline: float, progress: Progress
) -> trio.SocketStream:
    """A connection to `place` by `deadline` (trio's time), which the caller closes. Raises Failed."""
    addresses = await addresses_of(place, spec, resolver, deadline, progress)
    failures: list[tuple[str, Failed]] = []
    for others_left in reversed(range(len(addresses))):
        address = progress.address = addresses[-1 - others_left]
        now = trio.current_time()
        try:
            with trio.fail_at(now + max(deadline - now, 0) / (1 + others_left)), progress.phase("connect", ""):
                stream = await _connect(address, place.port)
        except trio.TooSlowError:
            sentence = f"no complete answer within {spec.timeout_ms} ms, still connecting"
            failures.append((address, Failed(Outcome.TIMEOUT, sentence)))
        except socket.gaierror:
            failures.append((address, Failed(Outcome.ERROR, "no network: this node has no such interface")))
        except OSError as error:
            failures.append((address, connect_failure(error)))
        else:
            seen_us = progress.phases_us["connect"]
            progress.phases_us["connect"] = min(seen_us, round_trip_us(stream.socket) or seen_us)
            return stream
    # That this node lacks one family says nothing if the target refused in the other.
    blaming = (each for each in failures if each[1].outcome.blames_target)
    progress.address, failure = next(blaming, failures[0])
    raise failure


async def _connect(address: str, port: int) -> trio.SocketStream:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connecting = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await connecting.connect((address, port))
        if connecting.getsockname() == connecting.getpeername():
            # A port of this machine where nobody listens, and the kernel picked that very port for this end.
            raise ConnectionRefusedError(errno.ECONNREFUSED, "")
    except BaseException:
        connecting.close()
        raise
    return trio.SocketStream(connecting)


def round_trip_us(connected: trio.socket.SocketType) -> int | None:
    """The round trip of the handshake as the kernel measured it; None if it does not tell, or packets were lost."""
    if sys.platform != "linux":
        return None
    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return None
    if len(info) < _TCP_INFO_BYTES or struct.unpack_from("I", info, _TCP_INFO_RETRANSMITS)[0]:
        return None
    return struct.unpack_from("I", info, _TCP_INFO_RTT_US)[0] or None


def _us_since(started: float) -> int:
    return round((trio.current_time() - started) * 1_000_000)
