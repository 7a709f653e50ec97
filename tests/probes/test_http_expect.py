"""Expectations on headers and JSON, and how actual values are told."""

import json
from typing import Any

import pytest

from demesh.limits import ACTUAL_CHARS_SHOWN_MAX, HTTP_BODY_BYTES_MAX
from demesh.outcome import Outcome, ProbeResult
from demesh.pattern import Pattern
from demesh.probes.actual import told
from demesh.probes.base import Expect, HttpOptions, ProbeSpec
from demesh.probes.http_json import same
from tests.probes.servers import http, probing, serving, spec

HEALTH = {
    "db": "ok",
    "queue": {"length": 3, "share": 1.5},
    "servers": [{"up": True}, {"up": True}],
    "none": None,
    "token": "s3cret",
}


async def answered(answer: bytes, expect: Expect, **more: Any) -> ProbeResult:
    async with serving(lambda _: answer) as server, probing() as probe:
        return await probe(spec(server.url(), expect=expect, **more))


async def judged(path: str, expected: Any, body: bytes | None = None, **more: Any) -> ProbeResult:
    answer = http(json.dumps(HEALTH).encode() if body is None else body)
    return await answered(answer, Expect(json=((path, expected),)), **more)


@pytest.mark.trio
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.db", "ok"),
        ("$.queue.length", 3),
        ("$.queue.length", 3.0),
        ("$.queue", {"share": 1.5, "length": 3}),
        ("$.servers[0].up", True),
        ("$['servers'][-1]", {"up": True}),
        ("$.none", None),
        ("$.servers[?@.up == true][?@ == 1]", None),
    ],
)
async def test_the_value_at_a_json_path_is_compared_as_json(path: str, expected: Any):
    result = await judged(path, expected)
    if path.startswith("$.servers[?"):
        assert result.detail == f"json {path} is not there"
    else:
        assert result.outcome == Outcome.PASS, result


@pytest.mark.trio
@pytest.mark.parametrize(
    ("path", "expected", "body", "detail"),
    [
        ("$.db", "fine", None, 'json $.db is not "fine": 4 characters (hash '),
        ("$.queue.length", "3", None, 'json $.queue.length is not "3": 1 character (hash '),
        ("$.servers[0].up", 1, None, "json $.servers[0].up is not 1: 4 characters (hash "),
        ("$.nothing", None, None, "json $.nothing is not there"),
        ("$.servers[*].up", True, None, "json $.servers[*].up is there more than once"),
        ("$..up", True, None, "json $..up is there more than once"),
        ("$.db", "ok", b"s3cret", "the body is not JSON: 6 characters (hash "),
        ("$.db", "ok", b"", "the body is not JSON: empty"),
        ("$.db", "ok", b'{"db": NaN}', "the body is not JSON: 11 characters"),
        ("$.db", "ok", b"[" * 100_000, "the body is not JSON: 100000 characters"),
        ("$..db", "ok", b"[" * 200 + b"]" * 200, "json $..db cannot be looked for: the body nests too deep"),
        ("db", "ok", None, "json db cannot be looked for: it is not a JSONPath"),
        ("$[?search(@.db, '(a+)+$')]", "ok", None, "json $[?search(@.db, '(a+)+$')] cannot be looked for"),
    ],
)
async def test_each_way_to_miss_a_json_value_has_its_sentence(
    path: str, expected: Any, body: bytes | None, detail: str
):
    result = await judged(path, expected, body, actual_key=b"key")
    assert result.outcome == Outcome.MISMATCH
    assert result.detail.startswith(detail), result
    assert list(result.broken) == [f"json.{path}"]


@pytest.mark.trio
async def test_json_beyond_the_bound_of_a_body_is_said_to_be_cut():
    body = json.dumps({"db": "ok", "rest": "x" * HTTP_BODY_BYTES_MAX}).encode()
    result = await judged("$.db", "ok", body)
    assert result.detail == f"the body is larger than {HTTP_BODY_BYTES_MAX} bytes, and no JSON when cut there"


@pytest.mark.trio
async def test_a_body_that_is_not_json_is_said_once_and_breaks_every_path():
    result = await answered(http(b"<html>"), Expect(json=(("$.a", 1), ("$.b", 2))))
    assert result.detail == "the body is not JSON: 6 characters"
    assert list(result.broken) == ["json.$.a", "json.$.b"]


def test_json_values_are_equal_as_json_has_it():
    assert same(1, 1.0)
    assert same({"a": [1, {"b": None}]}, {"a": [1.0, {"b": None}]})
    for left, right in (
        (1, True),
        (0, False),
        ([1], [True]),
        ({"a": 1}, {"a": True}),
        ([1], [1, 2]),
        ("1", 1),
        ({}, []),
    ):
        assert not same(left, right)
        assert not same(right, left)


