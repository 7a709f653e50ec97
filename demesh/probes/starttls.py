"""What is said before TLS begins on a connection that starts without it (STARTTLS and its like), as machines without I/O.

    client                      server
                                220 mail.example.org ESMTP
    EHLO demesh.invalid
                                250-mail.example.org
                                250 STARTTLS
    STARTTLS
                                220 go ahead
    ── from here on TLS ──────────────────────────────────

Each protocol is a generator that yields what to send and the pattern of the next unit to wait for (a line, a tag, a byte),
and that ends when the server is ready for TLS. Who has no STARTTLS, or denies it, does not meet the expectation
(MISMATCH); who speaks another protocol fails (FAIL).

Guaranteed: at most STARTTLS_BYTES_MAX bytes are taken, in pieces of any size. What comes after the server's go-ahead was
sent without TLS and could be anybody's: it is refused (compare CVE-2011-0411, CVE-2021-23222). Of the server's words
nothing but the three digits of a reply code is ever in a message.

The protocols: SMTP RFC 3207, IMAP RFC 9051 6.2.1, POP3 RFC 2595, FTP RFC 4217, XMPP RFC 6120 5.4, PostgreSQL's
documentation on message flow ("SSL session encryption").
"""

import re
from collections.abc import Callable, Generator
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

from demesh.failure import Failed
from demesh.limits import STARTTLS_BYTES_MAX
from demesh.outcome import Outcome

_LINE = re.compile(rb"[^\n]*\n")
_TAG = re.compile(rb"[^<>]*<[^<>]*>")
_BYTE = re.compile(rb".", re.DOTALL)
_REPLY = re.compile(rb"([1-5]\d\d)([ -]|\r?\n)")
_ELEMENT = re.compile(rb"\s*<(/?)(?:[\w.-]+:)?([\w.-]+)[^<>]*?(/?)>")
_OWN_NAME = b"demesh.invalid"
_POSTGRES_SSL_REQUEST = bytes.fromhex("00000008 04d2162f")


class _Step(NamedTuple):
    send: bytes
    unit: re.Pattern[bytes]


_Talk = Generator[_Step, bytes, None]


class Starttls:
    """One conversation. Feed it with `receive`, at first with nothing, until it is `ready`."""

    def __init__(self, protocol: str, host: str) -> None:
        """`protocol` is a key of TALKS; `host` is whom XMPP asks for."""
        self._talk = TALKS[protocol](host)
        self._step: _Step | None = None
        self._buffer = b""
        self._taken = 0
        self.ready = False

    def receive(self, data: bytes) -> bytes:
        """Takes what came; returns what to send. Raises Failed."""
        self._taken += len(data)
        if self._taken > STARTTLS_BYTES_MAX:
            raise Failed(Outcome.FAIL, f"more than {STARTTLS_BYTES_MAX} bytes came before TLS")
        self._buffer += data
        to_send = b""
        while not self.ready:
            unit = None if self._step is None else self._step.unit.match(self._buffer)
            if self._step is not None and unit is None:
                return to_send
            try:
                self._step = next(self._talk) if unit is None else self._talk.send(unit[0])
                to_send += self._step.send
            except StopIteration:
                self.ready = True
            self._buffer = self._buffer[unit.end() if unit else 0 :]
        if self._buffer:
            raise Failed(Outcome.FAIL, "the server sent more after its go-ahead for TLS, which is refused")
        return to_send


def _smtp(_: str) -> _Talk:
    yield from _expect(220, b"", "SMTP", "the server turned the connection away")
    offers = yield from _expect(250, b"EHLO " + _OWN_NAME + b"\r\n", "SMTP", "the server refused EHLO")
    if not any(line[4:].strip().upper() == b"STARTTLS" for line in offers):
        raise _not_offered()
    yield from _expect(220, b"STARTTLS\r\n", "SMTP", "the server refused STARTTLS")


def _ftp(_: str) -> _Talk:
    yield from _expect(220, b"", "FTP", "the server turned the connection away")
    yield from _expect(234, b"AUTH TLS\r\n", "FTP", "the server refused AUTH TLS")


