"""What results mean: every failure that a probe can tell has a sentence, and every expectation its state."""

import pytest

from demesh import curl_failure, failure
from demesh.outcome import Outcome, ProbeResult
from demesh.pattern import Pattern
from demesh.probes.base import Expect, HttpOptions, ProbeSpec
from demesh.probes.explain import Judged, judged, meaning

TARGET = "https://me:s3cret@shop.test/?token=s3cret"
GENERIC = {meaning(ProbeResult(outcome, detail="?"), TARGET) for outcome in Outcome}


def test_every_outcome_without_a_known_detail_has_a_sentence_of_its_own():
    assert len(GENERIC) == len(Outcome)
    assert meaning(ProbeResult(Outcome.PASS), TARGET) == ""


@pytest.mark.parametrize(
    "known",
    [
        *failure.CONNECT_FAILURES.values(),
        *(failure.Failure(Outcome.FAIL, sentence) for sentence in failure.CERTIFICATE_VERDICTS.values()),
        *curl_failure._CODES.values(),
    ],
)
def test_every_known_failure_is_explained_without_secrets(known: failure.Failure):
    said = meaning(ProbeResult(known.outcome, detail=known.sentence), TARGET)
    assert said.endswith(".")
    assert "s3cret" not in said
    assert "{" not in said


@pytest.mark.parametrize(
    ("outcome", "detail", "target", "said"),
    [
        (Outcome.FAIL, "connection refused", "http://shop.test:81/", "nothing listens on port 81"),
        (Outcome.FAIL, "connection refused", "http://shop.test/", "nothing listens on port 80"),
        (Outcome.FAIL, "connection refused", "tcp://[::1]:5432", "nothing listens on port 5432"),
        (Outcome.FAIL, "after 1 redirect: connection refused", TARGET, "nothing listens on that port"),
        (Outcome.FAIL, "no such host", TARGET, "The name has no address in DNS"),
        (Outcome.FAIL, "the certificate has expired", TARGET, "needs to be renewed"),
        (Outcome.FAIL, "the TLS handshake failed", TARGET, "No TLS version or cipher in common"),
        (Outcome.TIMEOUT, "no complete answer within 9 ms, still connecting", TARGET, "drops what goes to port 443"),
        (
            Outcome.TIMEOUT,
            "no complete answer within 9 ms, still in the TLS handshake",
            TARGET,
            "Port 443 is open, but",
        ),
        (Outcome.TIMEOUT, "… still waiting for the first byte", TARGET, "has not begun to answer"),
        (Outcome.ERROR, "no resolver answers this node", TARGET, "it says nothing about the target"),
        (Outcome.ERROR, "no network: this node has no route to the address", TARGET, "has no way to that address"),
        (Outcome.ERROR, "this node gets no connection to its proxy: connection refused", TARGET, "reach the proxy"),
        (Outcome.FAIL, "port unreachable, says 192.0.2.1", "stun://a", "nothing listens on port 3478"),
        (Outcome.MISMATCH, "the answer is not STUN", "turns://a", "listens on port 5349"),
        (Outcome.FAIL, "the server refuses the user or the password (error 401)", "turn://a", "The login"),
        (Outcome.FAIL, "more than 64 messages that answer another request", "stun://a", "what was not asked"),
        (Outcome.MISMATCH, "more than 5 redirects", TARGET, "in a circle"),
    ],
)
def test_the_usual_failures_are_explained_to_the_point(outcome: Outcome, detail: str, target: str, said: str):
    assert said in meaning(ProbeResult(outcome, detail=detail), target)


def test_a_wrong_status_is_told_by_its_name():
    result = ProbeResult(Outcome.MISMATCH, detail="?", status=503, broken={"status": "?"})
    assert meaning(result, TARGET) == "The server answers, with status 503 (Service Unavailable)."
    unknown = ProbeResult(Outcome.MISMATCH, detail="?", status=599, broken={"status": "?"})
    assert meaning(unknown, TARGET) == "The server answers, with status 599."


SPEC = ProbeSpec(
    "http",
    TARGET,
    1000,
    Expect(
        status=frozenset({200, 201, 404}),
        body=Pattern.compile("Welcome"),
        json=(("$.db", "ok"),),
        header=(("X-Env", Pattern.compile("prod")),),
        response_time_ms=500,
        cert_expires_in_ms=14 * 86_400_000,
    ),
    options=HttpOptions(http_version="2"),
)


def test_every_expectation_is_stated():
    assert [each.stated for each in judged(SPEC, ProbeResult(Outcome.PASS))] == [
        "status is 200-201, 404",
        "HTTP/2 is spoken",
        "header X-Env matches /prod/",
        "body matches /Welcome/",
        'json $.db is "ok"',
        "the response takes at most 500 ms",
        "the certificate lasts another 14 d",
    ]
    assert judged(ProbeSpec("tcp", "tcp://db:1", 1000), ProbeResult(Outcome.PASS)) == []
    dns = ProbeSpec("dns", "dns:///x", 1000, Expect(rcode="NOERROR", records=("192.0.2.1",)))
    assert [each.key for each in judged(dns, ProbeResult(Outcome.PASS))] == ["rcode", "records"]


def test_what_is_broken_is_told_from_what_is_held_and_from_what_is_not_known():
    held = judged(SPEC, ProbeResult(Outcome.PASS))
    assert {each.held for each in held} == {True}
    broken = judged(SPEC, ProbeResult(Outcome.MISMATCH, broken={"json.$.db": "json is wrong"}))
    assert [each.key for each in broken if each.held is False] == ["json.$.db"]
    assert Judged("json.$.db", 'json $.db is "ok"', False, "json is wrong") in broken
    for outcome in (Outcome.FAIL, Outcome.TIMEOUT, Outcome.ERROR, Outcome.MISMATCH):
        unknown = judged(SPEC, ProbeResult(outcome, detail="?"))
        assert {each.held for each in unknown} == {None}
