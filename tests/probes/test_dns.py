"""The DNS probe against a real name server: every outcome, over every transport."""

from collections.abc import Generator

import pytest

from demesh.curl import CurlEngine
from demesh.limits import DETAIL_BYTES_MAX
from demesh.outcome import Outcome
from demesh.probes.base import TYPE_OF_SCHEME, DnsOptions, Expect
from demesh.probes.dialling import Place
from demesh.probes.dns import DnsProbe
from demesh.probes.each_address import EachAddress
from demesh.probes.ping import PingProbe
from demesh.probes.registry import Probes, Tools
from demesh.probes.resolving import Resolver
from tests.certificates import Authority
from tests.probes.dns_servers import NameServer, ask, dns_probe, unbound
from tests.probes.servers import DAY_MS, NOW_MS, fake_resolver

PASS, FAIL, MISMATCH, ERROR = Outcome.PASS, Outcome.FAIL, Outcome.MISMATCH, Outcome.ERROR


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Generator[NameServer]:
    with unbound(tmp_path_factory.mktemp("dns") / "unbound", authority) as running:
        yield running


@pytest.mark.e2e
@pytest.mark.trio
@pytest.mark.parametrize(
    ("name", "record", "expect", "outcome", "detail"),
    [
        ("web.shop.test", "A", Expect(), PASS, ""),
        ("web.shop.test.", "a", Expect(records=("192.0.2.7", "192.0.2.6")), PASS, ""),
        ("www.shop.test", "A", Expect(records=("192.0.2.7",)), PASS, ""),
        ("www.shop.test", "CNAME", Expect(records=("WEB.shop.test.",)), PASS, ""),
        ("web.shop.test", "AAAA", Expect(records=("2001:DB8:0:0::7",)), PASS, ""),
        ("shop.test", "TXT", Expect(records=("v=spf1 -all",)), PASS, ""),
        ("shop.test", "TXT", Expect(records=('"v=spf1 -all"',)), PASS, ""),
        ("shop.test", "MX", Expect(records=("10 mail.SHOP.test",)), PASS, ""),
        ("null.shop.test", "MX", Expect(records=("0 .",)), PASS, ""),
        ("nothing.shop.test", "A", Expect(rcode="nxdomain"), PASS, ""),
        ("x.refused.test", "A", Expect(rcode="REFUSED"), PASS, ""),
        ("shop.test", "A", Expect(rcode="NOERROR"), PASS, ""),
        ("shop.test", "ANY", Expect(), PASS, ""),
        ("shop.test", "A", Expect(), MISMATCH, "no A record"),
        ("away.shop.test", "A", Expect(), MISMATCH, "no A record, only the alias web.elsewhere.test"),
        ("mail.shop.test", "A", Expect(records=("192.0.2.9",)), MISMATCH, "no A record 192.0.2.9; got 192.0.2.8"),
        (
            "shop.test",
            "A",
            Expect(rcode="NOERROR", records=("192.0.2.9",)),
            MISMATCH,
            "no A record 192.0.2.9; got none",
        ),
        ("shop.test", "MX", Expect(records=("10 x",)), MISMATCH, "no MX record 10 x; got 10 Mail.shop.test"),
        ("nothing.shop.test", "A", Expect(), MISMATCH, "rcode NXDOMAIN, expected NOERROR"),
        ("web.shop.test", "A", Expect(rcode="NXDOMAIN"), MISMATCH, "rcode NOERROR, expected NXDOMAIN"),
        ("x.broken.test", "A", Expect(), MISMATCH, "rcode SERVFAIL, expected NOERROR"),
        ("x.refused.test", "A", Expect(), MISMATCH, "rcode REFUSED, expected NOERROR"),
    ],
)
async def test_an_answer_is_held_against_what_is_expected(
    server: NameServer, name: str, record: str, expect: Expect, outcome: Outcome, detail: str
):
    result = await ask(server.target(name), expect=expect, options=DnsOptions(record))
    assert (result.outcome, result.detail) == (outcome, detail)
    assert result.address == "127.0.0.1"
    assert result.latency_us == result.phases_us["answer"] > 0


@pytest.mark.e2e
@pytest.mark.trio
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_each_transport_tells_its_phases(server: NameServer, authority: Authority, transport: str):
    port = server.tls_port if transport == "tls" else server.port
    options = DnsOptions(transport=transport)  # type: ignore[arg-type]
    result = await ask(f"dns://127.0.0.1:{port}/web.shop.test", options=options, ca_file=authority.ca_file)
    assert (result.outcome, result.detail) == (PASS, "")
    phases = {"udp": ["answer"], "tcp": ["connect", "answer"], "tls": ["connect", "tls", "answer"]}
    assert list(result.phases_us) == phases[transport]
    assert result.latency_us == sum(result.phases_us.values())
    assert (result.certificate_expires_s is not None) == (transport == "tls")