def header(name: str, pattern: str) -> Expect:
    return Expect(header=((name, Pattern.compile(pattern)),))


@pytest.mark.trio
async def test_headers_are_found_whatever_their_case_and_several_are_one_list():
    answer = http(b"", 200, "X-Env: prod", "x-list: a", "X-List: b")
    for name, pattern in (("x-env", "^prod$"), ("X-ENV", "rod"), ("X-List", "^a, b$")):
        assert (await answered(answer, header(name, pattern))).outcome == Outcome.PASS


@pytest.mark.trio
async def test_a_header_that_is_wrong_or_missing_is_told_without_its_value():
    answer = http(b"", 200, "X-Env: s3cret")
    wrong = await answered(answer, header("X-Env", "^prod$"), actual_key=b"key")
    missing = await answered(answer, header("X-Other", "."))
    shown = await answered(answer, header("X-Env", "^prod$"), show_actual=True)
    assert wrong.outcome == missing.outcome == shown.outcome == Outcome.MISMATCH
    assert wrong.detail.startswith("header X-Env does not match /^prod$/: 6 characters (hash ")
    assert wrong.broken == {"header.X-Env": wrong.detail}
    assert missing.detail == "there is no header X-Other"
    assert shown.detail == "header X-Env does not match /^prod$/: 's3cret'"


@pytest.mark.trio
async def test_headers_of_interim_answers_and_trailers_do_not_count():
    interim = b"HTTP/1.1 103 Early\r\nX-Env: early\r\n\r\n"
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n1\r\na\r\n0\r\nX-Late: late\r\n\r\n"
    )
    for name in ("X-Env", "X-Late"):
        result = await answered(interim + chunked, header(name, "."))
        assert result.detail == f"there is no header {name}"


@pytest.mark.trio
async def test_an_expression_without_an_end_is_given_up():
    slow = Pattern.compile("(a|a)*$")
    body = await answered(http(b"a" * 4000 + b"b"), Expect(body=slow))
    in_header = await answered(http(b"", 200, "X-A: " + "a" * 4000 + "b"), Expect(header=(("X-A", slow),)))
    assert body.detail == "body takes too long to search for /(a|a)*$/: 4001 characters"
    assert in_header.detail == "header X-A takes too long to search for /(a|a)*$/: 4001 characters"


@pytest.mark.trio
async def test_the_wanted_version_of_http_must_be_spoken():
    async with serving() as server, probing() as probe:
        old = await probe(spec(server.url(), options=HttpOptions(http_version="1.1")))
        assert (old.outcome, old.facts) == (Outcome.PASS, {"http_version": "1.1"})
        new = await probe(spec(server.url(), 2000, options=HttpOptions(http_version="2")))
    assert new.outcome != Outcome.PASS


@pytest.mark.trio
async def test_every_broken_expectation_is_told_apart():
    expect = Expect(
        status=frozenset({201}), body=Pattern.compile("x"), header=(("A", Pattern.compile("b")),), response_time_ms=0
    )
    result = await answered(http(), expect)
    assert list(result.broken) == ["status", "header.A", "body", "response_time"]
    assert result.detail == "; ".join(result.broken.values())


def keyed(key: bytes, *, show: bool = False) -> ProbeSpec:
    return ProbeSpec("http", "http://shop.test/", 1000, show_actual=show, actual_key=key)


def test_an_actual_value_is_told_by_length_and_keyed_hash():
    mesh, other = keyed(b"mesh"), keyed(b"other")
    assert told("s3cret", mesh) == told("s3cret", mesh)
    assert told("s3cret", mesh) != told("s3cret", other)
    assert told("s3cret", mesh) != told("s3crey", mesh)
    length, _, digest = told("s3cret", mesh).removesuffix(")").partition(" (hash ")
    assert length == "6 characters"
    assert len(bytes.fromhex(digest)) == 4
    assert told("x", keyed(b"")) == "1 character", "a hash without a key could be looked up in a table"
    assert told("", mesh) == "empty"
    assert told("\ud800", keyed(b"k" * 100)).startswith("1 character (hash ")


def test_an_actual_value_is_quoted_only_when_asked_for_and_harmless_to_a_terminal():
    assert told("it's\x1b[2J", keyed(b"", show=True)) == '"it\'s\\x1b[2J"'
    long = told("x" * 1000, keyed(b"", show=True))
    assert long == f"'{'x' * ACTUAL_CHARS_SHOWN_MAX}'…"
