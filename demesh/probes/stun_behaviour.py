"""Whether a STUN server is fit for NAT behaviour discovery (RFC 5780, RFC 3489): whether its four endpoints answer rightly.

A server of this kind has two addresses and two ports, and answers, when asked to, from another than was asked. All is asked from
one socket:

    asked                                must answer from
    primary                              primary, and name another address and another port (OTHER-ADDRESS, CHANGED-ADDRESS)
    each of the other three endpoints    that endpoint
    primary, to change port, address,    that other endpoint
    or both (CHANGE-REQUEST)

The second row comes first, for two reasons: clients need it, and it opens the way for the third through the filters of NATs and
firewalls, which let in what comes from where something was sent to. Where a NAT gives each endpoint, or each address, another
port, nothing can open that way: it may keep out what comes from there to the port that it gave for the primary one.

The rule: an answer of the third row that does not come is no fault of the server if the endpoint that should send it, when it was
asked itself, saw this node at another address or port than the primary did. If there are such, and nothing else is wrong, the
run is an ERROR of this node's.

Guaranteed:

- Which endpoints failed, and how, is told. An answer counts only with its request's transaction id, and from the endpoint that
  should send it.
- If the target is public, the addresses it reports must be. Nothing is sent to an address that the node may not ask.
- At most STUN_SENDS_MAX datagrams go to each of the seven that are asked.
"""

import socket
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from math import inf

import trio

from demesh.address import address_text
from demesh.failure import Failed, connect_failure
from demesh.limits import STUN_BYTES_MAX, STUN_RETRANSMIT_SECONDS, STUN_SENDS_MAX, STUN_STRAYS_MAX
from demesh.metrics import REFUSED
from demesh.outcome import Outcome
from demesh.probes.datagram import Datagram, DatagramSocket, Refused, socket_address
from demesh.probes.dialling import Progress
from demesh.probes.first_answer import BadAnswer
from demesh.probes.public import is_public
from demesh.probes.resolving import Resolver
from demesh.probes.stun_exchange import Exchange, error_text, with_mapped_address
from demesh.probes.stun_message import HEADER_BYTES, Endpoint, Message, Request, binding

_OTHERS = {
    "other port": (False, True),
    "other address": (True, False),
    "other address and port": (True, True),
}
"""The endpoints besides the primary one, and what changes there: address, port."""


async def ask_endpoints(
    address: str, port: int, deadline: float, timeout_ms: int, resolver: Resolver, progress: Progress
) -> Message:
    """The primary endpoint's answer, once all four have proven right. Raises Failed."""
    primary = (address, port)
    try:
        family, _ = socket_address(address, port)
        with socket.socket(family, socket.SOCK_DGRAM) as plain:
            asking = _Asking(DatagramSocket(plain, None))
            first = _Ask(binding(), primary, primary)
            await asking.ask([first], deadline)
            message = _primary_answer(first, timeout_ms)
            progress.phases_us["answer"] = first.took_us
            other = _other_endpoint(primary, message)
            resolver.admit(other[0])
            endpoints = {name: _endpoint(primary, other, *changed) for name, changed in _OTHERS.items()}
            with progress.phase("endpoints", ""):
                direct = {name: _Ask(binding(), each, each) for name, each in endpoints.items()}
                await asking.ask([*direct.values()], (trio.current_time() + deadline) / 2)
                changed = {
                    name: _Ask(binding(change_address=_OTHERS[name][0], change_port=_OTHERS[name][1]), primary, each)
                    for name, each in endpoints.items()
                }
                await asking.ask([*changed.values()], deadline)
    except OSError as error:
        raise connect_failure(error) from None
    _judge(message, direct, changed)
    return message


class _Ask:
    """One request to `target`, which `source` must answer, and what has become of it: an answer, or why there is none."""

    def __init__(self, request: Request, target: Endpoint, source: Endpoint) -> None:
        self.request = request
        self.target = target
        self.source = source
        self.exchange = Exchange(request)
        self.first_s = 0.0
        self.due_s = inf
        """When it is sent again."""
        self.answer: Message | None = None
        self.took_us = 0
        self.failure: Failed | None = None

    @property
    def is_open(self) -> bool:
        return self.answer is None and self.failure is None

    def take(self, heard: Datagram) -> None:
        """What came with this request's transaction id."""
        if not _is_same(heard.source, self.source):
            self.failure = BadAnswer(Outcome.MISMATCH, f"the answer comes from {address_text(*heard.source)}")
            return
        try:
            self.answer = self.exchange.take(heard.data, reliable=False)
            self.took_us = max(round((heard.at_s - self.first_s) * 1_000_000), 0)
        except BadAnswer as bad:
            self.failure = bad

    @property
    def problem(self) -> str:
        """What is wrong with what came of it; empty if nothing is."""
        if self.failure is not None:
            return str(self.failure)
        if self.answer is None:
            return "no answer"
        if self.answer.kind == "error" and self.answer.error is not None:
            return error_text(self.answer.error)
        return "" if self.answer.mapped else "no mapped address"


