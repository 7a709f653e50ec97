"""TLS over a trio stream, for probes: shared contexts, one handshake in steps on the event loop, and the chain that came.

Guaranteed:

- A context (and with it the file of authorities, 34 ms for this machine's) is made once, in a thread, and again only
  when that file has changed. What is trusted is what the HTTP probe trusts (`demesh.trust`).
- The certificates that the server sent are known also when they are refused: OpenSSL keeps them, so no second handshake
  is needed. TLS 1.2 is the oldest version spoken. No session is ever resumed.
- Closing says goodbye (close_notify) and does not wait for the peer's.

trio.SSLStream would do but for the second: it hides what came with a handshake that failed. CPU is the same within what
can be measured (1.2 to 1.4 ms a probe, 1.0 ms for a blocking handshake alone).

Not guaranteed: with an OpenSSL before 3.0 the chain of a refused certificate stays unknown. In TLS 1.3 a server that
wants a client certificate says so after the handshake, so only who reads from it is told.
"""

import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import trio
from cryptography import x509

from demesh.failure import CERTIFICATE_VERDICTS, Failed, broken_connection
from demesh.limits import TLS_CONTEXTS_MAX
from demesh.outcome import Outcome
from demesh.trust import system_ca_file

_T = TypeVar("_T")
_READ_BYTES = 16_384 + 256  # a full record
_RECORD_STARTS = (b"\x16\x03", b"\x15\x03")  # of a handshake message or an alert
_BROKEN = "the connection broke"
_FAILED = "the TLS handshake failed"
_BENEATH = "_sslobj"  # SSLObject itself shows the chain from Python 3.13 on
_DER = 2  # _ssl.ENCODING_DER

_REASONS = {
    "unsupported protocol": f"{_FAILED}: no TLS version in common",
    "alert protocol version": f"{_FAILED}: no TLS version in common",
    "alert handshake failure": f"{_FAILED}: the server takes nothing that this node offers",
    "alert no application protocol": f"{_FAILED}: no application protocol (ALPN) in common",
    "unrecognized name": f"{_FAILED}: the server knows no such name",
    "alert certificate required": "the server requires a client certificate",
    "dh key too small": f"{_FAILED}: the server's key is too short",
}
"""By OpenSSL's words for it, of which Python knows more than it has names for."""


class TlsContexts:
    """The TLS contexts of a node's probes, the TLS_CONTEXTS_MAX last used of them."""

    def __init__(self) -> None:
        self._made: dict[tuple[object, ...], ssl.SSLContext] = {}
        self._making = trio.Lock()

    async def get(self, ca_file: str | None, verify: bool, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """Believes the authorities in `ca_file`, or this machine's. Raises Failed if they cannot be read."""
        try:
            trusted = _stamped(ca_file) if verify else None
            key = (trusted, alpn)
            context = self._made.pop(key, None)
            if context is None:
                async with self._making:
                    context = self._made.pop(key, None) or await trio.to_thread.run_sync(_make, trusted, alpn)
        except OSError:  # ssl.SSLError is one
            raise Failed(Outcome.ERROR, "the file of CA certificates cannot be read") from None
        self._made[key] = context
        if len(self._made) > TLS_CONTEXTS_MAX:
            del self._made[next(iter(self._made))]
        return context


def _stamped(ca_file: str | None) -> tuple[str, int, int]:
    """The path of the file of authorities, and what differs once it is another."""
    path = ca_file or system_ca_file()
    if path is None:
        raise FileNotFoundError
    stat = Path(path).stat()
    return path, stat.st_mtime_ns, stat.st_size


def _make(trusted: tuple[str, int, int] | None, alpn: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if trusted is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(trusted[0])
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # like libcurl: any certificate in the file is an anchor
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class TlsStream(trio.abc.Stream):
    """The client's end of TLS over `transport`. For one task at a time; every method raises Failed when TLS breaks."""

    def __init__(self, transport: trio.SocketStream, context: ssl.SSLContext, server_name: str) -> None:
        self._transport = transport
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._begun = b""
        self._ended = False
        self._shaken = False
        try:
            # The zone of an address and the dot after a name are no part of what a certificate says.
            name = server_name.partition("%")[0].rstrip(".")
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        except ValueError:  # UnicodeError is one
            raise Failed(Outcome.ERROR, "the name of the server cannot be used for TLS") from None

    async def shake_hands(self) -> None:
        """Must be called, and succeed, before anything else but `aclose` and `certificates`."""
        await self._run(self._tls.do_handshake)
        self._shaken = True

    def certificates(self) -> list[bytes]:
        """What the server has sent, in DER, also when it was refused."""
        beneath: Any = getattr(self._tls, _BENEATH)
        return [certificate.public_bytes(_DER) for certificate in beneath.get_unverified_chain() or ()]

    def selected_alpn_protocol(self) -> str | None:
        return self._tls.selected_alpn_protocol()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._run(lambda: self._tls.write(data))

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Empty when the peer has ended the connection, with a goodbye or without one."""
        return await self._run(lambda: self._read(max_bytes or _READ_BYTES))

    def _read(self, max_bytes: int) -> bytes:
        try:
            return self._tls.read(max_bytes)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    async def aclose(self) -> None:
        """A peer that reads nothing holds this up: bound it, as any send, by a deadline."""
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        try:
            with suppress(Failed):
                await self._flush()
        finally:
            await trio.aclose_forcefully(self._transport)

    async def _run(self, step: Callable[[], _T]) -> _T:
        """Does `step` until it needs nothing more from the peer."""
        try:
            while True:
                try:
                    done = step()
                except ssl.SSLWantReadError:
                    await self._flush()
                    await self._feed()
                    continue
                await self._flush()
                return done
        except ssl.SSLError as error:
            with suppress(Failed):
                await self._flush()  # the alert
            raise self._explain(error) from None

    async def _flush(self) -> None:
        if self._outgoing.pending:
            try:
                await self._transport.send_all(self._outgoing.read())
            except trio.BrokenResourceError as error:
                raise broken_connection(error, _BROKEN) from None

    async def _feed(self) -> None:
        try:
            data = await self._transport.receive_some(_READ_BYTES)
        except trio.BrokenResourceError as error:
            raise broken_connection(error, _BROKEN) from None
        if len(self._begun) < len(_RECORD_STARTS[0]):
            self._begun += data[: len(_RECORD_STARTS[0])]
        if data:
            self._incoming.write(data)
        else:
            self._ended = True
            self._incoming.write_eof()

    def _explain(self, error: ssl.SSLError) -> Failed:
        if isinstance(error, ssl.SSLCertVerificationError):
            unknown = f"the certificate was not accepted (OpenSSL verify result {error.verify_code})"
            return Failed(Outcome.FAIL, CERTIFICATE_VERDICTS.get(error.verify_code, unknown))
        if self._begun and not any(start.startswith(self._begun[:2]) for start in _RECORD_STARTS):
            return Failed(Outcome.FAIL, f"{_FAILED}: the answer is not TLS")
        if self._ended:
            return Failed(Outcome.FAIL, "the connection was closed in the TLS handshake")
        known = next((sentence for words, sentence in _REASONS.items() if words in str(error)), None)
        return Failed(Outcome.FAIL, known or (_BROKEN if self._shaken else _FAILED))


def earliest_expiry_s(certificates: Iterable[bytes]) -> int | None:
    """The first notAfter among certificates in DER, as Unix time; None if none can be read."""
    expiries: list[int] = []
    for certificate in certificates:
        with suppress(ValueError):
            expiries.append(int(x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()))
    return min(expiries, default=None)
