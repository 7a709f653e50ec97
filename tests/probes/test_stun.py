"""The STUN probe against a real server: over every transport and family, and what it is held to."""

from collections.abc import Generator
from typing import Any

import pytest

from demesh.outcome import Outcome
from demesh.probes.base import Expect
from tests.certificates import Authority
from tests.probes.servers import DAY_MS, fake_resolver
from tests.probes.stun_servers import Coturn, ask, coturn

PASS, FAIL, MISMATCH, ERROR = Outcome.PASS, Outcome.FAIL, Outcome.MISMATCH, Outcome.ERROR
pytestmark = [pytest.mark.e2e, pytest.mark.trio]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Generator[Coturn]:
    with coturn(tmp_path_factory.mktemp("stun") / "coturn", authority) as running:
        yield running


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_each_transport_and_family_tells_its_phases_and_the_mapped_address(
    server: Coturn, authority: Authority, host: str, transport: str
):
    verified: dict[str, Any] = {"ca_file": authority.ca_file} if host[0] != "[" else {"verify_tls": False}
    target = server.target("stuns" if transport == "tls" else "stun", host)
    result = await ask(target, transport="udp" if transport == "tls" else transport, **verified)
    assert (result.outcome, result.detail) == (PASS, "")
    phases = {"udp": ["answer"], "tcp": ["connect", "answer"], "tls": ["connect", "tls", "answer"]}
    assert list(result.phases_us) == phases[transport]
    assert result.latency_us == sum(result.phases_us.values())
    assert result.facts["mapped_address"].startswith(f"{host}:")
    assert (result.certificate_expires_s is not None) == (transport == "tls")


async def test_the_target_itself_may_say_the_transport(server: Coturn):
    result = await ask(f"{server.target('stun')}?transport=tcp")
    assert list(result.phases_us) == ["connect", "answer"]
    wrong = await ask(f"{server.target('stun')}?transport=sctp")
    assert (wrong.outcome, wrong.detail) == (ERROR, "the target is not a URL that can be asked")


async def test_a_certificate_is_held_to_its_name_and_its_time(server: Coturn, authority: Authority):
    target = server.target("stuns")
    stranger = await ask(target)
    assert (stranger.outcome, stranger.detail) == (FAIL, "the certificate's issuer is not trusted")
    assert stranger.certificate_expires_s is not None
    misnamed = await ask(target, ca_file=authority.ca_file, server_name="stun.example.org")
    assert (misnamed.outcome, misnamed.detail) == (FAIL, "the certificate is for another host")
    short = await ask(target, ca_file=authority.ca_file, expect=Expect(cert_expires_in_ms=91 * DAY_MS))
    assert (short.outcome, short.detail) == (MISMATCH, "certificate expires in 90 d, expected 91 d")


async def test_an_answer_that_takes_too_long_is_a_mismatch(server: Coturn):
    result = await ask(server.target("stun"), expect=Expect(response_time_ms=0))
    assert (result.outcome, list(result.broken)) == (MISMATCH, ["response_time"])


async def test_a_name_is_looked_up_and_the_other_family_tried(server: Coturn):
    target = f"stun://stun.test:{server.port}"
    names = fake_resolver({"stun.test": ["2001:db8::1", "127.0.0.1"]})
    result = await ask(target, 2000, resolver=names)
    assert (result.outcome, result.address, list(result.phases_us)) == (PASS, "127.0.0.1", ["dns", "answer"])


async def test_all_four_endpoints_of_a_real_server_answer(server: Coturn):
    result = await ask(server.target("stun"), nat_behaviour=True)
    assert (result.outcome, result.detail) == (PASS, "")
    assert list(result.phases_us) == ["answer", "endpoints"]
    assert result.facts["other_address"].startswith("127.0.0.2:")
    assert result.other_address == result.facts["other_address"]
    assert (await ask(server.target("stun"))).other_address is None, "it was not seen to answer from there"
