"""One STUN request and its answer.

Guaranteed:

- Only a message with our transaction's random 96 bits, from the address that was asked, is an answer. Of what else comes up to
  STUN_STRAYS_MAX messages are passed over; what is no STUN at all is told if nothing better has come in the end.
- Over UDP the request is sent again after 0.5, 1.5, 3.5 … s, STUN_SENDS_MAX times at most (RFC 8489, section 6.2.1). Time
  runs from the first sending, so that a lost packet costs what it cost.
- With a key a good answer that is not signed with it is none. Errors may be unsigned, as the RFC has it for those that matter.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import trio

from demesh.failure import Failed
from demesh.limits import STUN_REASON_CHARS_MAX, STUN_RETRANSMIT_SECONDS, STUN_SENDS_MAX, STUN_STRAYS_MAX
from demesh.metrics import REFUSED
from demesh.outcome import Outcome
from demesh.probes.first_answer import BadAnswer
from demesh.probes.stun_carrier import NOT_STUN, Carrier
from demesh.probes.stun_message import Garbled, Message, NotStun, Request, read

_UNSIGNED = "the answer is not signed with the password"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response or an error, and how long it took from the first of `sends`."""

    message: Message
    took_us: int
    sends: int


class Exchange:
    """One request, for whoever moves its messages: what to make of each that comes, and of none."""

    def __init__(self, request: Request, key: bytes | None = None) -> None:
        self.request = request
        self.sends = 0
        self._key = key
        self._strays = 0
        self._worst = ""

    def take(self, wire: bytes, reliable: bool) -> Message | None:
        """The answer if `wire` is it. Raises BadAnswer; over a `reliable` carrier for whatever cannot be one."""
        try:
            message = read(wire)
        except NotStun:
            return self._pass_over(NOT_STUN, reliable)
        except Garbled as garbled:
            if garbled.id != self.request.id:
                return self._pass_over("", reliable=False)
            raise BadAnswer(Outcome.MISMATCH, str(garbled)) from None
        if message.id != self.request.id:
            return self._pass_over("", reliable=False)
        if message.kind == "request":
            raise BadAnswer(Outcome.MISMATCH, "the target sends back what it is sent")
        if message.kind == "indication" or message.method != self.request.method:
            raise BadAnswer(Outcome.MISMATCH, "the answer is STUN, but of another kind than the request")
        if message.kind == "error" and message.error is None:
            raise BadAnswer(Outcome.MISMATCH, "the answer is an error without a code")
        if message.kind == "response" and self._key is not None and not message.signed_with(self._key):
            return self._pass_over(_UNSIGNED, reliable)
        return message

    def unanswered(self, timeout_ms: int) -> Failed:
        """What to say when the time is over."""
        if self._worst:
            return BadAnswer(Outcome.MISMATCH, self._worst)
        times = f" to {self.sends} requests" if self.sends > 1 else ""
        ignored = f"; ignored {self._strays} to another request" if self._strays else ""
        return Failed(Outcome.TIMEOUT, f"no answer within {timeout_ms} ms{times}{ignored}")

    def _pass_over(self, what: str, reliable: bool) -> None:
        if what and reliable:
            raise BadAnswer(Outcome.MISMATCH, what)
        REFUSED.labels("stun", "stray_reply").inc()
        self._strays += 1
        self._worst = what or self._worst
        if self._strays > STUN_STRAYS_MAX:
            raise BadAnswer(Outcome.FAIL, f"more than {STUN_STRAYS_MAX} messages that answer another request")


async def transact(
    carrier: Carrier,
    request: Request,
    deadline: float,
    timeout_ms: int,
    key: bytes | None = None,
    aside: Callable[[bytes], bool] = lambda _: False,
) -> Answer:
    """The answer by `deadline` (trio's time); `timeout_ms` is only what is told of that. Raises Failed.

    `aside` is shown every message first, and may keep it.
    """
    exchange = Exchange(request, key)
    first_s, wait_s = None, STUN_RETRANSMIT_SECONDS
    with trio.move_on_at(deadline):
        while True:
            sent_s = await carrier.send(request.wire)
            exchange.sends += 1
            first_s = sent_s if first_s is None else first_s
            last = carrier.reliable or exchange.sends == STUN_SENDS_MAX
            with trio.move_on_at(inf if last else sent_s + wait_s):
                while True:
                    wire, at_s = await carrier.receive()
                    if not aside(wire) and (message := exchange.take(wire, carrier.reliable)) is not None:
                        return Answer(message, max(round((at_s - first_s) * 1_000_000), 0), exchange.sends)
            wait_s *= 2
    raise exchange.unanswered(timeout_ms)


def with_mapped_address(message: Message) -> Message:
    """The message, if it is a response that says from where the request came. Raises BadAnswer."""
    if message.kind == "error" and message.error is not None:
        raise BadAnswer(Outcome.FAIL, f"the server answers with {error_text(message.error)}")
    if message.mapped is None:
        raise BadAnswer(Outcome.MISMATCH, "the answer has no mapped address")
    return message


def error_text(error: tuple[int, str]) -> str:
    """A server's error as a phrase: the code, and the beginning of its own words for it without what a terminal would obey.

    >>> error_text((420, "Unknown Attribute\\x1b[2J"))
    'error 420 (Unknown Attribute [2J)'
    """
    code, reason = error
    shown = shown_text(reason)
    return f"error {code} ({shown})" if shown else f"error {code}"


def shown_text(text: str) -> str:
    """What a server says of itself, fit for a line."""
    return "".join(c if c.isprintable() else " " for c in text[:STUN_REASON_CHARS_MAX]).strip()
