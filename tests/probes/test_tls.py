"""TLS: certificates of every kind, whose name and whose word counts, and the contexts a probe keeps."""

import ssl
import subprocess
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from demesh import limits
from demesh.failure import Failed
from demesh.outcome import Outcome
from demesh.probes.base import Expect
from demesh.probes.tls import TlsContexts, earliest_expiry_s
from tests.certificates import NOW, Authority, sign
from tests.e2e.harness import require
from tests.ports import free_port
from tests.probes.servers import DAY_MS, fake_resolver, listening
from tests.probes.tls_servers import expiry_s, openssl_server, pem, probe, run, spec

NAMED = "shop.test"


@pytest.mark.trio
async def test_a_verified_certificate_passes_with_expiry_address_and_phases(authority: Authority):
    with openssl_server(pem(authority, "good", days=90)) as port:
        result = await run(f"tls://127.0.0.1:{port}", ca_file=authority.ca_file)
    assert (result.outcome, result.detail, result.address) == (Outcome.PASS, "", "127.0.0.1"), result
    assert result.certificate_expires_s == expiry_s(90)
    assert list(result.phases_us) == ["connect", "tls"]
    assert result.latency_us == sum(result.phases_us.values())


@pytest.mark.trio
async def test_a_refused_certificate_fails_with_its_reason_and_its_expiry(authority: Authority):
    cases = [
        ("expired", {"days": -7}, authority.ca_file, -7, "the certificate has expired"),
        ("wrong", {"host": "example.org"}, authority.ca_file, 90, "the certificate is for another address"),
        ("self", {"self_signed": True}, authority.ca_file, 90, "the certificate is self-signed and not trusted"),
        ("unknown", {}, None, 90, "the certificate's issuer is not trusted"),
    ]
    for version in ("-tls1_2", "-tls1_3"):
        for name, kind, ca_file, days, detail in cases:
            with openssl_server(pem(authority, name, **kind), version) as port:
                result = await run(f"tls://127.0.0.1:{port}", ca_file=ca_file)
            assert (result.outcome, result.detail) == (Outcome.FAIL, detail)
            assert result.certificate_expires_s == expiry_s(days), (version, name)
            assert (list(result.phases_us), result.latency_us) == (["connect"], None)


@pytest.mark.trio
async def test_the_host_name_is_verified_and_another_may_be_named_for_it(authority: Authority):
    ask = probe(fake_resolver({NAMED: ["127.0.0.1"], f"{NAMED}.": ["127.0.0.1"], "other.test": ["127.0.0.1"]}))
    with openssl_server(pem(authority, "named", host=NAMED)) as port:
        for target, more, outcome in (
            (f"tls://{NAMED}:{port}", {}, Outcome.PASS),
            (f"tls://{NAMED}.:{port}", {}, Outcome.PASS),
            (f"tls://other.test:{port}", {}, Outcome.FAIL),
            (f"tls://other.test:{port}", {"server_name": NAMED}, Outcome.PASS),
            (f"tls://127.0.0.1:{port}", {"server_name": NAMED}, Outcome.PASS),
            (f"tls://127.0.0.1:{port}", {"server_name": ".bad"}, Outcome.ERROR),
        ):
            result = await ask(spec(target, ca_file=authority.ca_file, **more))  # type: ignore[arg-type]
            assert result.outcome == outcome, (target, more, result)
            if outcome == Outcome.FAIL:
                assert result.detail == "the certificate is for another host"


@pytest.mark.trio
async def test_the_server_name_is_told_to_the_server(authority: Authority):
    told: list[str | None] = []
    context = authority.server("sni", host=NAMED)
    context.sni_callback = lambda _tls, name, _context: told.append(name)

    async def speak(stream: trio.SocketStream) -> None:
        await trio.SSLStream(stream, context, server_side=True).do_handshake()

    async with listening(speak) as port:
        await run(f"tls://127.0.0.1:{port}", server_name=NAMED, verify_tls=False)
        await run(f"tls://127.0.0.1:{port}", verify_tls=False)
    assert told == [NAMED, None], "an address is no name that could be told"


@pytest.mark.trio
async def test_nothing_is_verified_if_so_wished_and_the_expiry_is_judged_all_the_same(authority: Authority):
    with openssl_server(pem(authority, "lapsed", days=-3, self_signed=True)) as port:
        passed = await run(f"tls://127.0.0.1:{port}", verify_tls=False)
        judged = await run(f"tls://127.0.0.1:{port}", verify_tls=False, expect=Expect(cert_expires_in_ms=14 * DAY_MS))
    assert (passed.outcome, passed.certificate_expires_s) == (Outcome.PASS, expiry_s(-3))
    assert judged.outcome == Outcome.MISMATCH
    assert judged.detail == "certificate expired 3 d ago, expected 14 d to its expiry"


