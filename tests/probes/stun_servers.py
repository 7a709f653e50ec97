"""A real STUN and TURN server, what servers answer, and the probes, set up."""

import re
import socket
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aioice import stun

from demesh.outcome import ProbeResult
from demesh.probes.base import Expect, ProbeSpec, StunOptions, TurnOptions
from demesh.probes.resolving import Resolver
from demesh.probes.stun import StunProbe
from demesh.probes.tls import TlsContexts
from demesh.probes.turn import TurnProbe
from tests.certificates import Authority
from tests.e2e.harness import eventually, require
from tests.ports import free_port, free_ports
from tests.probes.servers import NOW_MS

USER, PASSWORD = "probe", "sesame-of-turn"
_CONFIG = """\
listening-ip=127.0.0.1
listening-ip=127.0.0.2
listening-ip=::1
relay-ip=127.0.0.1
listening-port={port}
alt-listening-port={other_port}
tls-listening-port={tls_port}
alt-tls-listening-port={other_tls_port}
min-port={relay_port}
max-port={relay_port_last}
cert={pem}
pkey={pem}
user={user}:{password}
realm=relay.test
lt-cred-mech
allow-loopback-peers
no-dtls
no-cli
simple-log
verbose
log-file={home}/log
pidfile={home}/pid
userdb={home}/db
"""


@dataclass(frozen=True)
class Coturn:
    port: int
    tls_port: int
    log: Path

    def target(self, scheme: str, host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.tls_port if scheme.endswith('s') else self.port}"

    def allocations(self) -> int:
        """How many it has given so far, less those that are over."""
        text = self.log.read_text()
        made, back = (len(re.findall(pattern, text)) for pattern in (r": new, realm=", r": refreshed, .* lifetime=0\b"))
        return made - back


@contextmanager
def coturn(home: Path, authority: Authority) -> Generator[Coturn]:
    program = require("turnserver")
    home.mkdir()
    authority.server("turn")
    ports = ("port", "other_port", "tls_port", "other_tls_port")
    free = dict(zip(ports, (free_port() for _ in ports), strict=True))
    relayed = free_ports(40)
    config = _CONFIG.format(
        home=home,
        pem=authority.home / "turn.pem",
        user=USER,
        password=PASSWORD,
        relay_port=relayed[0],
        relay_port_last=relayed[-1],
        **free,
    )
    (home / "conf").write_text(config)
    with (home / "output").open("wb") as output:
        process = subprocess.Popen([program, "-c", str(home / "conf")], stdout=output, stderr=output)
    try:
        for port in free.values():
            told = f"coturn answers; {(home / 'output').read_text()}"
            eventually(lambda at=port: socket.create_connection(("127.0.0.1", at), 1).close(), lambda _: True, 10, told)
        yield Coturn(free["port"], free["tls_port"], home / "log")
    finally:
        process.kill()
        process.wait()


def reply(request: bytes, *, error: bool = False, key: bytes | None = None, **attributes: Any) -> bytes:
    """An answer to a request; attributes by their names with _ for -."""
    asked = stun.parse_message(request)
    class_ = stun.Class.ERROR if error else stun.Class.RESPONSE
    named = {name.replace("_", "-"): value for name, value in attributes.items()}
    message = stun.Message(asked.message_method, class_, asked.transaction_id, named)
    if key is not None:
        message.add_message_integrity(key)
    return bytes(message)


def stun_probe(resolver: Resolver | None = None) -> StunProbe:
    return StunProbe(lambda: NOW_MS, resolver or Resolver(), TlsContexts())


async def ask(
    target: str, timeout_ms: int = 5000, *, expect: Expect | None = None, resolver: Resolver | None = None, **more: Any
) -> ProbeResult:
    """One run of the probe of the target's scheme. `more` goes to its options if it is one of their keys, else to ProbeSpec."""
    type_ = target[:4]
    kind = StunOptions if type_ == "stun" else TurnOptions
    options = kind(**{key: more.pop(key) for key in list(more) if key in kind.__slots__})
    spec = ProbeSpec(type_, target, timeout_ms, expect or Expect(), options=options, **more)
    probe = stun_probe(resolver)
    if type_ == "turn":
        probe = TurnProbe(lambda: NOW_MS, resolver or Resolver(), TlsContexts())
    return await probe(spec)