class _Asking:
    """Several requests at a time over one open socket."""

    def __init__(self, datagrams: DatagramSocket) -> None:
        self._datagrams = datagrams
        self._strays = 0

    async def ask(self, asks: Sequence[_Ask], deadline: float) -> None:
        """Until each has its answer or its failure, or the deadline has come.

        Raises OSError for what this node lacks, BadAnswer for too much that is no answer.
        """
        for each in asks:
            self._send(each)
        while (waiting := [each for each in asks if each.is_open]) and trio.current_time() < deadline:
            with trio.move_on_at(min(deadline, *(each.due_s for each in waiting))):
                try:
                    self._take(await self._datagrams.receive(STUN_BYTES_MAX), waiting)
                except Refused as refused:
                    for each in waiting:
                        if _is_same(each.target, refused.target):
                            each.failure = Failed(Outcome.FAIL, str(refused))
                continue
            for each in waiting:
                if each.due_s <= trio.current_time() < deadline:
                    self._send(each)

    def _send(self, ask: _Ask) -> None:
        sent_s = self._datagrams.send(ask.request.wire, socket_address(*ask.target)[1])
        ask.first_s = ask.first_s or sent_s
        ask.due_s = sent_s + STUN_RETRANSMIT_SECONDS * 2**ask.exchange.sends
        ask.exchange.sends += 1
        if ask.exchange.sends == STUN_SENDS_MAX:
            ask.due_s = inf

    def _take(self, heard: Datagram, waiting: Sequence[_Ask]) -> None:
        asked = next((each for each in waiting if heard.data[4:HEADER_BYTES] == each.request.id), None)
        if asked is not None:
            asked.take(heard)
            return
        # Among these are the second answers to what was sent twice.
        REFUSED.labels("stun", "stray_reply").inc()
        self._strays += 1
        if self._strays > STUN_STRAYS_MAX:
            raise BadAnswer(Outcome.FAIL, f"more than {STUN_STRAYS_MAX} datagrams that are no answer")


def _primary_answer(ask: _Ask, timeout_ms: int) -> Message:
    """Raises Failed."""
    if ask.failure is not None:
        raise ask.failure
    if ask.answer is None:
        raise ask.exchange.unanswered(timeout_ms)
    return with_mapped_address(ask.answer)


def _other_endpoint(primary: Endpoint, message: Message) -> Endpoint:
    """The server's other address and port, if they are fit to be asked. Raises BadAnswer."""
    other = message.other
    if other is None:
        raise BadAnswer(Outcome.MISMATCH, "the answer names no other address (OTHER-ADDRESS, CHANGED-ADDRESS)")
    told = address_text(*other)
    ours, theirs = ip_address(primary[0].partition("%")[0]), ip_address(other[0])
    if theirs.version != ours.version or theirs.is_multicast or theirs.is_unspecified or not other[1]:
        raise BadAnswer(Outcome.MISMATCH, f"the other address, {told}, is none that can be asked")
    if theirs == ours or other[1] == primary[1]:
        which = "address" if theirs == ours else "port"
        raise BadAnswer(Outcome.MISMATCH, f"the other address, {told}, has the same {which} as the first")
    if is_public(primary[0]) and (
        hidden := [each for each in (other, message.mapped) if each and not is_public(each[0])]
    ):
        raise BadAnswer(Outcome.MISMATCH, f"the answer names {address_text(*hidden[0])}, which is no public address")
    return other


def _endpoint(primary: Endpoint, other: Endpoint, changed_address: bool, changed_port: bool) -> Endpoint:
    return (other if changed_address else primary)[0], (other if changed_port else primary)[1]


def _judge(first: Message, direct: dict[str, _Ask], changed: dict[str, _Ask]) -> None:
    """Raises Failed unless all have answered."""
    kept_out = {name for name in changed if _is_kept_out(first, direct[name], changed[name])}
    wrong = list(_problems(direct, {name: ask for name, ask in changed.items() if name not in kept_out}))
    if wrong:
        raise BadAnswer(Outcome.MISMATCH, f"{len(wrong)} of 4 endpoints failed: {'; '.join(wrong)}")
    if kept_out:
        endpoints = "each endpoint" if len(kept_out) == len(_OTHERS) else "other endpoints"
        sentence = f"this node's NAT gives {endpoints} another port, so answers from elsewhere cannot reach it"
        raise Failed(Outcome.ERROR, sentence)


def _is_kept_out(first: Message, direct: _Ask, changed: _Ask) -> bool:
    """Whether this node's NAT may have kept out the answer that did not come: there it has another port than at the primary."""
    elsewhere = direct.answer is not None and direct.answer.mapped not in (None, first.mapped)
    return changed.is_open and elsewhere


def _problems(direct: dict[str, _Ask], changed: dict[str, _Ask]) -> Iterator[str]:
    for name, asked in direct.items():
        if asked.problem:
            yield f"{name}: {asked.problem}"
        elif name in changed and changed[name].problem:
            yield f"{name}: {changed[name].problem} when the first is asked to change"


def _is_same(one: Endpoint, other: Endpoint) -> bool:
    return one[1] == other[1] and ip_address(one[0].partition("%")[0]) == ip_address(other[0].partition("%")[0])