def _expect(code: int, send: bytes, protocol: str, refusal: str) -> Generator[_Step, bytes, list[bytes]]:
    """The lines of a reply, which must bear `code`."""
    lines = [(yield _Step(send, _LINE))]
    first = _REPLY.match(lines[0])
    if first is None:
        raise _not_spoken(protocol)
    while first[2] == b"-" and not re.match(first[1] + rb"( |\r?\n)", lines[-1]):
        lines.append((yield _Step(b"", _LINE)))
    if int(first[1]) != code:
        raise Failed(Outcome.MISMATCH, f"{refusal} ({first[1].decode()})")
    return lines


def _imap(_: str) -> _Talk:
    greeting = (yield _Step(b"", _LINE)).upper()
    if greeting.startswith((b"* BYE", b"* PREAUTH")):
        raise Failed(Outcome.MISMATCH, "the server's greeting leaves no room for STARTTLS")
    if not greeting.startswith(b"* OK"):
        raise _not_spoken("IMAP")
    answer = yield _Step(b"t STARTTLS\r\n", _LINE)
    while answer.startswith(b"* "):
        answer = yield _Step(b"", _LINE)
    status = answer.upper().split()[:2]
    if status in ([b"T", b"NO"], [b"T", b"BAD"]):
        raise Failed(Outcome.MISMATCH, "the server refused STARTTLS")
    if status != [b"T", b"OK"]:
        raise _not_spoken("IMAP")


def _pop3(_: str) -> _Talk:
    for send, refusal in (
        (b"", "the server turned the connection away"),
        (b"STLS\r\n", "the server refused STLS"),
    ):
        answer = (yield _Step(send, _LINE)).upper()
        if answer.startswith(b"-ERR"):
            raise Failed(Outcome.MISMATCH, refusal)
        if not answer.startswith(b"+OK"):
            raise _not_spoken("POP3")


def _xmpp(host: str) -> _Talk:
    opening = (
        f"<?xml version='1.0'?><stream:stream to={quoteattr(host)} version='1.0' xml:lang='en'"
        " xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
    )
    tag = yield _Step(opening.encode(), _TAG)
    if tag.lstrip().startswith(b"<?xml"):
        tag = yield _Step(b"", _TAG)
    if not re.match(rb"\s*<(?:[\w.-]+:)?stream\b", tag):
        raise _not_spoken("XMPP")
    offered = False
    while (element := _element((yield _Step(b"", _TAG)))) not in (("features", "end"), ("features", "empty")):
        if element[0] in ("error", "stream"):
            raise Failed(Outcome.MISMATCH, "the server turned the connection away")
        offered |= element[0] == "starttls"
    if not offered:
        raise _not_offered()
    answer = _element((yield _Step(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", _TAG)))
    if answer == ("proceed", "start"):
        answer = _element((yield _Step(b"", _TAG)))
    if answer not in (("proceed", "end"), ("proceed", "empty")):
        raise Failed(Outcome.MISMATCH, "the server refused STARTTLS")


def _element(tag: bytes) -> tuple[str, str]:
    """The local name of an XML tag, and which kind of tag it is."""
    match = _ELEMENT.fullmatch(tag)
    if match is None:
        raise _not_spoken("XMPP")
    return match[2].decode(), "end" if match[1] else "empty" if match[3] else "start"


def _postgres(_: str) -> _Talk:
    answer = yield _Step(_POSTGRES_SSL_REQUEST, _BYTE)
    if answer == b"N":
        raise _not_offered()
    if answer != b"S":
        raise _not_spoken("PostgreSQL")


def _not_offered() -> Failed:
    return Failed(Outcome.MISMATCH, "the server does not offer TLS")


def _not_spoken(protocol: str) -> Failed:
    return Failed(Outcome.FAIL, f"the answer is not {protocol}")


TALKS: dict[str, Callable[[str], _Talk]] = {
    "smtp": _smtp,
    "imap": _imap,
    "pop3": _pop3,
    "ftp": _ftp,
    "xmpp": _xmpp,
    "postgres": _postgres,
}
"""By the value of `starttls` in a check."""
