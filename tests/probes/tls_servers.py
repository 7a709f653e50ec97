"""Servers for the TCP and TLS probes, real ones and hand-made ones, and the probe itself, set up."""

import ssl
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

import trio

from demesh.outcome import ProbeResult
from demesh.pattern import Pattern
from demesh.probes.base import Expect, ProbeSpec, TcpOptions
from demesh.probes.resolving import Resolver
from demesh.probes.tcp import TcpProbe
from demesh.probes.tls import TlsContexts
from tests.certificates import NOW, Authority
from tests.e2e.harness import require
from tests.probes.servers import NOW_MS, listening

STARTTLS_SCRIPTS: dict[str, list[bytes]] = {
    "smtp": [b"220 mail ESMTP\r\n", b"250-mail\r\n250 STARTTLS\r\n", b"220 go\r\n"],
    "imap": [b"* OK hi\r\n", b"%s OK go\r\n"],
    "pop3": [b"+OK hi\r\n", b"+OK go\r\n"],
    "ftp": [b"220 hi\r\n", b"234 go\r\n"],
    "xmpp": [
        b"",
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
        b" id='1' version='1.0'><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    ],
    "postgres": [b"", b"S"],
}
"""What a server says: first, and then each time that it has been told something; %s is the tag of the command."""


def probe(resolver: Resolver | None = None, contexts: TlsContexts | None = None) -> TcpProbe:
    return TcpProbe(lambda: NOW_MS, resolver or Resolver(), contexts or TlsContexts())


def spec(
    target: str, timeout_ms: int = 5000, *, answer: str = "", expect: Expect | None = None, **more: object
) -> ProbeSpec:
    """`more` goes to TcpOptions if it is one of its keys, to ProbeSpec otherwise."""
    options = {key: more.pop(key) for key in list(more) if key in TcpOptions.__slots__}
    expected = expect or Expect(answer=Pattern.compile(answer) if answer else None)
    more.setdefault("actual_key", b"of the mesh")
    return ProbeSpec(target[:3], target, timeout_ms, expected, options=TcpOptions(**options), **more)  # type: ignore[arg-type]


async def run(target: str, timeout_ms: int = 5000, **more: object) -> ProbeResult:
    """One run of a new probe."""
    return await probe()(spec(target, timeout_ms, **more))  # type: ignore[arg-type]


@contextmanager
def openssl_server(certificate: Path, *arguments: str, host: str = "127.0.0.1") -> Generator[int]:
    """The port of `openssl s_server` with the certificate and key in `certificate`."""
    command = [require("openssl"), "s_server", "-accept", f"{host}:0", "-cert", str(certificate), *arguments]
    # Its input stays open: at its end the server would leave.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(b"ACCEPT"):
                    yield int(line.rpartition(b":")[2])
                    break
            else:
                raise AssertionError("openssl s_server did not start")
        finally:
            process.kill()


@asynccontextmanager
async def starttls_server(protocol: str, tls: ssl.SSLContext, then: bytes = b"") -> AsyncGenerator[int]:
    """The port of a server that speaks `protocol` up to TLS, says `then` under TLS, and waits for the end."""

    async def speak(stream: trio.SocketStream) -> None:
        first, *others = STARTTLS_SCRIPTS[protocol]
        await stream.send_all(first)
        for said in others:
            heard = await stream.receive_some()
            while protocol == "imap" and heard.upper().rstrip().endswith(b"CAPABILITY"):  # s_client asks first
                await stream.send_all(b"* CAPABILITY STARTTLS\r\n%s OK\r\n" % heard.split()[0])
                heard = await stream.receive_some()
            while protocol == "pop3" and heard.upper().startswith(b"CAPA"):
                await stream.send_all(b"+OK\r\nSTLS\r\n.\r\n")
                heard = await stream.receive_some()
            await stream.send_all(said % heard.split()[0] if b"%s" in said else said)
        secure = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        await secure.send_all(then)
        await secure.receive_some()

    async with listening(speak) as port:
        yield port


def expiry_s(days: int) -> int:
    return int((NOW + timedelta(days=days)).timestamp())


def pem(authority: Authority, name: str, **more: object) -> Path:
    authority.server(name, **more)  # type: ignore[arg-type]
    return authority.home / f"{name}.pem"
