"""Redirects: how far they are followed, what of the request goes along, and what is never sent elsewhere."""

import pytest

from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import Expect, HttpOptions
from demesh.probes.http_request import _place_of_target, first_request
from tests.certificates import Authority
from tests.probes.servers import fake_resolver, http, probing, redirect, serving, spec

SECRETS = (b"s3cret", b"k3y", b"c00kie", b"Authorization", b"Basic")
OPTIONS = HttpOptions(
    headers=(
        ("X-Api-Key", "k3y"),
        ("Cookie", "c00kie=1"),
        ("Authorization", "Bearer s3cret"),
        ("Accept", "text/x-test"),
        ("Host", "s3cret.test"),
    )
)
LOGIN = HttpOptions(user="me", password="s3cret", headers=(("X-Api-Key", "k3y"),))


async def redirected(
    location: str, status: int, options: HttpOptions, *, host: str = "127.0.0.1"
) -> tuple[ProbeResult, bytes]:
    """The result of a probe that is sent on, and the first request to the server that sends it."""
    answer = http(b"", status, f"Location: {location}")
    names = fake_resolver({"one.test": ["127.0.0.1"], "two.test": ["127.0.0.1"]})
    async with serving(lambda _: answer) as server, probing(names) as probe:
        url = server.url(host=host)
        result = await probe(spec(url, options=options))
        assert len(server.requests) == 1
        return result, server.requests[0]


@pytest.mark.trio
@pytest.mark.parametrize("options", [OPTIONS, LOGIN])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_another_port_is_another_origin_and_gets_nothing_of_the_users(options: HttpOptions, status: int):
    async with serving() as elsewhere:
        result, first = await redirected(elsewhere.url("/there"), status, options)
        assert result.outcome == Outcome.PASS, result
        [second] = elsewhere.requests
    assert result.outcome == Outcome.PASS, result
    assert b"k3y" in first
    assert b"Authorization: " in first
    assert second.startswith(b"GET /there ")
    assert not any(secret in second for secret in SECRETS), second
    assert (b"Accept: text/x-test" in second) == (b"Accept: text/x-test" in first)


@pytest.mark.trio
async def test_another_host_name_of_the_same_machine_is_another_origin():
    async with serving() as elsewhere:
        url = elsewhere.url("/there", host="two.test")
        result, first = await redirected(url, 302, OPTIONS, host="one.test")
        assert result.outcome == Outcome.PASS, result
        [second] = elsewhere.requests
    assert (result.outcome, result.address) == (Outcome.PASS, "127.0.0.1"), result
    assert b"k3y" in first
    assert not any(secret in second for secret in SECRETS), second
    assert b"Host: two.test" in second


@pytest.mark.trio
async def test_another_scheme_is_another_origin(authority: Authority):
    async with serving(tls=authority.server("elsewhere")) as elsewhere:
        answer = redirect(elsewhere.url(scheme="https"))
        async with serving(lambda _: answer) as server, probing() as probe:
            result = await probe(spec(server.url(), options=LOGIN, ca_file=authority.ca_file))
        assert result.outcome == Outcome.PASS, result
        [second] = elsewhere.requests
    assert result.outcome == Outcome.PASS, result
    assert not any(secret in second for secret in SECRETS), second


@pytest.mark.trio
async def test_the_same_origin_gets_all_of_it_again():
    answers = {b"/": redirect("/again?x=1#y")}
    async with serving(lambda path: answers.get(path, http())) as server, probing() as probe:
        for options in (OPTIONS, LOGIN):
            assert (await probe(spec(server.url(), options=options))).outcome == Outcome.PASS
        assert (await probe(spec(server.url(host="me:s3cret@127.0.0.1")))).outcome == Outcome.PASS
        for request in server.requests:
            assert b"Authorization: " in request
        assert [request.split()[1] for request in server.requests] == [b"/", b"/again?x=1"] * 3


@pytest.mark.trio
async def test_what_was_lost_on_the_way_is_not_found_again_on_return():
    async with serving() as home:
        answers = {b"/": redirect("/elsewhere"), b"/back": http()}
        async with serving(lambda _: redirect(home.url("/back"))) as other:
            away = redirect(other.url())
            async with serving(lambda path: away if path == b"/" else answers[path]) as server, probing() as probe:
                await probe(spec(server.url(), options=OPTIONS))
        assert [any(secret in request for secret in SECRETS) for request in home.requests] == [False]


