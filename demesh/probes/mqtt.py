"""The MQTT probe: connect to a broker, subscribe to a random topic, publish to it, and get the own message back.

Guaranteed:

- Every run is a new session, clean and under a random client name, over a new connection to one address, which is recorded
  (`demesh.probes.dialling`), with TLS and a WebSocket where the target says so. It takes leave of the broker when it is done.
- It passes once its own message has come back, with the payload that was sent, and the broker has acknowledged it (QoS 1, or
  0 with a broker of MQTT 5 that takes no other). The topic lies beneath `topic` of the check; nothing is retained.
- A broker that refuses, at whatever step, breaks off, or does not speak MQTT, has failed, and the detail says why in words.
  One that does not give the message back in time is a timeout; what others publish is passed over.
- Whatever a broker sends is bounded (`demesh.probes.mqtt_session`), raises nothing, and holds nothing past the timeout.
- The result holds nothing of user, password and what the broker sends.
- The latency is the sum of the phases `dns`, `connect`, `tls`, `websocket`, `connack`, `suback`, `round_trip`, as far as
  there are any.

Not guaranteed: that it is told when publishing is forbidden: MQTT 3.1.1 has no word for that, so it reads as a timeout.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

import trio

from demesh.failure import Failed, broken_connection
from demesh.limits import CHECKS_MAX, MQTT_BYTES_MAX
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import MqttOptions, ProbeSpec
from demesh.probes.dialling import Place, Progress, dial, place_of
from demesh.probes.expectations import limits_broken
from demesh.probes.mqtt_session import MqttSession
from demesh.probes.resolving import Resolver
from demesh.probes.securing import secure
from demesh.probes.tls import TlsContexts, TlsStream
from demesh.probes.websocket import WebSocket

_PORTS = {"mqtt": 1883, "mqtts": 8883, "mqtt+ws": 80, "mqtt+wss": 443}
_READ_BYTES = 4_096
_KEEPALIVE_SLACK_S = 60
_TOKEN_BYTES = 8
_TOPIC = "demesh"
_PATH = "/mqtt"
_WAITING = "still waiting for its own message"


@dataclass(frozen=True, slots=True)
class Broker:
    """What a target says. `path` is that of a WebSocket; None: there is none."""

    place: Place
    tls: bool
    path: str | None
    host: str
    """As HTTP's header has it."""
    user: str = field(repr=False)
    password: str = field(repr=False)


class MqttProbe:
    """A `Probe` for mqtt://, mqtts://, mqtt+ws:// and mqtt+wss:// targets. `wall_ms` (Unix time) only serves to judge a
    certificate's expiry.
    """

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
        options = spec.options if isinstance(spec.options, MqttOptions) else MqttOptions()
        broker = parse_target(spec.target)
        session = _session(options, broker, spec.timeout_ms // 1_000 + _KEEPALIVE_SLACK_S)
        context = await self._contexts.get(spec.ca_file, spec.verify_tls) if broker.tls else None
        done = False
        async with await dial(broker.place, spec, self._resolver, deadline, progress) as connection:
            with trio.move_on_at(deadline):
                try:
                    stream = connection
                    if context is not None:
                        stream = await secure(connection, context, broker.place.host, progress)
                    await _talk(await _upgraded(stream, broker, progress), session, progress)
                except trio.BrokenResourceError as error:
                    raise broken_connection(error, "the connection broke") from None
                done = True
                await stream.aclose()
        if not done:
            ignored = f", {session.others} of others came" if session.others else ""
            progress.doing += ignored if progress.doing == _WAITING else ""
            return progress.timed_out(spec.timeout_ms)
        broken = limits_broken(spec, progress.latency_us, progress.certificate_expires_s, self._wall_ms)
        return progress.judged(broken)


@lru_cache(CHECKS_MAX)
def parse_target(target: str) -> Broker:
    """Raises Failed."""
    try:
        parts = urlsplit(target)
        scheme = parts.scheme
        place = place_of(target, _PORTS[scheme])
    except (KeyError, ValueError):
        raise Failed(Outcome.ERROR, "the target is not of the form mqtt://HOST") from None
    host = f"[{place.host}]" if place.version == 6 else place.host
    return Broker(
        place=place,
        tls=scheme in ("mqtts", "mqtt+wss"),
        path=quote(parts.path or _PATH, safe="/%:@!$&'()*+,;=~") if "+" in scheme else None,
        host=host if place.port == _PORTS[scheme] else f"{host}:{place.port}",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def _session(options: MqttOptions, broker: Broker, keepalive_s: int) -> MqttSession:
    """A session whose first packet is ready. Raises Failed."""
    client_id, token, payload = (os.urandom(_TOKEN_BYTES).hex() for _ in range(3))
    topic = f"{options.topic or _TOPIC}/{token}"
    # Brokers of MQTT 3.1.1 need not take names of more than 23 characters, or others than letters and digits.
    session = MqttSession(options.version, f"demesh{client_id}", topic, payload.encode())
    user, password = (options.user, options.password) if options.user else (broker.user, broker.password)
    try:
        session.connect(user, password, keepalive_s)
    except Exception:  # noqa: BLE001 paho says nowhere what it raises; its text may quote what it was given
        raise Failed(Outcome.ERROR, "the user or the password is none that MQTT can send") from None
    return session


async def _upgraded(
    stream: trio.SocketStream | TlsStream, broker: Broker, progress: Progress
) -> trio.SocketStream | TlsStream | WebSocket:
    if broker.path is None:
        return stream
    socket = WebSocket(stream, MQTT_BYTES_MAX)
    with progress.phase("websocket", "still opening the WebSocket"):
        await socket.shake_hands(broker.host, broker.path, "mqtt")
    return socket


async def _talk(stream: trio.SocketStream | TlsStream | WebSocket, session: MqttSession, progress: Progress) -> None:
    """All of a session, until the own message is back, and the goodbye. Raises Failed, BrokenResourceError."""

    async def until(done: Callable[[], bool]) -> None:
        while not done():
            await stream.send_all(session.to_send())
            session.receive(await stream.receive_some(_READ_BYTES))

    with progress.phase("connack", "still waiting to be let in"):
        await until(lambda: session.connected)
    with progress.phase("suback", "still waiting to be subscribed"):
        session.subscribe()
        await until(lambda: session.subscribed)
    with progress.phase("round_trip", _WAITING):
        session.publish()
        await until(lambda: session.returned)
    progress.doing = "still waiting for its message to be acknowledged"
    await until(lambda: session.acknowledged)
    session.disconnect()
    with suppress(trio.BrokenResourceError, Failed):  # who hangs up first has done all that was asked
        await stream.send_all(session.to_send())
        if isinstance(stream, WebSocket):
            await stream.goodbye()
