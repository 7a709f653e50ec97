"""The HTTP probe: what passes, and what an answer is judged by."""

import re
from datetime import timedelta

import pytest
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

from demesh.limits import DETAIL_BYTES_MAX, HTTP_BODY_BYTES_MAX
from demesh.outcome import Outcome, ProbeResult
from demesh.pattern import Pattern
from demesh.probes.base import Expect
from tests.certificates import NOW, Authority
from tests.probes.servers import DAY_MS, http, listening, probing, redirect, serving, spec


@pytest.mark.trio
async def test_a_plain_answer_passes_with_status_address_and_phases():
    async with serving() as server, probing() as probe:
        result = await probe(spec(server.url()))
    assert (result.outcome, result.status, result.address, result.detail) == (Outcome.PASS, 200, "127.0.0.1", "")
    assert list(result.phases_us) == ["dns", "connect", "first_byte", "transfer"]
    assert result.latency_us is not None
    assert sum(result.phases_us.values()) == result.latency_us
    assert result.certificate_expires_s is None


@pytest.mark.trio
async def test_ipv6_is_probed_and_recorded():
    async with serving(host="::1") as server, probing() as probe:
        result = await probe(spec(server.url(host="[::1]")))
    assert (result.outcome, result.address) == (Outcome.PASS, "::1")


@pytest.mark.trio
async def test_a_verified_certificate_passes_and_its_expiry_is_reported(authority: Authority):
    async with serving(tls=authority.server("valid", days=90)) as server, probing() as probe:
        for _ in range(2):  # the second run must see the certificate too, so it must not resume the session
            result = await probe(spec(server.url(scheme="https"), ca_file=authority.ca_file))
            assert result.outcome == Outcome.PASS, result
            assert result.certificate_expires_s == int((NOW + timedelta(days=90)).timestamp())
            assert list(result.phases_us) == ["dns", "connect", "tls", "first_byte", "transfer"]
            assert sum(result.phases_us.values()) == result.latency_us


@pytest.mark.trio
async def test_every_run_makes_its_own_connection():
    async with serving(keep_open=True) as server, probing() as probe:
        for _ in range(3):
            assert (await probe(spec(server.url()))).outcome == Outcome.PASS
        assert len(server.requests) == 3


@pytest.mark.trio
async def test_two_hundred_probes_at_once_all_pass():
    results: list[ProbeResult] = []
    async with serving() as server, probing() as probe, trio.open_nursery() as nursery:

        async def run() -> None:
            results.append(await probe(spec(server.url(), 10_000)))

        for _ in range(200):
            nursery.start_soon(run)
    assert [result.outcome for result in results] == [Outcome.PASS] * 200, results


@pytest.mark.trio
async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving() as server, probing() as probe:
        assert (await probe(spec(server.url()))).outcome == Outcome.PASS


@pytest.mark.trio
async def test_http2_is_spoken_where_it_is_offered(authority: Authority):
    tls = authority.server("h2")
    tls.set_alpn_protocols(["h2"])
    spoken: list[str | None] = []

    async def speak(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        await secure.do_handshake()
        spoken.append(secure.selected_alpn_protocol())
        connection = H2Connection(H2Configuration(client_side=False))
        connection.initiate_connection()
        async for data in secure:
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived):
                    connection.send_headers(event.stream_id, [(":status", "200")])
                    connection.send_data(event.stream_id, b"Welcome", end_stream=True)
            await secure.send_all(connection.data_to_send())

    async with listening(speak) as port, probing() as probe:
        url = f"https://127.0.0.1:{port}/"
        result = await probe(spec(url, ca_file=authority.ca_file, expect=Expect(body=Pattern.compile("^Welcome$"))))
    assert (result.outcome, spoken) == (Outcome.PASS, ["h2"]), result


@pytest.mark.trio
@pytest.mark.parametrize(
    ("status", "expected", "detail"),
    [
        (503, None, "status 503, expected 200-299"),
        (200, frozenset({201, 202, 404}), "status 200, expected 201-202, 404"),
        (404, frozenset({404}), ""),
        (302, frozenset({302}), ""),
    ],
)
async def test_the_status_is_judged(status: int, expected: frozenset[int] | None, detail: str):
    async with serving(lambda _: http(b"", status, "Location: /again")) as server, probing() as probe:
        result = await probe(spec(server.url(), expect=Expect(status=expected)))
        assert len(server.requests) == 1
    assert (result.outcome, result.status) == (Outcome.MISMATCH if detail else Outcome.PASS, status)
    assert result.detail == detail


@pytest.mark.trio
async def test_the_body_is_judged_by_its_length_in_words():
    async with (
        serving(lambda _: http(b"Gr\xfc\xdfe", 200, "Content-Type: text/plain; charset=latin-1")) as server,
        probing() as probe,
    ):
        missed = await probe(spec(server.url(), expect=Expect(body=Pattern.compile("Welcome"))))
        found = await probe(spec(server.url(), expect=Expect(body=Pattern.compile("^Grüße$"))))
    assert (missed.outcome, missed.detail) == (Outcome.MISMATCH, "body does not match /Welcome/: 5 characters")
    assert found.outcome == Outcome.PASS


