"""The NTP probe: what time a server has, how far that is from this node's, and whether the server can be believed.

Guaranteed:

- One packet is sent to one address (of a name, to the preferred one, and to one of the other family if that gives no answer),
  and one more if no reply comes for NTP_RESEND_SECONDS, or for half of the time if that is less: none is asked more often.
- Only a reply from the address that was asked, which repeats the random number of one of our packets, counts. Whatever else comes
  is ignored, up to NTP_STRAYS_MAX datagrams, and told if no reply comes.
- A server that refuses (kiss-of-death), or answers with what is no reply, has failed. One that is not synchronised is a
  mismatch (`demesh.probes.ntp_message`), and its time is taken for nothing.
- One that refuses is not asked again before the check's next run at its usual time (RFC 5905, section 7.4).
- The reply's time is that of its arrival in this machine's kernel, reckoned from the sending on the monotonic clock: neither
  a busy event loop nor a wall clock that is set meanwhile changes what is measured.
- The latency is the delay: the round trip less the time that the server took, without the name's lookup. Phases tell both.

Not guaranteed: more than NTP can tell. If one way takes longer than the other, the offset is wrong by half of the difference; and
that the offset is the server's fault: it may be this node's clock that is off.
"""

import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import trio

from demesh.failure import Failed, connect_failure
from demesh.limits import NTP_DATAGRAM_BYTES_MAX, NTP_RESEND_SECONDS, NTP_STRAYS_MAX
from demesh.metrics import REFUSED
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec
from demesh.probes.datagram import Datagram, DatagramSocket, Refused, socket_address
from demesh.probes.dialling import Progress, addresses_of, place_of
from demesh.probes.expectations import limits_broken
from demesh.probes.first_answer import BadAnswer, first_answer
from demesh.probes.ntp_message import (
    NONCE_BYTES,
    KissOfDeath,
    NotOurs,
    Reply,
    encode_request,
    origin_of,
    read_reply,
    unfit,
)
from demesh.probes.resolving import Resolver

_PORT = 123
_NS = 1_000_000_000


class NtpProbe:
    """A `Probe` for ntp://HOST targets. `wall_ns` is the wall clock, to hold the server's against."""

    def __init__(self, wall_ns: Callable[[], int], resolver: Resolver) -> None:
        self._wall_ns = wall_ns
        self._resolver = resolver

    async def __call__(self, spec: ProbeSpec) -> ProbeResult:
        deadline = spec.deadline_s(trio.current_time())
        progress = Progress()
        try:
            place = place_of(spec.target, _PORT)
            addresses = await addresses_of(place, spec, self._resolver, deadline, progress)

            def ask(address: str, by: float) -> Awaitable[Reply]:
                return _ask(address, place.port, _Asking(self._wall_ns), by, spec.timeout_ms)

            reply = await first_answer(addresses, deadline, progress, ask)
        except Failed as failed:
            asks_for_rest = isinstance(failed, KissOfDeath)
            return replace(progress.failed(failed.outcome, str(failed)), confirm=not asks_for_rest)
        return _judge(reply, spec, progress)


@dataclass(slots=True)
class _Asking:
    """What was sent to one address so far, and what came that answers none of it."""

    wall_ns: Callable[[], int]
    sent: dict[bytes, tuple[float, float]] = field(default_factory=dict[bytes, tuple[float, float]])
    """By the random number in each packet: when it was sent, on the wall clock and on trio's."""
    strays: list[str] = field(default_factory=list[str])

    def send(self, datagrams: DatagramSocket) -> None:
        nonce = os.urandom(NONCE_BYTES)
        packet = encode_request(nonce)
        wall_s = self.wall_ns() / _NS  # at once before the sending
        self.sent[nonce] = wall_s, datagrams.send(packet)

    def take(self, heard: Datagram) -> Reply | None:
        """The reply, if it is one to us. Raises BadAnswer."""
        try:
            nonce = origin_of(heard.data)
            if nonce not in self.sent:
                raise NotOurs("answer no question of this node")
        except NotOurs as why:
            REFUSED.labels("ntp", "stray_reply").inc()
            self.strays.append(str(why))
            if len(self.strays) > NTP_STRAYS_MAX:
                raise BadAnswer(Outcome.FAIL, f"more than {NTP_STRAYS_MAX} datagrams that {why}") from None
            return None
        wall_s, sent_s = self.sent[nonce]
        return read_reply(heard.data, wall_s, wall_s + max(heard.at_s - sent_s, 0))


async def _ask(address: str, port: int, asking: _Asking, deadline: float, timeout_ms: int) -> Reply:
    """The reply by `deadline` (trio's time). `timeout_ms` is only what is told of that. Raises Failed."""
    try:
        family, sockaddr = socket_address(address, port)
        with socket.socket(family, socket.SOCK_DGRAM) as plain:
            datagrams = DatagramSocket(plain, sockaddr)
            now = trio.current_time()
            for until in (min(now + NTP_RESEND_SECONDS, now + (deadline - now) / 2), deadline):
                asking.send(datagrams)
                with trio.move_on_at(until):
                    while True:
                        if reply := asking.take(await datagrams.receive(NTP_DATAGRAM_BYTES_MAX)):
                            return reply
    except Refused as refused:
        raise Failed(Outcome.FAIL, str(refused)) from None
    except OSError as error:
        raise connect_failure(error) from None
    ignored = f"; ignored {len(asking.strays)} that {asking.strays[-1]}" if asking.strays else ""
    raise Failed(Outcome.TIMEOUT, f"no answer within {timeout_ms} ms{ignored}")


def _judge(reply: Reply, spec: ProbeSpec, progress: Progress) -> ProbeResult:
    latency_us = round(reply.delay_s * 1_000_000)
    progress.phases_us["delay"] = latency_us
    useless = unfit(reply)
    broken = useless or _broken_expectations(reply, spec)
    broken |= limits_broken(spec, latency_us, None, lambda: 0)
    return replace(
        progress.judged(broken),
        latency_us=latency_us,
        facts=reply.facts(),
        clock_offset_us=None if useless else round(reply.offset_s * 1_000_000),
    )


def _broken_expectations(reply: Reply, spec: ProbeSpec) -> dict[str, str]:
    expect, broken = spec.expect, dict[str, str]()
    if expect.offset_ms is not None and abs(reply.offset_s) * 1_000 > expect.offset_ms:
        way = "ahead of" if reply.offset_s > 0 else "behind"
        apart = f"{abs(reply.offset_s) * 1_000:,.3f} ms {way} this node's"
        broken["offset"] = f"the server's clock is {apart}, expected at most {expect.offset_ms:,} ms"
    if expect.stratum is not None and reply.stratum > expect.stratum:
        broken["stratum"] = f"stratum {reply.stratum}, expected at most {expect.stratum}"
    return broken