@pytest.mark.e2e
@pytest.mark.trio
async def test_a_reply_cut_short_is_asked_for_again_over_tcp(server: NameServer):
    last = f"39 {'x' * 80}"
    result = await ask(server.target("long.shop.test"), expect=Expect(records=(last,)), options=DnsOptions("TXT"))
    assert (result.outcome, result.detail) == (PASS, "")
    assert list(result.phases_us) == ["truncated", "connect", "answer"]
    lookups: list[str] = []

    def lookup(host: str) -> list[str]:
        lookups.append(host)
        return ["127.0.0.1"]

    named = await ask(
        server.target("long.shop.test", "ns.test"), options=DnsOptions("TXT"), probe=dns_probe(Resolver(lookup))
    )
    assert list(named.phases_us) == ["dns", "truncated", "connect", "answer"]
    assert lookups == ["ns.test"]
    told = await ask(server.target("long.shop.test"), expect=Expect(records=("40",)), options=DnsOptions("TXT"))
    assert told.outcome == MISMATCH
    assert told.detail.startswith('no TXT record 40; got "')
    assert len(told.detail.encode()) <= DETAIL_BYTES_MAX


@pytest.mark.e2e
@pytest.mark.trio
async def test_a_certificate_must_be_trusted_and_bear_the_name(server: NameServer, authority: Authority):
    target = f"dns://127.0.0.1:{server.tls_port}/web.shop.test"
    tls = DnsOptions(transport="tls")
    stranger = await ask(target, options=tls)
    assert (stranger.outcome, stranger.detail) == (FAIL, "the certificate's issuer is not trusted")
    assert stranger.certificate_expires_s == NOW_MS // 1000 + 90 * DAY_MS // 1000
    unverified = await ask(target, options=tls, verify_tls=False)
    assert unverified.outcome == PASS
    other = DnsOptions(transport="tls", server_name="dns.example.org")
    misnamed = await ask(target, options=other, ca_file=authority.ca_file)
    assert (misnamed.outcome, misnamed.detail) == (FAIL, "the certificate is for another host")
    short = await ask(target, options=tls, ca_file=authority.ca_file, expect=Expect(cert_expires_in_ms=91 * DAY_MS))
    assert (short.outcome, short.detail) == (MISMATCH, "certificate expires in 90 d, expected 91 d")


@pytest.mark.e2e
@pytest.mark.trio
async def test_a_named_server_is_looked_up_and_the_other_family_tried(server: NameServer):
    names: dict[str, list[str] | Exception] = {
        "ns.test": ["2001:db8::53", "127.0.0.1"],
        "six.test": ["127.0.0.1", "::1"],
    }
    probe = dns_probe(fake_resolver(names))
    result = await ask(server.target("web.shop.test", "ns.test"), probe=probe, timeout_ms=1000)
    assert (result.outcome, result.address) == (PASS, "127.0.0.1")
    assert list(result.phases_us) == ["dns", "answer"]
    only = await ask(server.target("web.shop.test", "six.test"), probe=probe, ip_version=6)
    assert (only.outcome, only.address) == (PASS, "::1")
    lacking = await ask(
        server.target("web.shop.test", "ns.test"), probe=dns_probe(fake_resolver({"ns.test": ["::1"]})), ip_version=4
    )
    assert (lacking.outcome, lacking.detail) == (FAIL, "the host name has no IPv4 address")


@pytest.mark.e2e
@pytest.mark.trio
@pytest.mark.parametrize(
    ("name", "expect", "outcome", "detail"),
    [
        ("web.shop.test", Expect(), PASS, ""),
        ("nothing.shop.test", Expect(), MISMATCH, "rcode NXDOMAIN, expected NOERROR"),
        # unbound denies `invalid` by itself: it works, so the name's own servers are to blame.
        ("x.broken.test", Expect(), MISMATCH, "rcode SERVFAIL, expected NOERROR"),
        ("x.broken.test", Expect(rcode="SERVFAIL"), PASS, ""),
    ],
)
async def test_this_machines_resolver_is_asked(
    server: NameServer, name: str, expect: Expect, outcome: Outcome, detail: str
):
    probe = dns_probe(local=[Place("127.0.0.1", server.port, 4)])
    result = await ask(f"dns:///{name}", expect=expect, probe=probe)
    assert (result.outcome, result.detail, result.address) == (outcome, detail, "127.0.0.1")
    assert result.latency_us == result.phases_us["answer"]


@pytest.mark.trio
async def test_the_schemes_lead_to_the_probes():
    probes = Probes(Tools(CurlEngine(), lambda: 0, fake_resolver({})))
    for scheme, kind in (("dns", DnsProbe), ("ping", PingProbe)):
        probe = probes[TYPE_OF_SCHEME[scheme]]
        assert isinstance(probe, EachAddress)
        assert isinstance(probe.usual, kind)


@pytest.mark.e2e
@pytest.mark.trio
async def test_a_slow_answer_is_a_mismatch(server: NameServer):
    result = await ask(server.target("web.shop.test"), expect=Expect(response_time_ms=0))
    assert result.latency_us is not None
    took_ms = -(-result.latency_us // 1000)
    assert (result.outcome, result.detail) == (MISMATCH, f"response took {took_ms} ms, expected at most 0 ms")
