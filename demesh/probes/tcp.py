"""The TCP probe, also under TLS: connect, shake hands where asked to, send, and search what comes back.

Guaranteed:

- Every run looks the name up, connects and shakes hands anew, to one address that is recorded (`demesh.probes.dialling`).
- All of what is to be sent is handed over before anything is read. If no answer is expected, that passes; a connection
  (with TLS: a handshake) passes if nothing is to be sent either.
- What the target sends is searched whenever more of it comes, until the expression matches, the target closes, the
  deadline is reached, TCP_ANSWER_BYTES_MAX bytes were read, or the searches took TCP_ANSWER_SEARCH_SECONDS_MAX.
- A target that answered, but with nothing that matches, is a mismatch, also when the deadline ended the wait; one that
  sent nothing is a timeout, or has failed if it closed.
- The earliest expiry in the chain is reported even if the certificate was refused. Who offers application protocols
  (ALPN) expects one of them.
- The latency is the sum of the phases: `dns`, `connect`, `starttls`, `tls`, `first_byte`, `transfer`, as far as there are any.
- The result holds nothing of what was sent, and of the answer only what `demesh.probes.actual` tells.
- Nothing is held past the timeout, whatever the target does.
"""

import ssl
from collections.abc import Callable

import trio

from demesh.failure import Failed, broken_connection
from demesh.limits import TCP_ANSWER_BYTES_MAX, TCP_ANSWER_SEARCH_SECONDS_MAX
from demesh.outcome import Outcome, ProbeResult
from demesh.pattern import Pattern, PatternTooSlow
from demesh.probes.actual import told
from demesh.probes.base import ProbeSpec, TcpOptions
from demesh.probes.dialling import Progress, dial, place_of
from demesh.probes.expectations import limits_broken, shown_pattern
from demesh.probes.resolving import Resolver
from demesh.probes.securing import secure
from demesh.probes.starttls import Starttls
from demesh.probes.tls import TlsContexts, TlsStream

_READ_BYTES = 4_096
_CLOSED_BEFORE_TLS = "the connection was closed before TLS could begin"
_SENDING = "still sending"
_EACH_UNDECODABLE = dict.fromkeys(range(0xDC80, 0xDD00), "\ufffd")  # what surrogateescape makes of single bytes


class TcpProbe:
    """A `Probe` for tcp:// and tls:// targets. `wall_ms` (Unix time) only serves to judge a certificate's expiry."""

    def __init__(self, wall_ms: Callable[[], int], resolver: Resolver, contexts: TlsContexts) -> None:
        self._wall_ms = wall_ms
        self._resolver = resolver
        self._contexts = contexts

    async def __call__(self, spec: ProbeSpec) -> ProbeResult:
        progress = Progress()
        deadline = spec.deadline_s(trio.current_time())
        try:
            return await self._run(spec, deadline, progress)
        except Failed as failed:
            return progress.failed(failed.outcome, str(failed))

    async def _run(self, spec: ProbeSpec, deadline: float, progress: Progress) -> ProbeResult:
        options = spec.options if isinstance(spec.options, TcpOptions) else TcpOptions()
        answer = _Answer(spec.expect.answer) if spec.expect.answer is not None else None
        place = place_of(spec.target)
        context = None
        if spec.type == "tls" or options.starttls:
            context = await self._contexts.get(spec.ca_file, spec.verify_tls, options.alpn)
        done = False
        async with await dial(place, spec, self._resolver, deadline, progress) as connection:
            with trio.move_on_at(deadline):
                stream = connection
                if context is not None:
                    stream = await _secure(connection, context, options, options.server_name or place.host, progress)
                await _exchange(stream, options.send, answer, progress)
                done = True
                await stream.aclose()
        if not done and answer is not None and answer.received:
            return progress.failed(Outcome.MISMATCH, answer.unmatched(spec, f" within {spec.timeout_ms} ms"))
        if not done:
            return progress.timed_out(spec.timeout_ms)
        broken = {} if answer is None or answer.matches else {"answer": answer.unmatched(spec)}
        broken |= limits_broken(spec, progress.latency_us, progress.certificate_expires_s, self._wall_ms)
        return progress.judged(broken)


async def _secure(
    connection: trio.SocketStream, context: ssl.SSLContext, options: TcpOptions, name: str, progress: Progress
) -> TlsStream:
    """TLS over `connection`, once the server is ready for it. Raises Failed."""
    if options.starttls:
        with progress.phase("starttls", "still asking for TLS"):
            await _ask_for_tls(connection, Starttls(options.starttls, name))
    stream = await secure(connection, context, name, progress)
    if options.alpn and stream.selected_alpn_protocol() is None:
        raise Failed(Outcome.MISMATCH, "the server chose none of the application protocols (ALPN) offered")
    return stream


async def _ask_for_tls(connection: trio.SocketStream, talk: Starttls) -> None:
    to_send = talk.receive(b"")
    while True:
        try:
            await connection.send_all(to_send)
            if talk.ready:
                return
            came = await connection.receive_some(_READ_BYTES)
        except trio.BrokenResourceError as error:
            raise broken_connection(error, _CLOSED_BEFORE_TLS) from None
        if not came:
            raise Failed(Outcome.FAIL, _CLOSED_BEFORE_TLS)
        to_send = talk.receive(came)


async def _exchange(stream: trio.abc.Stream, send: bytes | None, answer: "_Answer | None", progress: Progress) -> None:
    """Sends, and reads until `answer` has enough. Raises Failed."""
    try:
        if answer is None:
            progress.doing = _SENDING
            await stream.send_all(send or b"")
            return
        with progress.phase("first_byte", _SENDING):
            await stream.send_all(send or b"")
            progress.doing = "still waiting for the first byte"
            came = await stream.receive_some(_READ_BYTES)
            if not came:
                raise Failed(Outcome.FAIL, "the connection was closed without an answer")
        with progress.phase("transfer", "still reading the answer"):
            while not answer.take(came):
                came = await stream.receive_some(_READ_BYTES)
    except trio.BrokenResourceError as error:
        raise broken_connection(error, "the connection broke before the answer was complete") from None


class _Answer:
    """What the target has sent so far, up to the bound, and whether it is what was expected."""

    def __init__(self, expected: Pattern) -> None:
        self._expected = expected
        self._searching_s = 0.0
        self.received = b""
        self.matches = False

    def take(self, came: bytes | bytearray) -> bool:
        """Takes what came, empty for the end; returns whether that is enough."""
        if not came:
            return True
        self.received += came[: TCP_ANSWER_BYTES_MAX - len(self.received)]
        started = trio.current_time()
        try:
            self.matches = self._expected.found_in(self._text())
            self._searching_s += trio.current_time() - started
        except PatternTooSlow:
            self._searching_s = TCP_ANSWER_SEARCH_SECONDS_MAX
        return self.matches or self._too_slow or len(self.received) == TCP_ANSWER_BYTES_MAX

    @property
    def _too_slow(self) -> bool:
        return self._searching_s >= TCP_ANSWER_SEARCH_SECONDS_MAX

    def _text(self) -> str:
        return self.received.decode(errors="surrogateescape").translate(_EACH_UNDECODABLE)

    def unmatched(self, spec: ProbeSpec, when: str = "") -> str:
        """That the answer is not the expected one, as a phrase."""
        verb = "takes too long to search for" if self._too_slow else "does not match"
        return f"answer {verb} /{shown_pattern('answer', self._expected, spec)}/{when}: {told(self._text(), spec)}"