@pytest.mark.trio
@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (302, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (301, "HEAD", "HEAD"),
    ],
)
async def test_methods_and_bodies_follow_as_rfc_9110_has_it(status: int, method: str, expected: str):
    body = None if method == "HEAD" else b"p0sted"

    def reply(path: bytes) -> bytes:
        return http(b"", status, "Location: /next") if path == b"/" else http(b"")

    async with serving(reply) as server, probing() as probe:
        result = await probe(spec(server.url(), options=HttpOptions(method=method, body=body)))
        second = server.requests[1]
    assert result.outcome == Outcome.PASS, result
    assert second.startswith(f"{expected} /next ".encode())
    assert second.endswith(b"p0sted") == (expected in ("POST", "PUT"))


@pytest.mark.trio
@pytest.mark.parametrize("status", [307, 308])
async def test_a_body_goes_to_no_other_origin(status: int):
    async with serving() as elsewhere:
        options = HttpOptions(method="POST", body=b"s3cret")
        result, _ = await redirected(elsewhere.url(), status, options)
        assert elsewhere.requests == []
    assert result.outcome == Outcome.MISMATCH
    assert result.detail == "redirects a request with a body to another host, which is refused"
    assert result.status == status


@pytest.mark.trio
async def test_redirects_are_an_answer_to_who_does_not_follow_them():
    async with serving(lambda _: redirect("/again")) as server, probing() as probe:
        unfollowed = await probe(spec(server.url(), options=HttpOptions(follow_redirects=False)))
        expected = await probe(spec(server.url(), expect=Expect(status=frozenset({302}))))
        assert len(server.requests) == 2
    assert (unfollowed.outcome, unfollowed.detail) == (Outcome.MISMATCH, "status 302, expected 200-299")
    assert expected.outcome == Outcome.PASS


@pytest.mark.trio
async def test_every_hop_is_looked_up_and_its_address_and_family_kept_to():
    names = fake_resolver({"one.test": ["127.0.0.1"], "two.test": ["::1", "127.0.0.1"], "six.test": ["::1"]})
    async with serving(host="::1") as six, probing(names) as probe:
        for host, expected in (("two.test", "::1"), ("six.test", None)):
            url = six.url(host=host)
            async with serving(lambda _, url=url: redirect(url)) as server:
                free = await probe(spec(server.url(host="one.test")))
                assert (free.outcome, free.address) == (Outcome.PASS, "::1")
                bound = await probe(spec(server.url(host="one.test"), ip_version=4))
            if expected is None:
                assert bound.detail == "after 1 redirect: the host name has no IPv4 address"
            else:
                assert bound.detail == "after 1 redirect: connection refused"
            assert bound.outcome == Outcome.FAIL


@pytest.mark.trio
async def test_the_earliest_certificate_of_all_hops_is_reported(authority: Authority):
    async with serving(tls=authority.server("late", days=90)) as late:
        answer = redirect(late.url(scheme="https"))
        async with serving(lambda _: answer, tls=authority.server("early", days=5)) as early, probing() as probe:
            through = await probe(spec(early.url(scheme="https"), ca_file=authority.ca_file))
            alone = await probe(spec(late.url(scheme="https"), ca_file=authority.ca_file))
    assert through.certificate_expires_s is not None
    assert alone.certificate_expires_s is not None
    assert alone.certificate_expires_s - through.certificate_expires_s == 85 * 86_400


@pytest.mark.trio
async def test_a_timeout_after_a_redirect_says_where_it_was():
    async with serving(lambda _: None) as silent:
        answer = redirect(silent.url("/?s3cret"))
        async with serving(lambda _: answer) as server, probing() as probe:
            result = await probe(spec(server.url(), 1_500))
    assert result.outcome == Outcome.TIMEOUT
    assert result.detail == ("after 1 redirect: no complete answer within 1500 ms, still waiting for the first byte")
    assert result.phases_us["connect"] > 0


@pytest.mark.trio
async def test_a_redirect_that_cannot_be_followed_is_the_targets_fault():
    names = fake_resolver({"six.test": ["::1"], "a|b^c": ["::1"]})
    async with probing(names) as probe:
        for location, detail in (
            ("http://127.0.0.1:1/", "a redirect's target is an IPv4 address, and only IPv6 may be used"),
            ("http://a|b^c/", "redirects to a URL that cannot be read"),
            ("http:// /", "redirects to a URL that cannot be read"),
        ):
            answer = redirect(location)
            async with serving(lambda _, answer=answer: answer, host="::1") as server:
                result = await probe(spec(server.url(host="six.test"), ip_version=6))
            assert result.outcome == Outcome.MISMATCH, result
            assert result.detail.endswith(detail), result


def test_locations_are_not_kept():
    """A server that makes up redirects must not fill the memory of the node."""
    first = first_request("http://shop.test/", HttpOptions())
    kept = _place_of_target.cache_info().currsize
    for number in range(10):
        first.follow(302, f"http://shop.test/{number}")
    assert _place_of_target.cache_info().currsize == kept
