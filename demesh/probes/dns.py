"""The DNS probe: one question, to one name server or to this machine's own resolvers.

Guaranteed:

- `dns://SERVER[:PORT]/NAME` asks SERVER, an address or a name that is looked up anew: its preferred address, and one of the
  other family if that gives no answer. A server that answers badly, refuses or is silent is to blame.
- `dns:///NAME` asks this machine's resolvers, and tells a name that does not resolve from a node without a resolver, which is
  an ERROR (`demesh.probes.dns_local` says how).
- A reply passes if it is NOERROR and has a record of the type that was asked; `demesh.probes.dns_expect` has the rest. What a
  server says is public, so the detail of a mismatch holds it.
- A reply over UDP that is cut short (TC) is asked for again over TCP, at the same address and within the same time.
- Over TLS the server's certificate must bear `server_name`, or the target's host; trust is that of the HTTP probe. The
  earliest expiry in the chain is reported even if the certificate is refused.
- Only a reply with our id and our question, from the address that was asked, counts. Whatever else comes is ignored or told as
  a failure, in bounded time and memory (`demesh.probes.dns_exchange`, `demesh.probes.dns_message`).
- The latency is the sum of the phases: `dns` (looking up SERVER), `connect`, `tls`, `answer`, and `truncated`, what a reply that
  was cut short has cost. Over UDP, `answer` is timed by the kernel.

Not guaranteed: of this machine's resolvers, the time that is told is that of the one that answered, without the wait for those
before it. DNSSEC is not validated here; a validating resolver answers SERVFAIL to a bogus name, and that is told.
"""

from collections.abc import Awaitable, Callable
from functools import lru_cache
from urllib.parse import unquote, urlsplit

import dns.exception
import dns.name
import dns.rdatatype
import trio

from demesh.errors import UsageError
from demesh.failure import Failed
from demesh.limits import CHECKS_MAX
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import DnsOptions, ProbeSpec
from demesh.probes.dialling import Place, Progress, addresses_of, dial
from demesh.probes.dns_exchange import ask_by_datagram, ask_by_stream
from demesh.probes.dns_expect import accepted_rcode, broken_expectations, check_expectations
from demesh.probes.dns_local import ask_local, local_resolvers
from demesh.probes.dns_message import Question, Reply
from demesh.probes.expectations import limits_broken
from demesh.probes.first_answer import first_answer, place_at
from demesh.probes.resolving import Resolver
from demesh.probes.securing import secure
from demesh.probes.tls import TlsContexts

_PORTS = {"udp": 53, "tcp": 53, "tls": 853}


class DnsProbe:
    """A `Probe` for dns:// targets. `wall_ms` (Unix time) only serves to judge a certificate's expiry."""

    def __init__(
        self,
        wall_ms: Callable[[], int],
        resolver: Resolver,
        contexts: TlsContexts,
        local: Callable[[int], list[Place]] = local_resolvers,
    ) -> None:
        self._wall_ms = wall_ms
        self._resolver = resolver
        self._contexts = contexts
        self._local = local

    async def __call__(self, spec: ProbeSpec) -> ProbeResult:
        options = spec.options if isinstance(spec.options, DnsOptions) else DnsOptions()
        deadline = spec.deadline_s(trio.current_time())
        progress = Progress()
        try:
            place, question = parse_target(spec.target, options)
            check_expectations(spec.expect, question.type)
            if place is not None:
                reply = await self._ask(place, spec, options, question, deadline, progress)
            else:
                reply, progress = await self._ask_local(spec, options, question, deadline)
        except UsageError as error:
            return progress.failed(Outcome.ERROR, str(error))
        except Failed as failed:
            return progress.failed(failed.outcome, str(failed))
        broken = broken_expectations(spec.expect, question, reply)
        broken |= limits_broken(spec, progress.latency_us, progress.certificate_expires_s, self._wall_ms)
        return progress.judged(broken)

    async def _ask_local(
        self, spec: ProbeSpec, options: DnsOptions, question: Question, deadline: float
    ) -> tuple[Reply, Progress]:
        async def ask(place: Place, asked: Question, progress: Progress) -> Reply:
            return await self._ask(place, spec, options, asked, deadline, progress)

        resolvers = self._local(_PORTS[options.transport])
        return await ask_local(resolvers, question, accepted_rcode(spec.expect), deadline, spec.timeout_ms, ask)

    async def _ask(
        self,
        place: Place,
        spec: ProbeSpec,
        options: DnsOptions,
        question: Question,
        deadline: float,
        progress: Progress,
    ) -> Reply:
        """The reply by `deadline` (trio's time). Raises Failed."""
        if options.transport == "udp":
            addresses = await addresses_of(place, spec, self._resolver, deadline, progress)

            def ask(address: str, by: float) -> Awaitable[Reply]:
                return ask_by_datagram(address, place.port, question, by, spec.timeout_ms, progress)

            reply = await first_answer(addresses, deadline, progress, ask)
            if not reply.truncated:
                return reply
            progress.phases_us["truncated"] = progress.phases_us.pop("answer")
            place = place_at(progress.address or place.host, place.port)
        context = None
        if options.transport == "tls":
            context = await self._contexts.get(spec.ca_file, spec.verify_tls)
        async with await dial(place, spec, self._resolver, deadline, progress) as connection:
            with trio.move_on_at(deadline):
                stream = connection
                if context is not None:
                    stream = await secure(connection, context, options.server_name or place.host, progress)
                return await ask_by_stream(stream, question, progress)
        raise Failed(Outcome.TIMEOUT, f"no complete answer within {spec.timeout_ms} ms, {progress.doing}")


@lru_cache(CHECKS_MAX)
def parse_target(target: str, options: DnsOptions) -> tuple[Place | None, Question]:
    """Whom `target` asks (None: this machine's resolvers) and what. Raises UsageError, a phrase without a full stop."""
    try:
        parts = urlsplit(target)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
        name = unquote(parts.path.removeprefix("/"), errors="strict")
    except ValueError:
        raise UsageError("the target is not a URL that can be asked") from None
    if parts.scheme != "dns" or not name or port == 0 or (port and not host):
        raise UsageError("the target is not of the form dns://SERVER/NAME or dns:///NAME")
    try:
        question = Question(dns.name.from_text(name), _type_of(options.record), options.recursion)
    except (dns.exception.DNSException, ValueError):
        raise UsageError(f"{name!r} is not a name that can be asked for") from None
    return place_at(host, port or _PORTS[options.transport]) if host else None, question


def _type_of(record: str) -> dns.rdatatype.RdataType:
    try:
        type_ = dns.rdatatype.from_text(record)
    except (dns.exception.DNSException, ValueError):
        raise UsageError(f"{record!r} is not a type of DNS records") from None
    if dns.rdatatype.is_metatype(type_) and type_ != dns.rdatatype.ANY:
        raise UsageError(f"records of type {record!r} cannot be asked for")
    return type_
