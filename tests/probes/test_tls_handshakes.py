"""TLS handshakes, also after STARTTLS, with servers that do not play along, and with one that never ends."""

from pathlib import Path

import pytest
import trio

from demesh.outcome import Outcome
from tests.certificates import Authority
from tests.e2e.harness import require
from tests.probes.servers import listening
from tests.probes.tls_servers import STARTTLS_SCRIPTS, expiry_s, openssl_server, pem, probe, run, spec, starttls_server

NAMED = "shop.test"


@pytest.mark.trio
async def test_an_old_version_is_refused(authority: Authority):
    old = ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    with openssl_server(pem(authority, "old"), *old) as port:
        result = await run(f"tls://127.0.0.1:{port}", ca_file=authority.ca_file)
    assert result.outcome == Outcome.FAIL
    assert result.detail == "the TLS handshake failed: no TLS version in common"


@pytest.mark.trio
async def test_no_cipher_in_common_and_no_such_name_are_told(authority: Authority):
    with openssl_server(pem(authority, "cipher"), "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256") as port:
        result = await run(f"tls://127.0.0.1:{port}", ca_file=authority.ca_file)
    assert result.outcome == Outcome.FAIL
    assert result.detail == "the TLS handshake failed: the server takes nothing that this node offers"
    certificate = str(pem(authority, "strict", host=NAMED))
    strict = ("-servername", NAMED, "-servername_fatal", "-cert2", certificate, "-key2", certificate)
    with openssl_server(Path(certificate), *strict) as port:
        result = await run(f"tls://127.0.0.1:{port}", ca_file=authority.ca_file, server_name="other.test")
    assert (result.outcome, result.detail) == (Outcome.FAIL, "the TLS handshake failed: the server knows no such name")


@pytest.mark.trio
async def test_who_offers_application_protocols_expects_one(authority: Authority):
    certificate = pem(authority, "alpn")
    with openssl_server(certificate, "-alpn", "h2") as port:
        chosen = await run(f"tls://127.0.0.1:{port}", ca_file=authority.ca_file, alpn=("xmpp-client", "h2"))
        none = await run(f"tls://127.0.0.1:{port}", ca_file=authority.ca_file, alpn=("imap",))
    with openssl_server(certificate) as port:
        ignored = await run(f"tls://127.0.0.1:{port}", ca_file=authority.ca_file, alpn=("imap",))
    assert chosen.outcome == Outcome.PASS
    assert none.outcome == Outcome.FAIL
    assert none.detail == "the TLS handshake failed: no application protocol (ALPN) in common"
    assert ignored.outcome == Outcome.MISMATCH
    assert ignored.detail == "the server chose none of the application protocols (ALPN) offered"
    assert ignored.certificate_expires_s == expiry_s(90)


@pytest.mark.trio
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_a_server_that_wants_a_client_certificate_fails_who_reads_from_it(authority: Authority, version: str):
    with openssl_server(pem(authority, "mutual"), version, "-Verify", "1", "-www") as port:
        result = await run(
            f"tls://127.0.0.1:{port}", ca_file=authority.ca_file, send=b"GET / HTTP/1.0\r\n\r\n", answer="200 OK"
        )
    assert result.outcome == Outcome.FAIL
    assert (
        result.detail
        == {
            "-tls1_2": "the TLS handshake failed: the server takes nothing that this node offers",
            "-tls1_3": "the server requires a client certificate",
        }[version]
    )


@pytest.mark.trio
async def test_a_server_without_tls_fails_the_handshake():
    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 s3cret ESMTP\r\n")
        await stream.receive_some()

    async with listening(greet) as port:
        result = await run(f"tls://127.0.0.1:{port}")
    assert (result.outcome, result.detail) == (Outcome.FAIL, "the TLS handshake failed: the answer is not TLS")


@pytest.mark.trio
@pytest.mark.parametrize(
    ("linger", "detail"),
    [
        (b"\0\0\0\0\0\0\0\0", "the connection was closed in the TLS handshake"),
        (b"\1\0\0\0\0\0\0\0", "connection reset"),
    ],
)
async def test_a_connection_that_ends_in_the_handshake_fails(linger: bytes, detail: str):
    async def leave(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)

    async with listening(leave) as port:
        result = await run(f"tls://127.0.0.1:{port}")
    assert (result.outcome, result.detail, list(result.phases_us)) == (Outcome.FAIL, detail, ["connect"])


