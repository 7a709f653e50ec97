"""Brokers for the MQTT probe: a real one with every kind of listener, one that says what it is told; and the probe, set up."""

import socket
import struct
import subprocess
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from demesh.outcome import ProbeResult
from demesh.probes.base import Expect, MqttOptions, ProbeSpec
from demesh.probes.mqtt import MqttProbe
from demesh.probes.resolving import Resolver
from demesh.probes.tls import TlsContexts
from tests.certificates import Authority
from tests.e2e.harness import eventually, require
from tests.ports import free_port
from tests.probes.servers import NOW_MS, fake_resolver, listening

USER, PASSWORD, READER = "me", "sesame", "reader"

_LISTENERS = """\
user root
persistence false
log_type error
per_listener_settings true
listener {port} 127.0.0.1
allow_anonymous true
listener {port} ::1
allow_anonymous true
listener {tls} 127.0.0.1
allow_anonymous true
certfile {pem}
keyfile {pem}
listener {ws} 127.0.0.1
protocol websockets
allow_anonymous true
listener {wss} 127.0.0.1
protocol websockets
allow_anonymous true
certfile {pem}
keyfile {pem}
listener {login} 127.0.0.1
allow_anonymous false
password_file {home}/passwords
acl_file {home}/rights
"""


@dataclass(frozen=True)
class Brokers:
    """The ports of one broker's listeners."""

    port: int
    tls: int
    ws: int
    wss: int
    login: int

    def target(self, kind: str, login: str = "") -> str:
        scheme = {"port": "mqtt", "tls": "mqtts", "ws": "mqtt+ws", "wss": "mqtt+wss", "login": "mqtt"}[kind]
        return f"{scheme}://{login}127.0.0.1:{getattr(self, kind)}"


@contextmanager
def mosquitto(home: Path, authority: Authority) -> Generator[Brokers]:
    """A real broker. At `login`, USER may do all beneath `demesh` and `probes`, and READER may only read."""
    program, passwords = require("mosquitto"), require("mosquitto_passwd")
    home.mkdir()
    authority.server("mqtt")
    brokers = Brokers(*(free_port() for _ in range(5)))
    (home / "passwords").touch(0o600)
    for name in (USER, READER):
        subprocess.run([passwords, "-b", str(home / "passwords"), name, PASSWORD], check=True)
    (home / "rights").write_text(f"user {USER}\ntopic demesh/#\ntopic probes/#\nuser {READER}\ntopic read #\n")
    (home / "rights").chmod(0o600)
    config = _LISTENERS.format(home=home, pem=authority.home / "mqtt.pem", **vars(brokers))
    (home / "mosquitto.conf").write_text(config)
    with (home / "output").open("wb") as output:
        process = subprocess.Popen([program, "-c", str(home / "mosquitto.conf")], stdout=output, stderr=output)

    def connect() -> bool:
        for port in vars(brokers).values():
            socket.create_connection(("127.0.0.1", port), 1).close()
        return True

    try:
        eventually(connect, bool, 10, f"mosquitto listens; {(home / 'output').read_text()}")
        yield brokers
    finally:
        process.kill()
        process.wait()


# What brokers say (MQTT 3.1.1, section 3), with lengths below 128.
WELCOME = b"\x20\x02\x00\x00"
SUBSCRIBED = b"\x90\x03\x00\x01\x01"
ACKNOWLEDGED = b"\x40\x02\x00\x02"


def message(topic: bytes, payload: bytes) -> bytes:
    body = struct.pack("!H", len(topic)) + topic + payload
    return bytes((0x30, len(body))) + body


@dataclass(frozen=True)
class Packet:
    kind: int
    body: bytes

    @property
    def published(self) -> tuple[bytes, bytes]:
        """The topic and the payload of a PUBLISH with QoS 1."""
        (length,) = struct.unpack_from("!H", self.body)
        return self.body[2 : 2 + length], self.body[4 + length :]


def packets(data: bytearray) -> Iterator[Packet]:
    """Takes those that are complete out of `data`."""
    while len(data) >= 2 and len(data) >= 2 + data[1]:
        assert data[1] < 128
        yield Packet(data[0] >> 4, bytes(data[2 : 2 + data[1]]))
        del data[: 2 + data[1]]


Say = Callable[[Packet], bytes | None]


def proper(packet: Packet) -> bytes | None:
    """What a good broker says to each packet of a client; None: it hangs up."""
    if packet.kind == 1:
        return WELCOME
    if packet.kind == 8:
        return SUBSCRIBED
    if packet.kind == 3:
        return ACKNOWLEDGED + message(*packet.published)
    return None if packet.kind == 14 else b""


@asynccontextmanager
async def broker(say: Say = proper) -> AsyncGenerator[int]:
    """The port of a broker that answers each packet with `say`."""

    async def serve(stream: trio.SocketStream) -> None:
        data = bytearray()
        async for came in stream:
            data += came
            for packet in packets(data):
                answer = say(packet)
                if answer is None:
                    await stream.aclose()
                    return
                await stream.send_all(answer)

    async with listening(serve) as port:
        yield port


def mqtt_probe(resolver: Resolver | None = None) -> MqttProbe:
    return MqttProbe(lambda: NOW_MS, resolver or fake_resolver({}), TlsContexts())


async def ask(
    target: str,
    *,
    timeout_ms: int = 5_000,
    expect: Expect | None = None,
    options: MqttOptions | None = None,
    probe: MqttProbe | None = None,
    **more: object,
) -> ProbeResult:
    spec = ProbeSpec("mqtt", target, timeout_ms, expect or Expect(), options=options, **more)  # type: ignore[arg-type]
    return await (probe or mqtt_probe())(spec)
