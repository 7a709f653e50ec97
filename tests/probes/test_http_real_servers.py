"""The HTTP probe against servers that others wrote: nginx, and OpenSSL's own."""

from collections.abc import Generator

import pytest

from demesh.outcome import Outcome
from demesh.pattern import Pattern
from demesh.probes.base import Expect, HttpOptions
from tests.certificates import Authority
from tests.ports import free_port
from tests.probes.servers import DAY_MS, NOW_MS, nginx, probing, running, spec

pytestmark = pytest.mark.e2e

_SERVERS = """
server {{
    listen 127.0.0.1:{plain}; listen [::1]:{plain};
    absolute_redirect off;
    location / {{ return 200 "Welcome\\n"; }}
    location /echo {{ add_header X-Env prod; return 200 "$request_method $http_x_token $content_length"; }}
    location /health {{ default_type application/json; return 200 '{{"db": "ok", "queue": {{"length": 3}}}}'; }}
    location /old {{ return 301 /echo; }}
    location /away {{ return 302 https://127.0.0.1:{secure}/seen; }}
    location /circle {{ return 302 /circle; }}
    location /gone {{ return 404; }}
    location /private {{ auth_basic members; auth_basic_user_file {home}/users; try_files /none @in; }}
    location @in {{ return 200 "hello $remote_user"; }}
    location /hang-up {{ return 444; }}
}}
server {{
    listen 127.0.0.1:{secure} ssl http2; listen [::1]:{secure} ssl http2;
    ssl_certificate {certificate}; ssl_certificate_key {certificate};
    location / {{ return 200 "$server_protocol"; }}
    location /seen {{ return 200 "seen:$http_authorization$http_x_token$http_cookie"; }}
}}
server {{
    listen 127.0.0.1:{first_only} ssl; ssl_certificate {certificate}; ssl_certificate_key {certificate};
    location / {{ return 200 "$server_protocol"; }}
}}
"""


class Site:
    def __init__(self) -> None:
        self.plain, self.secure, self.first_only = free_port(), free_port(), free_port()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.plain}{path}"

    def tls(self, path: str, host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self.secure}{path}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Generator[Site]:
    home = tmp_path_factory.mktemp("nginx")
    authority.server("nginx", days=30)
    (home / "users").write_text("me:{PLAIN}s3cret\n")
    site = Site()
    ports = {"plain": site.plain, "secure": site.secure, "first_only": site.first_only}
    servers = _SERVERS.format(**ports, home=home, certificate=authority.home / "nginx.pem")
    with nginx(home, site.plain, servers):
        yield site


@pytest.mark.trio
async def test_nginx_answers_over_ipv4_and_ipv6(site: Site):
    async with probing() as probe:
        for host, address in (("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")):
            result = await probe(spec(site.url("/", host), expect=Expect(body=Pattern.compile("^Welcome$"))))
            assert (result.outcome, result.address, result.status) == (Outcome.PASS, address, 200)
            assert result.facts == {"http_version": "1.1"}


@pytest.mark.trio
async def test_http2_is_spoken_over_tls_unless_told_otherwise(site: Site, authority: Authority):
    async with probing() as probe:
        for wanted, spoken in (("", "2"), ("2", "2"), ("1.1", "1.1")):
            result = await probe(
                spec(
                    site.tls("/"),
                    ca_file=authority.ca_file,
                    options=HttpOptions(http_version=wanted),  # type: ignore[arg-type]
                    expect=Expect(body=Pattern.compile(f"HTTP/{spoken}")),
                )
            )
            assert (result.outcome, result.facts) == (Outcome.PASS, {"http_version": spoken}), result
            assert result.certificate_expires_s == NOW_MS // 1000 + 30 * DAY_MS // 1000
        lacking = await probe(
            spec(
                f"https://127.0.0.1:{site.first_only}/",
                ca_file=authority.ca_file,
                options=HttpOptions(http_version="2"),
            )
        )
    assert (lacking.outcome, lacking.detail) == (Outcome.MISMATCH, "HTTP/1.1 was spoken, expected HTTP/2")
    assert lacking.broken == {"http_version": lacking.detail}