@pytest.mark.trio
async def test_a_handshake_without_end_is_a_timeout_near_the_deadline(authority: Authority):
    async def be_silent(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with listening(be_silent) as port:
        started = trio.current_time()
        silent = await run(f"tls://127.0.0.1:{port}", 1_000, ca_file=authority.ca_file)
        took_s = trio.current_time() - started
        before_tls = await run(f"tcp://127.0.0.1:{port}", 1_000, ca_file=authority.ca_file, starttls="smtp")
    assert (silent.outcome, silent.latency_us) == (Outcome.TIMEOUT, None)
    assert silent.detail == "no complete answer within 1000 ms, still in the TLS handshake"
    assert 0.99 <= took_s < 4
    assert before_tls.detail == "no complete answer within 1000 ms, still asking for TLS"


@pytest.mark.trio
async def test_an_answer_may_end_without_a_goodbye(authority: Authority):
    context = authority.server("abrupt")

    async def say_and_leave(stream: trio.SocketStream) -> None:
        await trio.SSLStream(stream, context, server_side=True).send_all(b"554 no")

    async with listening(say_and_leave) as port:
        result = await run(f"tls://127.0.0.1:{port}", ca_file=authority.ca_file, answer="^220")
    assert result.outcome == Outcome.MISMATCH
    assert result.detail.startswith("answer does not match /^220/: 6 characters")


@pytest.mark.trio
async def test_a_server_is_told_why_its_certificate_is_refused(authority: Authority):
    context = authority.server("unloved")
    told: list[str] = []
    ended = trio.Event()

    async def listen(stream: trio.SocketStream) -> None:
        try:
            await trio.SSLStream(stream, context, server_side=True).receive_some()
        except trio.BrokenResourceError as error:
            told.append(str(error.__cause__))
        ended.set()

    async with listening(listen) as port:
        await run(f"tls://127.0.0.1:{port}")
        with trio.fail_after(10):
            await ended.wait()
    assert "alert unknown ca" in told[0]


@pytest.mark.trio
async def test_closing_does_not_wait_for_a_peer_that_never_says_goodbye(authority: Authority):
    context = authority.server("deaf")
    heard: list[bytes | bytearray] = []
    ended = trio.Event()

    async def never_end(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True)  # to which an end without a goodbye is an error
        heard.append(await secure.receive_some())
        ended.set()
        await trio.sleep_forever()

    async with listening(never_end) as port:
        with trio.fail_after(10):
            result = await run(f"tls://127.0.0.1:{port}", 30_000, ca_file=authority.ca_file)
            await ended.wait()
    assert (result.outcome, heard) == (Outcome.PASS, [b""])


@pytest.mark.trio
@pytest.mark.parametrize("protocol", sorted(STARTTLS_SCRIPTS))
async def test_starttls_leads_to_a_verified_certificate(authority: Authority, protocol: str):
    async with starttls_server(protocol, authority.server(f"start-{protocol}"), b"250 under TLS\r\n") as port:
        target = f"tcp://127.0.0.1:{port}"
        result = await run(target, ca_file=authority.ca_file, starttls=protocol, answer="^250 under TLS")
        refused = await run(target, starttls=protocol)
    assert (result.outcome, result.certificate_expires_s) == (Outcome.PASS, expiry_s(90)), result
    assert list(result.phases_us) == ["connect", "starttls", "tls", "first_byte", "transfer"]
    assert (refused.outcome, refused.detail) == (Outcome.FAIL, "the certificate's issuer is not trusted")
    assert refused.certificate_expires_s == expiry_s(90)


@pytest.mark.trio
@pytest.mark.parametrize("protocol", sorted(STARTTLS_SCRIPTS))
async def test_the_servers_these_tests_make_are_understood_by_openssl_too(authority: Authority, protocol: str):
    async with starttls_server(protocol, authority.server(f"peer-{protocol}")) as port:
        command = f"{require('openssl')} s_client -connect 127.0.0.1:{port} -starttls {protocol}"
        command += f" -CAfile {authority.ca_file} -verify_return_error"
        ran = await trio.run_process(command.split(), capture_stdout=True, capture_stderr=True, check=False)
    assert b"Verify return code: 0 (ok)" in ran.stdout, ran


@pytest.mark.trio
async def test_a_server_without_starttls_is_a_mismatch_and_one_that_leaves_fails():
    async def refuse(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 hi\r\n")
        await stream.receive_some()
        await stream.send_all(b"250 s3cret\r\n")
        await stream.receive_some()

    async def leave(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 hi\r\n")
        await stream.receive_some()

    async with listening(refuse) as port:
        result = await run(f"tcp://127.0.0.1:{port}", starttls="smtp")
    assert (result.outcome, result.detail) == (Outcome.MISMATCH, "the server does not offer TLS")
    async with listening(leave) as port:
        result = await run(f"tcp://127.0.0.1:{port}", starttls="smtp")
    assert (result.outcome, result.detail) == (Outcome.FAIL, "the connection was closed before TLS could begin")


@pytest.mark.trio
async def test_an_injected_reply_before_tls_is_refused_and_no_handshake_is_made():
    heard: list[bytes] = []
    ended = trio.Event()

    async def inject(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 hi\r\n")
        for said in (b"250 STARTTLS\r\n", b"220 go\r\n250 injected\r\n"):
            heard.append(await stream.receive_some())
            await stream.send_all(said)
        heard.append(await stream.receive_some())
        ended.set()

    async with listening(inject) as port:
        result = await run(f"tcp://127.0.0.1:{port}", starttls="smtp")
        with trio.fail_after(10):
            await ended.wait()
    assert result.outcome == Outcome.FAIL
    assert result.detail == "the server sent more after its go-ahead for TLS, which is refused"
    assert heard == [b"EHLO demesh.invalid\r\n", b"STARTTLS\r\n", b""]


@pytest.mark.trio
async def test_fifty_handshakes_at_once_all_pass(authority: Authority):
    context = authority.server("many")

    async def speak(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        await secure.do_handshake()
        await secure.receive_some()

    ask, outcomes = probe(), []

    async def one(port: int) -> None:
        outcomes.append((await ask(spec(f"tls://127.0.0.1:{port}", 20_000, ca_file=authority.ca_file))).outcome)

    async with listening(speak) as port, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(one, port)
    assert outcomes == [Outcome.PASS] * 50