@pytest.mark.trio
async def test_a_body_beyond_the_bound_is_cut_and_what_was_read_is_judged():
    body = b"Welcome" + b"." * HTTP_BODY_BYTES_MAX + b"the end"
    async with serving(lambda _: http(body)) as server, probing() as probe:
        start = await probe(spec(server.url(), expect=Expect(body=Pattern.compile("^Welcome"))))
        end = await probe(spec(server.url(), expect=Expect(body=Pattern.compile("the end"))))
        unread = await probe(spec(server.url()))
    assert (start.outcome, unread.outcome) == (Outcome.PASS, Outcome.PASS), (start, unread)
    assert end.detail == f"body does not match /the end/: {HTTP_BODY_BYTES_MAX} characters"


@pytest.mark.trio
async def test_the_response_time_is_judged():
    async with serving() as server, probing() as probe:
        result = await probe(spec(server.url(), expect=Expect(response_time_ms=0)))
    assert result.outcome == Outcome.MISMATCH
    assert re.fullmatch(r"response took \d+ ms, expected at most 0 ms", result.detail)


@pytest.mark.trio
async def test_the_rest_of_the_certificates_life_is_judged(authority: Authority):
    async with serving(tls=authority.server("short", days=3)) as server, probing() as probe:
        url = server.url(scheme="https")
        short = await probe(spec(url, ca_file=authority.ca_file, expect=Expect(cert_expires_in_ms=14 * DAY_MS)))
        enough = await probe(spec(url, ca_file=authority.ca_file, expect=Expect(cert_expires_in_ms=2 * DAY_MS)))
    assert (short.outcome, short.detail) == (Outcome.MISMATCH, "certificate expires in 3 d, expected 14 d")
    assert enough.outcome == Outcome.PASS


@pytest.mark.trio
async def test_an_expected_certificate_must_be_there():
    async with serving() as server, probing() as probe:
        result = await probe(spec(server.url(), expect=Expect(cert_expires_in_ms=DAY_MS)))
    assert (result.outcome, result.detail) == (Outcome.MISMATCH, "no certificate whose expiry can be read")


@pytest.mark.trio
async def test_a_detail_never_exceeds_its_bound():
    expect = Expect(status=frozenset(range(300, 600, 2)), body=Pattern.compile("ü" * 500), response_time_ms=0)
    async with serving() as server, probing() as probe:
        result = await probe(spec(server.url(), expect=expect))
    assert result.outcome == Outcome.MISMATCH
    assert len(result.detail.encode()) <= DETAIL_BYTES_MAX


@pytest.mark.trio
async def test_redirects_are_followed_and_their_phases_summed(authority: Authority):
    async with serving(tls=authority.server("redirected")) as secure:
        target = secure.url(scheme="https")
        async with serving(lambda _: redirect(target)) as server, probing() as probe:
            result = await probe(spec(server.url(), ca_file=authority.ca_file))
    assert (result.outcome, result.status) == (Outcome.PASS, 200), result
    assert result.certificate_expires_s is not None
    assert min(result.phases_us.values()) >= 0
    assert sum(result.phases_us.values()) == result.latency_us


@pytest.mark.trio
async def test_redirects_end_at_the_bound():
    async with serving(lambda _: redirect("/again")) as server, probing() as probe:
        result = await probe(spec(server.url()))
        assert len(server.requests) == 6
    assert (result.outcome, result.detail) == (Outcome.MISMATCH, "more than 5 redirects")


@pytest.mark.trio
@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://127.0.0.1:70/", "ftp://127.0.0.1/x"])
async def test_redirects_to_other_protocols_are_refused(location: str):
    async with serving(lambda _: redirect(location)) as server, probing() as probe:
        result = await probe(spec(server.url()))
    assert result.outcome == Outcome.MISMATCH
    assert result.detail == "redirects to something other than http and https, which is refused"


@pytest.mark.trio
async def test_a_redirect_that_cannot_be_read_is_the_targets_fault():
    for location in ("http://[s3cret/", "http://127.0.0.1:99999/"):
        async with serving(lambda _, location=location: redirect(location)) as server, probing() as probe:
            result = await probe(spec(server.url()))
        assert (result.outcome, result.detail) == (Outcome.MISMATCH, "redirects to a URL that cannot be read")


@pytest.mark.trio
async def test_a_redirect_into_the_void_fails_and_says_so():
    async with serving(lambda _: redirect("http://127.0.0.1:1/?token=s3cret")) as server, probing() as probe:
        result = await probe(spec(server.url()))
    assert (result.outcome, result.detail) == (Outcome.FAIL, "after 1 redirect: connection refused")
