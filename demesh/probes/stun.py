"""The STUN probe: one Binding request over UDP, TCP or TLS (RFC 8489), or the four endpoints of NAT behaviour discovery.

Guaranteed:

- `stun://HOST[:PORT]` is asked over UDP, or as `?transport=` or the option says, `stuns://HOST[:PORT]` over TLS. The ports are
  3478 and, for TLS, 5349.
- It passes if the server says from where it saw the request come; an error that it answers is a FAIL, with its code. What is
  no STUN, or has no such address, is a MISMATCH, silence a TIMEOUT, a refusal by ICMP or TCP a FAIL. What this node lacks (a
  route, an address family) is an ERROR.
- What counts as an answer, and when a request is sent again, is in `demesh.probes.stun_exchange`; the four endpoints
  (`nat_behaviour`) are in `demesh.probes.stun_behaviour`.
- A name is looked up anew, and one address per family tried.
- The latency is the sum of the phases: `dns`, `connect`, `tls`, `answer`; of the four endpoints also `endpoints`. Over UDP
  `answer` is timed by the kernel. The address that the server saw is a fact, which does not leave the node.

Not guaranteed: over UDP nothing proves who answered; who sees the request can forge the answer. ALTERNATE-SERVER is not followed:
who sends one answers with error 300, which is told.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio

from demesh.address import address_text
from demesh.errors import UsageError
from demesh.failure import Failed
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec, StunOptions
from demesh.probes.dialling import Progress, addresses_of
from demesh.probes.expectations import limits_broken
from demesh.probes.first_answer import first_answer
from demesh.probes.resolving import Resolver
from demesh.probes.stun_behaviour import ask_endpoints
from demesh.probes.stun_carrier import Carrier, datagram_carrier, stream_carrier
from demesh.probes.stun_exchange import shown_text, transact, with_mapped_address
from demesh.probes.stun_message import Message, binding
from demesh.probes.stun_target import parse_target
from demesh.probes.tls import TlsContexts


class StunProbe:
    """A `Probe` for stun:// and stuns:// targets. `wall_ms` (Unix time) only serves to judge a certificate's expiry."""

    def __init__(self, wall_ms: Callable[[], int], resolver: Resolver, contexts: TlsContexts) -> None:
        self._wall_ms = wall_ms
        self._resolver = resolver
        self._contexts = contexts

    async def __call__(self, spec: ProbeSpec) -> ProbeResult:
        options = spec.options if isinstance(spec.options, StunOptions) else StunOptions()
        deadline = spec.deadline_s(trio.current_time())
        progress = Progress()
        try:
            message = await self._ask(spec, options, deadline, progress)
        except UsageError as error:
            return progress.failed(Outcome.ERROR, str(error))
        except Failed as failed:
            return progress.failed(failed.outcome, str(failed))
        broken = limits_broken(spec, progress.latency_us, progress.certificate_expires_s, self._wall_ms)
        other = address_text(*message.other) if options.nat_behaviour and message.other else None
        return replace(progress.judged(broken), facts=_facts(message), other_address=other)

    async def _ask(self, spec: ProbeSpec, options: StunOptions, deadline: float, progress: Progress) -> Message:
        """A response with a mapped address. Raises Failed."""
        place, transport = parse_target(spec.target, options.transport)
        if transport != "udp":
            if options.nat_behaviour:
                raise UsageError("NAT behaviour is found out over UDP only")
            context = await self._contexts.get(spec.ca_file, spec.verify_tls) if transport == "tls" else None
            way = stream_carrier(place, spec, self._resolver, context, options.server_name, deadline, progress)
            async with way as carrier:
                return await _bind(carrier, deadline, spec.timeout_ms, progress)
        addresses = await addresses_of(place, spec, self._resolver, deadline, progress)

        async def ask(address: str, by: float) -> Message:
            if options.nat_behaviour:
                return await ask_endpoints(address, place.port, by, spec.timeout_ms, self._resolver, progress)
            async with datagram_carrier(address, place.port) as carrier:
                return await _bind(carrier, by, spec.timeout_ms, progress)

        asking: Callable[[str, float], Awaitable[Message]] = ask
        return await first_answer(addresses, deadline, progress, asking)


async def _bind(carrier: Carrier, deadline: float, timeout_ms: int, progress: Progress) -> Message:
    answer = await transact(carrier, binding(), deadline, timeout_ms)
    progress.phases_us["answer"] = answer.took_us
    return with_mapped_address(answer.message)


def _facts(message: Message) -> dict[str, str]:
    facts = {"software": shown_text(message.software)} if message.software else {}
    if message.other is not None:
        facts["other_address"] = address_text(*message.other)
    if message.mapped is not None:
        facts["mapped_address"] = address_text(*message.mapped)
    return facts