@pytest.mark.trio
async def test_the_certificate_that_expires_first_counts_wherever_it_is_in_the_chain(
    authority: Authority, tmp_path: Path
):
    key, middle_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    middle = sign("Middle", "Test CA", middle_key, authority.key, NOW + timedelta(days=5), None)
    leaf = sign("leaf", "Middle", key, middle_key, NOW + timedelta(days=50), "127.0.0.1")
    encoding = serialization.Encoding.PEM
    chain, leaf_file, middle_file = tmp_path / "chain.pem", tmp_path / "leaf.pem", tmp_path / "middle.pem"
    secret = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    leaf_file.write_bytes(leaf.public_bytes(encoding) + secret)
    middle_file.write_bytes(middle.public_bytes(encoding))
    chain.write_bytes(leaf_file.read_bytes() + middle_file.read_bytes())
    with openssl_server(leaf_file, "-cert_chain", str(chain)) as port:
        result = await run(f"tls://127.0.0.1:{port}", ca_file=authority.ca_file)
        short = await run(
            f"tls://127.0.0.1:{port}", ca_file=authority.ca_file, expect=Expect(cert_expires_in_ms=14 * DAY_MS)
        )
        anchored = await run(f"tls://127.0.0.1:{port}", ca_file=str(middle_file))
    assert (result.outcome, result.certificate_expires_s) == (Outcome.PASS, expiry_s(5))
    assert (short.outcome, short.detail) == (Outcome.MISMATCH, "certificate expires in 5 d, expected 14 d")
    assert anchored.outcome == Outcome.PASS, "an authority in the file need not be a root"


def test_what_is_no_certificate_has_no_expiry():
    assert earliest_expiry_s([]) is None
    assert earliest_expiry_s([b"", b"\x30\x03\x02\x01\x01"]) is None


@pytest.mark.trio
async def test_a_real_server_passes_over_ipv4_and_ipv6(authority: Authority, tmp_path: Path):
    nginx, port = require("nginx"), free_port()
    certificate = pem(authority, "nginx", host=NAMED)
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; server {{ listen 127.0.0.1:{port} ssl; listen [::1]:{port} ssl; "
        f"ssl_certificate {certificate}; ssl_certificate_key {certificate}; return 200 welcome; }} }}"
    )
    both = fake_resolver({NAMED: ["::1", "127.0.0.1"]})
    async with trio.open_nursery() as nursery:
        command = [nginx, "-p", str(tmp_path), "-c", "nginx.conf"]
        server = await nursery.start(partial(trio.run_process, command, stderr=subprocess.DEVNULL))
        try:
            with trio.fail_after(10):
                while (await run(f"tcp://127.0.0.1:{port}")).outcome != Outcome.PASS:
                    assert server.returncode is None
                    await trio.sleep(0.02)  # another process tells nobody when it is ready
            request = b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"
            for version, address in ((0, "::1"), (4, "127.0.0.1"), (6, "::1")):
                result = await probe(both)(
                    spec(
                        f"tls://{NAMED}:{port}",
                        ca_file=authority.ca_file,
                        ip_version=version,
                        send=request,
                        answer="200 OK(.|\n)*welcome",
                    )
                )
                assert (result.outcome, result.address) == (Outcome.PASS, address), result
                assert list(result.phases_us) == ["dns", "connect", "tls", "first_byte", "transfer"]
        finally:
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_ca_file_that_is_missing_or_none_is_this_nodes_error(authority: Authority, tmp_path: Path):
    (tmp_path / "none.pem").write_text("no certificate")
    for name in ("missing.pem", "none.pem"):
        result = await run("tls://127.0.0.1:1", ca_file=str(tmp_path / name))
        assert (result.outcome, result.detail) == (Outcome.ERROR, "the file of CA certificates cannot be read")


@pytest.mark.trio
async def test_a_context_is_made_once_even_for_many_at_once_and_again_when_its_file_changes(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made: list[ssl.SSLContext] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(self: ssl.SSLContext, *arguments: object) -> None:
        made.append(self)
        load(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    ca_file = tmp_path / "ca.pem"
    authorities = await trio.Path(authority.ca_file).read_text()
    ca_file.write_text(authorities)
    contexts = TlsContexts()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(contexts.get, str(ca_file), True)
    assert len(made) == 1
    first = await contexts.get(str(ca_file), True)
    assert await contexts.get(str(ca_file), True, ("h2",)) is not first
    assert await contexts.get(str(ca_file), False) is not first
    ca_file.write_text(authorities + "\n")
    assert await contexts.get(str(ca_file), True) is not first
    assert [await contexts.get(str(ca_file), True) for _ in range(3)] == [made[-1]] * 3
    for n in range(limits.TLS_CONTEXTS_MAX * 2):
        await contexts.get(None, False, (str(n),))
    assert len(contexts._made) == limits.TLS_CONTEXTS_MAX
    ca_file.unlink()
    with pytest.raises(Failed):
        await contexts.get(str(ca_file), True)
