"""Name servers for the DNS probe: a real one, and one that says what it is told; and the probe itself, set up."""

import socket
import subprocess
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.rcode
import dns.rrset
import trio

from demesh.outcome import ProbeResult
from demesh.probes.base import DnsOptions, Expect, ProbeSpec
from demesh.probes.dialling import Place
from demesh.probes.dns import DnsProbe
from demesh.probes.resolving import Resolver
from demesh.probes.tls import TlsContexts
from tests.certificates import Authority
from tests.e2e.harness import eventually, require
from tests.ports import free_port
from tests.probes.servers import NOW_MS, fake_resolver

ZONE = """\
$ORIGIN shop.test.
$TTL 60
@ SOA ns.shop.test. host.shop.test. 1 2 3 4 5
@ NS ns.shop.test.
@ MX 10 Mail.shop.test.
@ TXT "v=spf1 -all"
ns A 192.0.2.53
mail A 192.0.2.8
web A 192.0.2.7
web A 192.0.2.6
web AAAA 2001:db8::7
www CNAME web
away CNAME web.elsewhere.test.
null MX 0 .
""" + "".join(f'long TXT "{n:02} {"x" * 80}"\n' for n in range(40))

CONFIG = """\
server:
  directory: "{home}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  interface: 127.0.0.1@{port}
  interface: 127.0.0.1@{tls_port}
  interface: ::1@{port}
  tls-port: {tls_port}
  tls-service-key: "{pem}"
  tls-service-pem: "{pem}"
  module-config: "iterator"
  local-zone: "test." nodefault
  local-zone: "refused.test." always_refuse
remote-control:
  control-enable: no
auth-zone:
  name: "shop.test."
  zonefile: "{home}/zone"
forward-zone:
  name: "broken.test."
  forward-addr: 127.0.0.1@1
"""


@dataclass(frozen=True)
class NameServer:
    port: int
    tls_port: int

    def target(self, name: str, host: str = "127.0.0.1") -> str:
        return f"dns://{host}:{self.port}/{name}"


@contextmanager
def unbound(home: Path, authority: Authority) -> Generator[NameServer]:
    """A real name server with the zone `shop.test`; it refuses `refused.test` and cannot reach `broken.test`."""
    program = require("unbound")
    home.mkdir()
    authority.server("dns")
    server = NameServer(free_port(), free_port())
    (home / "zone").write_text(ZONE)
    pem = authority.home / "dns.pem"
    (home / "unbound.conf").write_text(CONFIG.format(home=home, pem=pem, port=server.port, tls_port=server.tls_port))
    with (home / "output").open("wb") as output:
        process = subprocess.Popen([program, "-d", "-c", str(home / "unbound.conf")], stdout=output, stderr=output)
    try:
        told = f"unbound answers; {(home / 'output').read_text()}"
        eventually(lambda: socket.create_connection(("127.0.0.1", server.port), 1).close(), lambda _: True, 10, told)
        yield server
    finally:
        process.kill()
        process.wait()


Respond = Callable[[bytes], list[bytes]]


@asynccontextmanager
async def saying(respond: Respond) -> AsyncGenerator[int]:
    """Yields the port of a UDP server on 127.0.0.1 that answers a query with `respond(query)`, one datagram each."""

    async def serve(sock: trio.socket.SocketType) -> None:
        while True:
            query, source = await sock.recvfrom(4096)
            for datagram in respond(query):
                await sock.sendto(datagram, source)

    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, sock)
            yield sock.getsockname()[1]
            nursery.cancel_scope.cancel()


def answer(query: bytes, *records: str, rcode: int = 0) -> bytes:
    """A proper reply; each of `records` is a line of a zone file, such as `x.test. 60 IN A 192.0.2.1`."""
    reply = dns.message.make_response(dns.message.from_wire(query))
    reply.set_rcode(dns.rcode.Rcode(rcode))
    for record in records:
        name, ttl, class_, type_, data = record.split(maxsplit=4)
        reply.answer.append(dns.rrset.from_text(name, int(ttl), class_, type_, data))
    return reply.to_wire()


def dns_probe(resolver: Resolver | None = None, local: list[Place] | None = None) -> DnsProbe:
    return DnsProbe(lambda: NOW_MS, resolver or fake_resolver({}), TlsContexts(), lambda _: local or [])


async def ask(
    target: str,
    *,
    timeout_ms: int = 5000,
    expect: Expect | None = None,
    options: DnsOptions | None = None,
    probe: DnsProbe | None = None,
    **more: object,
) -> ProbeResult:
    spec = ProbeSpec("dns", target, timeout_ms, expect or Expect(), options=options, **more)  # type: ignore[arg-type]
    return await (probe or dns_probe())(spec)
