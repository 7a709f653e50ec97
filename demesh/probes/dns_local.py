"""Asking this machine's own resolvers, and telling a name that does not resolve from a resolver that does not work.

They are asked in the order of /etc/resolv.conf, the next one when those before it have not helped for a while; answers of the
earlier ones still count. SERVFAIL, REFUSED and NOTIMP are not yet an answer, as for the C library. When there is none after
half of the time, each is asked for a name that cannot exist as well (RFC 6761 reserves `invalid`):

- Whoever denies that name is a resolver that works. Then the name is blamed: with the SERVFAIL that was said, or a timeout.
- If none does, this node has no resolver, which is Outcome.ERROR.

Not guaranteed: a resolver may deny `invalid` while it is cut off itself, so that the name is blamed; the same choice is made
for the host names of all targets (`demesh.probes.resolving`).
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import dns.name
import dns.rdatatype
import trio

from demesh.failure import Failed
from demesh.limits import DNS_RESOLVERS_MAX
from demesh.outcome import Outcome
from demesh.probes.dialling import Place, Progress
from demesh.probes.dns_message import Question, Reply
from demesh.probes.first_answer import place_at

_RESOLV_CONF = Path("/etc/resolv.conf")
_CANNOT_EXIST = Question(dns.name.from_text("demesh.invalid"), dns.rdatatype.A)
_NO_HELP = ("SERVFAIL", "REFUSED", "NOTIMP")

Ask = Callable[[Place, Question, Progress], Awaitable[Reply]]
"""Asks one resolver. Ends by the deadline. Raises Failed."""


def local_resolvers(port: int, file: Path = _RESOLV_CONF) -> list[Place]:
    """Those of resolv.conf(5), at `port`; where it names none, this machine itself. Raises nothing."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = [fields[1] for line in lines if len(fields := line.split()) > 1 and fields[0] == "nameserver"]
    found = [place for address in named if (place := place_at(address, port)).version]
    return found[:DNS_RESOLVERS_MAX] or [place_at("127.0.0.1", port)]


async def ask_local(
    resolvers: Sequence[Place], question: Question, expected_rcode: str, deadline: float, timeout_ms: int, ask: Ask
) -> tuple[Reply, Progress]:
    """What this machine's resolvers say by `deadline` (trio's time), and how that came about. Raises Failed."""
    begun = trio.current_time()
    inquiry = _Inquiry(question, expected_rcode, ask)
    async with trio.open_nursery() as nursery:
        ended: list[trio.Event] = []
        for number, resolver in enumerate(resolvers, 1):
            ended.append(trio.Event())
            nursery.start_soon(inquiry.ask, resolver, ended[-1], nursery.cancel_scope)
            with trio.move_on_at(begun + (deadline - begun) / 2 * number / len(resolvers)):
                for each in ended:
                    await each.wait()
        async with trio.open_nursery() as controls:
            for resolver in resolvers:
                controls.start_soon(inquiry.ask_the_impossible, resolver, controls.cancel_scope)
    if inquiry.answers:
        return inquiry.answers[0]
    if not inquiry.resolver_works:
        raise Failed(Outcome.ERROR, "no resolver answers this node")
    if inquiry.no_help:
        return inquiry.no_help[0]
    sentence = f"no answer within {timeout_ms} ms, though the resolver answers"
    raise Failed(Outcome.TIMEOUT, sentence)


class _Inquiry:
    """What has been said so far."""

    def __init__(self, question: Question, expected_rcode: str, ask: Ask) -> None:
        self._question = question
        self._no_help = set(_NO_HELP) - {expected_rcode}
        self._ask = ask
        self.answers: list[tuple[Reply, Progress]] = []
        self.no_help: list[tuple[Reply, Progress]] = []
        self.resolver_works = False

    async def ask(self, resolver: Place, ended: trio.Event, all_else: trio.CancelScope) -> None:
        progress = Progress(resolver.host)
        try:
            reply = await self._ask(resolver, self._question, progress)
        except Failed:
            pass  # as good as silence
        else:
            if reply.rcode in self._no_help:
                self.no_help.append((reply, progress))
            else:
                self.answers.append((reply, progress))
                all_else.cancel()
        ended.set()

    async def ask_the_impossible(self, resolver: Place, all_else: trio.CancelScope) -> None:
        try:
            reply = await self._ask(resolver, _CANNOT_EXIST, Progress(resolver.host))
        except Failed:
            return
        if reply.rcode == "NXDOMAIN":
            self.resolver_works = True
            all_else.cancel()
