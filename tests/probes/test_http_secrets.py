"""Nothing secret of a target, a request, a redirect, a proxy or an answer is ever in a result or a line of the log."""

import logging
import socket

import pycurl
import pytest

from demesh.curl_failure import explain_transfer
from demesh.outcome import Outcome
from demesh.pattern import Pattern
from demesh.probes.base import Expect, HttpOptions
from demesh.probes.explain import judged, meaning
from tests.certificates import Authority
from tests.probes.servers import fake_resolver, http, probing, redirect, serving, spec

EXPECT = Expect(
    body=Pattern.compile("not there"),
    header=(("X-Token", Pattern.compile("not there")), ("X-Missing", Pattern.compile("."))),
    json=(("$.token", "not there"), ("$.missing", 1)),
)
OPTIONS = HttpOptions(
    method="POST",
    headers=(("Authorization", "Bearer s3cret"), ("X-Token", "s3cret")),
    body=b'{"password": "s3cret"}',
    user="s3cret-user",
    password="s3cret",
)


@pytest.mark.trio
@pytest.mark.parametrize("options", [None, OPTIONS])
async def test_no_secret_of_target_request_redirect_or_answer_is_in_a_result(
    authority: Authority, caplog: pytest.LogCaptureFixture, options: HttpOptions | None
):
    caplog.set_level(logging.DEBUG)

    def echo(path: bytes) -> bytes:
        kind = path.split(b"?")[0].strip(b"/").decode()
        return {
            "status": http(b"s3cret", 500, "X-Token: s3cret"),
            "header": http(b"{}", 200, "X-Token: s3cret", "Set-Cookie: s3cret=s3cret"),
            "json": http(b'{"token": "s3cret", "s3cret": 1}', 200, "Content-Type: application/json"),
            "redirect": redirect("http://s3cret:s3cret@127.0.0.1:1/s3cret?token=s3cret"),
            "nowhere": redirect("http://s3cret.invalid/?token=s3cret"),
            "file": redirect("file:///s3cret"),
            "broken": redirect("http://[s3cret/"),
            "moved": http(b"s3cret", 307, "Location: http://127.0.0.1:1/s3cret"),
            "garbage": b"s3cret\r\n",
            "half": http(b"s3cret" * 2)[:-3],
            "charset": http(b"s3cret", 200, "Content-Type: text/html; charset=s3cret"),
        }.get(kind, http(b"s3cret " + path))

    resolver = fake_resolver({"s3cret.invalid": socket.gaierror(socket.EAI_NONAME, "s3cret")})
    async with (
        serving(echo) as server,
        serving(tls=authority.server("secret", days=-1)) as tls,
        probing(resolver) as probe,
    ):
        kinds = (
            *("status", "header", "json", "redirect", "nowhere", "file", "broken", "moved"),
            *("garbage", "half", "charset", "echo"),
        )
        targets = [f"http://me:s3cret@127.0.0.1:{server.port}/{kind}?token=s3cret" for kind in kinds]
        targets += [
            f"https://me:s3cret@127.0.0.1:{tls.port}/?token=s3cret",
            "http://me:s3cret@127.0.0.1:1/?token=s3cret",
            "http://me:s3cret@127.0.0.1:99999/?token=s3cret",
            "http://me:s3cret@s3cret.invalid/?token=s3cret",
        ]
        for target in targets:
            asked = spec(target, 2000, expect=EXPECT, ca_file=authority.ca_file, options=options, actual_key=b"key")
            result = await probe(asked)
            assert result.outcome != Outcome.PASS, target
            assert result.detail, target
            assert "s3cret" not in repr(result), target
            assert "s3cret" not in meaning(result, target) + repr(judged(asked, result)), target
        # What is hidden was there: the requests held it.
        assert all(b"uthorization: B" in request for request in server.requests)
        assert options is None or all(b"password" in request for request in server.requests)
    assert "s3cret" not in caplog.text


@pytest.mark.trio
@pytest.mark.parametrize("status", [200, 403, 407, 502])
async def test_no_secret_of_a_proxy_is_in_a_result(caplog: pytest.LogCaptureFixture, status: int):
    caplog.set_level(logging.DEBUG)
    answer = http(b"s3cret", status, "Proxy-Authenticate: Basic realm=s3cret")
    async with serving(lambda _: answer) as server, probing(fake_resolver({})) as probe:
        proxies = [
            f"http://s3cret:s3cret@127.0.0.1:{server.port}",
            "http://s3cret:s3cret@127.0.0.1:1",
            "http://s3cret:s3cret@[s3cret",
            "socks5://s3cret:s3cret@127.0.0.1:1",
        ]
        for proxy in proxies:
            for scheme in ("http", "https"):
                options = HttpOptions(proxy=proxy)
                result = await probe(spec(f"{scheme}://shop.test/", 2000, expect=EXPECT, options=options))
                assert result.outcome != Outcome.PASS
                assert "s3cret" not in repr(result)
        assert b"Proxy-Authorization: Basic" in server.requests[0]
    assert "s3cret" not in caplog.text


@pytest.mark.trio
async def test_what_libcurl_says_of_a_failure_is_not_passed_on():
    """Its own text does hold secrets: this is why the probe has sentences of its own."""
    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, "http://s3cret.invalid:1/")
    handle.setopt(pycurl.RESOLVE, ["s3cret.invalid:1:127.0.0.1"])
    with pytest.raises(pycurl.error):
        handle.perform()
    assert "s3cret" in handle.errstr()
    assert "s3cret" not in explain_transfer(handle, pycurl.E_COULDNT_CONNECT).sentence


@pytest.mark.trio
async def test_a_value_that_may_be_shown_is_shown():
    """The other half: whoever asks for actual values gets them."""
    async with serving(lambda _: http(b"v1sible")) as server, probing() as probe:
        result = await probe(spec(server.url(), expect=Expect(body=Pattern.compile("x")), show_actual=True))
    assert result.detail == "body does not match /x/: 'v1sible'"