@pytest.mark.trio
async def test_methods_headers_and_bodies_reach_nginx(site: Site):
    options = HttpOptions(method="PUT", headers=(("X-Token", "t0ken"),), body=b"12345")
    expect = Expect(body=Pattern.compile("^PUT t0ken 5$"), header=(("x-env", Pattern.compile("^prod$")),))
    async with probing() as probe:
        for path in ("/echo", "/old"):  # a PUT that is redirected stays one
            result = await probe(spec(site.url(path), options=options, expect=expect))
            assert result.outcome == Outcome.PASS, result
        head = await probe(spec(site.url("/echo"), options=HttpOptions(method="HEAD")))
        assert head.outcome == Outcome.PASS


@pytest.mark.trio
async def test_json_of_nginx_is_judged(site: Site):
    async with probing() as probe:
        good = await probe(spec(site.url("/health"), expect=Expect(json=(("$.db", "ok"), ("$.queue.length", 3)))))
        bad = await probe(spec(site.url("/health"), expect=Expect(json=(("$.queue.length", 0),)), show_actual=True))
    assert good.outcome == Outcome.PASS
    assert (bad.outcome, bad.detail) == (Outcome.MISMATCH, "json $.queue.length is not 0: '3'")


@pytest.mark.trio
async def test_logins_are_asked_for_and_given(site: Site):
    async with probing() as probe:
        without = await probe(spec(site.url("/private")))
        wrong = await probe(spec(site.url("/private"), options=HttpOptions(user="me", password="wr0ng")))
        expect = Expect(body=Pattern.compile("^hello me$"))
        given = await probe(
            spec(site.url("/private"), options=HttpOptions(user="me", password="s3cret"), expect=expect)
        )
        in_url = await probe(spec(site.url("/private", "me:s3cret@127.0.0.1"), expect=expect))
    assert (without.outcome, without.status, wrong.status) == (Outcome.MISMATCH, 401, 401)
    assert (given.outcome, in_url.outcome) == (Outcome.PASS, Outcome.PASS), (given, in_url)


@pytest.mark.trio
async def test_redirects_of_nginx_take_no_secrets_away(site: Site, authority: Authority):
    options = HttpOptions(user="me", password="s3cret", headers=(("X-Token", "t0ken"), ("Cookie", "a=b")))
    expect = Expect(body=Pattern.compile("^seen:$"))
    async with probing() as probe:
        away = await probe(spec(site.url("/away"), options=options, expect=expect, ca_file=authority.ca_file))
        circle = await probe(spec(site.url("/circle")))
        gone = await probe(spec(site.url("/gone")))
        silent = await probe(spec(site.url("/hang-up")))
    assert away.outcome == Outcome.PASS, away
    assert (circle.outcome, circle.detail) == (Outcome.MISMATCH, "more than 5 redirects")
    assert (gone.outcome, gone.detail) == (Outcome.MISMATCH, "status 404, expected 200-299")
    assert (silent.outcome, silent.detail) == (Outcome.FAIL, "the connection was closed without an answer")


@pytest.mark.trio
@pytest.mark.parametrize(
    ("name", "made", "arguments", "outcome", "detail"),
    [
        ("s-good", {}, (), Outcome.PASS, ""),
        ("s-expired", {"days": -3}, (), Outcome.FAIL, "the certificate has expired"),
        ("s-wrong", {"host": "127.0.0.2"}, (), Outcome.FAIL, "the certificate is for another host"),
        ("s-self", {"self_signed": True}, (), Outcome.FAIL, "the certificate is self-signed and not trusted"),
        (
            "s-old",
            {},
            ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
            Outcome.FAIL,
            "the TLS handshake failed",
        ),
        ("s-cipher", {}, ("-tls1_2", "-cipher", "NULL:@SECLEVEL=0"), Outcome.FAIL, "the TLS handshake failed"),
        ("s-groups", {}, ("-tls1_3", "-groups", "ffdhe2048"), Outcome.PASS, ""),
    ],
)
async def test_openssls_own_server(
    authority: Authority,
    name: str,
    made: dict[str, object],
    arguments: tuple[str, ...],
    outcome: Outcome,
    detail: str,
):
    """s-groups: a server with none of the usual groups for the key exchange is asked again with all there are."""
    authority.server(name, **made)  # type: ignore[arg-type]
    pem, port = str(authority.home / f"{name}.pem"), free_port()
    listen = ("s_server", "-accept", f"127.0.0.1:{port}", "-cert", pem, "-key", pem, "-www", "-quiet")
    with running(port, "openssl", *listen, *arguments):
        async with probing() as probe:
            result = await probe(spec(f"https://127.0.0.1:{port}/", ca_file=authority.ca_file))
    assert (result.outcome, result.detail) == (outcome, detail)
