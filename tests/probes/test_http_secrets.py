"""Nothing secret of a target, a redirect or a body is ever in a result."""

import socket

import pytest

from demesh.outcome import Outcome
from demesh.pattern import Pattern
from demesh.probes.base import Expect
from tests.certificates import Authority
from tests.probes.servers import fake_resolver, http, probing, redirect, serving, spec


@pytest.mark.trio
async def test_no_secret_of_target_redirect_or_body_is_in_a_result(authority: Authority):
    def echo(path: bytes) -> bytes:
        kind = path.split(b"?")[0].strip(b"/").decode()
        return {
            "status": http(b"s3cret", 500, "X-Token: s3cret"),
            "redirect": redirect("http://s3cret:s3cret@127.0.0.1:1/s3cret?token=s3cret"),
            "nowhere": redirect("http://s3cret.invalid/?token=s3cret"),
            "file": redirect("file:///s3cret"),
            "broken": redirect("http://[s3cret/"),
            "garbage": b"s3cret\r\n",
            "charset": http(b"s3cret", 200, "Content-Type: text/html; charset=s3cret"),
        }.get(kind, http(b"s3cret " + path))

    expect = Expect(body=Pattern.compile("not there"))
    resolver = fake_resolver({"s3cret.invalid": socket.gaierror(socket.EAI_NONAME, "s3cret")})
    async with (
        serving(echo) as server,
        serving(tls=authority.server("secret", days=-1)) as tls,
        probing(resolver) as probe,
    ):
        kinds = ("status", "redirect", "nowhere", "file", "broken", "garbage", "charset", "echo")
        targets = [f"http://me:s3cret@127.0.0.1:{server.port}/{kind}?token=s3cret" for kind in kinds]
        targets += [
            f"https://me:s3cret@127.0.0.1:{tls.port}/?token=s3cret",
            "http://me:s3cret@127.0.0.1:1/?token=s3cret",
            "http://me:s3cret@127.0.0.1:99999/?token=s3cret",
            "http://me:s3cret@s3cret.invalid/?token=s3cret",
        ]
        for target in targets:
            result = await probe(spec(target, 2000, expect=expect, ca_file=authority.ca_file))
            assert result.outcome != Outcome.PASS, target
            assert result.detail, target
            assert "s3cret" not in repr(result), target
        assert b"Authorization: Basic" in server.requests[0]
