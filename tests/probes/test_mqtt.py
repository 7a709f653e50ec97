"""The MQTT probe against a real broker: over every kind of connection, with and without a login, in both versions."""

from collections.abc import Generator
from typing import Literal

import pytest

from demesh.outcome import Outcome
from demesh.probes.base import Expect, MqttOptions
from tests.certificates import Authority
from tests.probes.mqtt_servers import PASSWORD, READER, USER, Brokers, ask, mosquitto, mqtt_probe
from tests.probes.servers import DAY_MS, NOW_MS, fake_resolver

PASS, FAIL, MISMATCH, TIMEOUT, ERROR = Outcome.PASS, Outcome.FAIL, Outcome.MISMATCH, Outcome.TIMEOUT, Outcome.ERROR
Version = Literal["3.1.1", "5"]
_VERSIONS: tuple[Version, ...] = ("3.1.1", "5")
_SESSION = ["connack", "suback", "round_trip"]
_PHASES = {
    "port": ["connect", *_SESSION],
    "tls": ["connect", "tls", *_SESSION],
    "ws": ["connect", "websocket", *_SESSION],
    "wss": ["connect", "tls", "websocket", *_SESSION],
}
pytestmark = [pytest.mark.e2e, pytest.mark.trio]


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Generator[Brokers]:
    with mosquitto(tmp_path_factory.mktemp("mqtt") / "mosquitto", authority) as running:
        yield running


@pytest.mark.parametrize("version", _VERSIONS)
@pytest.mark.parametrize("kind", _PHASES)
async def test_its_own_message_comes_back(brokers: Brokers, authority: Authority, kind: str, version: Version):
    result = await ask(brokers.target(kind), options=MqttOptions(version), ca_file=authority.ca_file)
    assert (result.outcome, result.detail, result.address) == (PASS, "", "127.0.0.1")
    assert list(result.phases_us) == _PHASES[kind]
    assert result.latency_us == sum(result.phases_us.values())
    expiry_s = NOW_MS // 1_000 + 90 * DAY_MS // 1_000
    assert result.certificate_expires_s == (expiry_s if "tls" in result.phases_us else None)


async def test_a_name_is_looked_up_and_ipv6_spoken(brokers: Brokers):
    probe = mqtt_probe(fake_resolver({"broker.test": ["::1", "127.0.0.1"]}))
    result = await ask(f"mqtt://broker.test:{brokers.port}", probe=probe)
    assert (result.outcome, result.address, next(iter(result.phases_us))) == (PASS, "::1", "dns")
    literal = await ask(f"mqtt://[::1]:{brokers.port}")
    assert (literal.outcome, literal.address) == (PASS, "::1")


@pytest.mark.parametrize("version", _VERSIONS)
async def test_a_login_is_shown_wherever_it_stands(brokers: Brokers, version: Version):
    keys = await ask(brokers.target("login"), options=MqttOptions(version, USER, PASSWORD))
    assert (keys.outcome, keys.detail) == (PASS, "")
    in_target = await ask(brokers.target("login", f"m%65:{PASSWORD}@"), options=MqttOptions(version))
    assert (in_target.outcome, in_target.detail) == (PASS, "")
    for options in (MqttOptions(version), MqttOptions(version, USER, "wrong")):
        refused = await ask(brokers.target("login"), options=options)
        assert (refused.outcome, refused.detail) == (FAIL, "the broker refuses the connection: not authorized")
        assert list(refused.phases_us) == ["connect"]


async def test_a_topic_that_is_named_lies_above_a_random_one(brokers: Brokers):
    login = brokers.target("login")
    for topic, outcome in (("probes/a", PASS), ("", PASS), ("elsewhere", TIMEOUT)):
        options = MqttOptions("3.1.1", USER, PASSWORD, topic)
        result = await ask(login, options=options, timeout_ms=1_000 if outcome == TIMEOUT else 5_000)
        assert result.outcome == outcome


async def test_who_may_not_publish_is_told_so_where_the_protocol_can(brokers: Brokers):
    login = brokers.target("login")
    new = await ask(login, options=MqttOptions("5", READER, PASSWORD))
    assert (new.outcome, new.detail) == (FAIL, "the broker does not let it publish: not authorized")
    old = await ask(login, options=MqttOptions("3.1.1", READER, PASSWORD), timeout_ms=1_500)
    assert old.outcome == TIMEOUT
    assert old.detail == "no complete answer within 1500 ms, still waiting for its own message"


@pytest.mark.parametrize("kind", ["tls", "wss"])
async def test_a_certificate_must_be_trusted_and_its_expiry_is_told_all_the_same(brokers: Brokers, kind: str):
    stranger = await ask(brokers.target(kind))
    assert (stranger.outcome, stranger.detail) == (FAIL, "the certificate's issuer is not trusted")
    assert stranger.certificate_expires_s == NOW_MS // 1_000 + 90 * DAY_MS // 1_000
    short = await ask(brokers.target(kind), verify_tls=False, expect=Expect(cert_expires_in_ms=91 * DAY_MS))
    assert (short.outcome, short.detail) == (MISMATCH, "certificate expires in 90 d, expected 91 d")


async def test_a_slow_answer_is_a_mismatch(brokers: Brokers):
    result = await ask(brokers.target("port"), expect=Expect(response_time_ms=0))
    assert result.latency_us is not None
    took_ms = -(-result.latency_us // 1000)
    assert (result.outcome, result.detail) == (MISMATCH, f"response took {took_ms} ms, expected at most 0 ms")


@pytest.mark.parametrize(
    ("scheme", "kind", "detail"),
    [
        ("mqtt", "ws", "the answer is not MQTT"),
        ("mqtts", "port", "closed in the TLS handshake"),
        ("mqtt+ws", "port", "closed before the WebSocket was open"),
    ],
)
async def test_another_protocol_than_the_ports_is_told(brokers: Brokers, scheme: str, kind: str, detail: str):
    result = await ask(f"{scheme}://127.0.0.1:{getattr(brokers, kind)}")
    assert result.outcome == FAIL
    assert detail in result.detail or result.detail == "connection reset"
