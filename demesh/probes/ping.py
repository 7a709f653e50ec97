"""The ping probe: echo requests to one address, their round trips timed by the kernel.

Guaranteed:

- It passes if one of `packets` requests is answered; how many were lost is told in the detail. (One lost packet says nothing
  about a target; how many runs must fail before it is called down is the check's business.) The latency is the median round
  trip, without the name's lookup; phases tell that, and of several packets the shortest and the longest round trip.
- Only an echo of this run's random payload, from the address that was asked, is an answer. Time runs from the sending to the
  arrival in this machine's kernel.
- Where no answer comes: FAIL if a machine on the way said why, and which one; else TIMEOUT.
- What keeps this node from pinging, no right to or no route, is an ERROR.
- A name is looked up anew, and one address per family tried (`demesh.probes.first_answer`).

Not guaranteed: that a refusal is genuine; ICMP is not signed.
"""

import os
import socket
import statistics
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import trio

from demesh.failure import Failed, connect_failure
from demesh.limits import PING_INTERVAL_MS, PING_PACKETS_MAX, PING_PAYLOAD_BYTES_MAX, PING_PAYLOAD_BYTES_MIN
from demesh.outcome import Outcome, ProbeResult
from demesh.probes import icmp
from demesh.probes.base import Expect, PingOptions, ProbeSpec
from demesh.probes.datagram import DatagramSocket, Refused, socket_address
from demesh.probes.dialling import Place, Progress, addresses_of
from demesh.probes.expectations import limits_broken
from demesh.probes.first_answer import first_answer, place_at
from demesh.probes.resolving import Resolver
from demesh.probes.rights import REMEDY, open_echo_socket

_HEADERS_BYTES_MAX = 60 + 8  # IPv4, ICMP


class PingProbe:
    """A `Probe` for ping://HOST targets."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def __call__(self, spec: ProbeSpec) -> ProbeResult:
        options = spec.options if isinstance(spec.options, PingOptions) else PingOptions()
        deadline = spec.deadline_s(trio.current_time())
        progress = Progress()
        try:
            place = _place(spec.target)
            _check(options)
            addresses = await addresses_of(place, spec, self._resolver, deadline, progress)

            def ask(address: str, by: float) -> Awaitable[_Run]:
                return _ping(address, options, by, spec.timeout_ms)

            run = await first_answer(addresses, deadline, progress, ask)
        except Failed as failed:
            return progress.failed(failed.outcome, str(failed))
        return _judge(run, spec, progress)


@dataclass(slots=True)
class _Run:
    """What became of the requests of one run, by sequence number."""

    packets: int
    payload: bytes
    ident: int
    sent_s: dict[int, float] = field(default_factory=dict[int, float])
    trips_s: dict[int, float] = field(default_factory=dict[int, float])
    refusals: dict[int, str] = field(default_factory=dict[int, str])

    @property
    def settled(self) -> bool:
        return len(self.trips_s.keys() | self.refusals.keys()) == self.packets


async def _ping(address: str, options: PingOptions, deadline: float, timeout_ms: int) -> _Run:
    """A run with an answer at least. Raises Failed."""
    run = _Run(options.packets, _payload(options.payload_bytes), int.from_bytes(os.urandom(2), "big"))
    family, sockaddr = socket_address(address, 0)
    version: icmp.Version = 4 if family == socket.AF_INET else 6
    try:
        plain = open_echo_socket(version)
    except PermissionError:
        raise Failed(Outcome.ERROR, f"this node is not allowed to ping: {REMEDY}") from None
    except OSError as error:
        raise connect_failure(error) from None
    try:
        with plain, trio.move_on_at(deadline):
            raw = plain.type == socket.SOCK_RAW
            await _exchange(DatagramSocket(plain, sockaddr), version, raw, run, deadline)
    except OSError as error:
        if not run.trips_s:
            raise connect_failure(error) from None
    if run.trips_s:
        return run
    if run.refusals:
        raise Failed(Outcome.FAIL, run.refusals[max(run.refusals)])
    of_all = f" to any of {run.packets} packets" if run.packets > 1 else ""
    raise Failed(Outcome.TIMEOUT, f"no answer{of_all} within {timeout_ms} ms")


async def _exchange(echo: DatagramSocket, version: icmp.Version, raw: bool, run: _Run, deadline: float) -> None:
    """Sends the requests at their times and takes what comes in between, until each has its answer or its refusal."""
    bytes_max = len(run.payload) + _HEADERS_BYTES_MAX
    begun_s = trio.current_time()
    interval_s = min(PING_INTERVAL_MS / 1000, (deadline - begun_s) / 2 / run.packets)
    for seq in range(1, run.packets + 1):
        run.sent_s[seq] = echo.send(icmp.encode_request(version, run.ident, seq, run.payload))
        last = seq == run.packets
        with trio.move_on_at(deadline if last else begun_s + seq * interval_s):
            while not (last and run.settled):
                try:
                    heard = await echo.receive(bytes_max)
                except Refused as refused:
                    refused_seq = icmp.request_seq(version, refused.quoted, run.ident if raw else None)
                    if refused_seq in run.sent_s:
                        run.refusals[refused_seq] = str(refused)
                    continue
                answered = icmp.reply_seq(version, heard.data, run.payload)
                if answered in run.sent_s and answered not in run.trips_s:
                    run.trips_s[answered] = max(heard.at_s - run.sent_s[answered], 0)


def _judge(run: _Run, spec: ProbeSpec, progress: Progress) -> ProbeResult:
    trips_us = [round(trip_s * 1_000_000) for trip_s in run.trips_s.values()]
    latency_us = round(statistics.median(trips_us))
    if run.packets > 1:
        progress.phases_us |= {"rtt_min": min(trips_us), "rtt_max": max(trips_us)}
    bare = replace(spec, expect=Expect(response_time_ms=spec.expect.response_time_ms))
    broken = limits_broken(bare, latency_us, None, lambda: 0)
    lost = run.packets - len(trips_us)
    said = [*broken.values(), *([f"{lost} of {run.packets} packets lost"] if lost else [])]
    outcome = Outcome.MISMATCH if broken else Outcome.PASS
    return ProbeResult(
        outcome, latency_us, "; ".join(said), progress.phases_us, address=progress.address, broken=broken
    )


def _payload(size: int) -> bytes:
    """A random token, repeated up to the size."""
    token = os.urandom(PING_PAYLOAD_BYTES_MIN)
    return (token * (size // len(token) + 1))[:size]


def _check(options: PingOptions) -> None:
    if not 1 <= options.packets <= PING_PACKETS_MAX:
        raise Failed(Outcome.ERROR, f"packets must be 1 to {PING_PACKETS_MAX}")
    if not PING_PAYLOAD_BYTES_MIN <= options.payload_bytes <= PING_PAYLOAD_BYTES_MAX:
        sentence = f"the payload must have {PING_PAYLOAD_BYTES_MIN} to {PING_PAYLOAD_BYTES_MAX} bytes"
        raise Failed(Outcome.ERROR, sentence)


def _place(target: str) -> Place:
    """Raises Failed if `target` is no URL of ours."""
    try:
        parts = urlsplit(target)
        host = (parts.hostname or "").encode("idna").decode()
    except ValueError:
        host = ""
    if not host:
        raise Failed(Outcome.ERROR, "the target is not of the form ping://HOST")
    return place_at(host, 0)
