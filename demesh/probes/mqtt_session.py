"""One MQTT session without a network: bytes in, bytes out. paho-mqtt has the protocol; here is what one run does with it.

    connect ──CONNACK──> subscribe ──SUBACK──> publish ──own message, PUBACK──> disconnect

Guaranteed:

- Neither threads nor sockets: paho is given a socket that is memory (`_Memory`), by the method in which it makes its own. That
  method is private to paho, so a test holds paho to what is used here.
- What a broker refuses, at whatever step, is told in our words, by its code.
- Whatever comes raises nothing but Failed, and is bounded: MQTT_BYTES_MAX bytes, MQTT_PACKETS_MAX packets.
- Messages of others are counted and passed over. Only the topic and the payload that this run made up count as its own.
"""

from typing import Any, Literal

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from demesh.failure import Failed
from demesh.limits import MQTT_BYTES_MAX, MQTT_PACKETS_MAX
from demesh.outcome import Outcome

_NOT_MQTT = "the answer is not MQTT"
_CONNACK = 0x20
_REFUSED_VERSION = (b"\x20\x02\x00\x01", b"\x20\x02\x01\x01")
_REFUSAL_CODE_MIN = 128  # this one gives no reason

_REASONS = {
    132: "it does not speak this version of MQTT",
    133: "it does not accept the client's name",
    134: "wrong user or password",
    135: "not authorized",
    136: "it is not available",
    137: "it is busy",
    138: "this node is banned",
    139: "it is shutting down",
    140: "it wants another kind of login",
    143: "it does not accept the topic",
    144: "it does not accept the topic",
    149: "the packet is too large",
    150: "too many messages",
    151: "a quota is used up",
    152: "its operator ended it",
    155: "it does not take messages of this quality of service",
    156: "another server is to be used",
    157: "it has moved",
    159: "too many connections",
}
"""By reason code (MQTT 5, section 2.4), to which paho turns those of MQTT 3.1.1 as well."""


class _Memory:
    """What paho takes for a connected socket."""

    def __init__(self) -> None:
        self.incoming, self.outgoing = bytearray(), bytearray()
        self.ended = False

    def recv(self, buffer_size: int) -> bytes:
        if not self.incoming and not self.ended:
            raise BlockingIOError
        data = bytes(self.incoming[:buffer_size])
        del self.incoming[:buffer_size]
        return data

    def send(self, buffer: bytes | bytearray) -> int:
        self.outgoing += buffer
        return len(buffer)

    def setblocking(self, flag: bool) -> None:
        pass

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        pass


class _Client(Client):
    """paho's client over `memory`."""

    def __init__(self, client_id: str, protocol: MQTTProtocolVersion) -> None:
        self.memory = _Memory()
        super().__init__(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol, reconnect_on_failure=False
        )

    def _create_socket(self) -> _Memory:
        return self.memory


class MqttSession:
    """`connected`, `subscribed`, `acknowledged` and `returned` say how far it has come; `others` counts messages of others."""

    def __init__(self, version: Literal["3.1.1", "5"], client_id: str, topic: str, payload: bytes) -> None:
        self.connected = self.subscribed = self.acknowledged = self.returned = False
        self.others = 0
        self._topic, self._payload = topic, payload
        self._qos = 1
        self._bytes = self._packets = 0
        self._begun = b""
        self._failed: Failed | None = None
        protocol = MQTTProtocolVersion.MQTTv5 if version == "5" else MQTTProtocolVersion.MQTTv311
        self._client = _Client(client_id, protocol)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect

    def connect(self, user: str, password: str, keepalive_s: int) -> None:
        if user:
            self._client.username_pw_set(user, password or None)
        self._client.connect("broker", keepalive=keepalive_s)  # a name that paho wants and nobody looks up

    def subscribe(self) -> None:
        self._client.subscribe(self._topic, qos=self._qos)

    def publish(self) -> None:
        self._client.publish(self._topic, self._payload, qos=self._qos)

    def disconnect(self) -> None:
        self._client.disconnect()

    def to_send(self) -> bytes:
        """What is to be sent now; it is handed out once."""
        memory = self._client.memory
        data = bytes(memory.outgoing)
        memory.outgoing.clear()
        return data

    def receive(self, data: bytes | bytearray) -> None:
        """Take what came, empty for the end. Raises Failed."""
        self._bytes += len(data)
        self._begun += data[: 4 - len(self._begun)]
        if self._begun and self._begun[0] != _CONNACK:
            raise Failed(Outcome.FAIL, _NOT_MQTT)
        memory = self._client.memory
        memory.incoming += data
        memory.ended = not data
        while memory.incoming or memory.ended:
            self._packets += 1
            self._read_one()
            if self._packets > MQTT_PACKETS_MAX or self._bytes > MQTT_BYTES_MAX:
                raise Failed(Outcome.FAIL, "the broker sends more than was asked for")

    def _read_one(self) -> None:
        try:
            code = self._client.loop_read()
        except Exception:  # noqa: BLE001 paho says nowhere what it raises for what is no MQTT
            code = MQTTErrorCode.MQTT_ERR_PROTOCOL
        if self._failed is not None:
            raise self._failed
        if code == MQTTErrorCode.MQTT_ERR_SUCCESS:
            return
        if self._client.memory.ended:
            raise Failed(Outcome.FAIL, "the broker closed the connection")
        if self._begun in _REFUSED_VERSION:  # of which paho makes an error of its own
            raise _refused("refuses the connection", 132)
        raise Failed(Outcome.FAIL, _NOT_MQTT)

    # What paho calls while it reads. Nothing is raised in there.

    def _on_connect(self, *said: Any) -> None:
        reason: ReasonCode = said[3]
        properties: Properties | None = said[4]
        if reason.value >= _REFUSAL_CODE_MIN:
            self._failed = _refused("refuses the connection", reason.value)
            return
        self._qos = min(self._qos, getattr(properties, "MaximumQoS", self._qos))
        self.acknowledged = self._qos == 0
        self.connected = True

    def _on_subscribe(self, *said: Any) -> None:
        reasons: list[ReasonCode] = said[3]
        refusal = next((each.value for each in reasons if each.value >= _REFUSAL_CODE_MIN), None)
        if refusal is not None:
            self._failed = _refused("does not let it subscribe", refusal)
        self.subscribed = bool(reasons)

    def _on_publish(self, *said: Any) -> None:
        reason: ReasonCode = said[3]
        if reason.value >= _REFUSAL_CODE_MIN:
            self._failed = _refused("does not let it publish", reason.value)
        self.acknowledged = True

    def _on_message(self, *said: Any) -> None:
        message: MQTTMessage = said[2]
        try:
            own = message.topic == self._topic
        except UnicodeDecodeError:
            own = False
        if not own:
            self.others += 1
        elif message.payload == self._payload:
            self.returned = True
        else:
            changed = f"its own topic brought another message, of {len(message.payload)} bytes"
            self._failed = Failed(Outcome.MISMATCH, changed)

    def _on_disconnect(self, *said: Any) -> None:
        reason: ReasonCode = said[3]
        if said[2].is_disconnect_packet_from_server and self._failed is None:
            self._failed = _refused("ended the connection", reason.value)


def _refused(what: str, code: int) -> Failed:
    why = _REASONS.get(code, f"reason code {code}")
    return Failed(Outcome.FAIL, f"the broker {what}: {why}" if code > _REFUSAL_CODE_MIN else f"the broker {what}")
