"""Targets as they may be shown, and which ones are refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.errors import UsageError
from demesh.target import check_target, public_target

_SCHEMES = ("http", "https")


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("https://me:sesame@example.org:8443/health?token=sesame#sesame", "https://example.org:8443/health"),
        ("https://sesame@example.org", "https://example.org"),
        ("https://a@sesame:b@example.org/", "https://example.org/"),
        ("https://example.org?sesame", "https://example.org"),
        ("http://[2001:db8::1]:80/x", "http://[2001:db8::1]:80/x"),
        ("stun://stun.example.net:3478", "stun://stun.example.net:3478"),
    ],
)
def test_a_target_is_shown_without_user_info_query_and_fragment(target: str, shown: str) -> None:
    assert public_target(target) == shown


_SECRET = st.text(st.characters(categories=("L", "N"), include_characters="-._~!$&'()*+,;="), min_size=8, max_size=20)


@given(_SECRET, st.sampled_from(["", ":8443"]), st.sampled_from(["", "/", "/health"]))
def test_no_secret_survives(secret: str, port: str, path: str) -> None:
    secret = f"sesame{secret}"
    shown = public_target(f"https://me:{secret}@example.org{port}{path}?q={secret}#{secret}")
    assert shown == f"https://example.org{port}{path}"


@pytest.mark.parametrize("target", ["http://example.org", "https://me:sesame@[::1]:8443/a?b#c", "HTTPS://EXAMPLE.org"])
def test_a_proper_target_is_accepted(target: str) -> None:
    check_target(target, _SCHEMES)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("", "must begin with one of http://, https://"),
        ("example.org", "must begin with one of http://, https://"),
        ("ftp://example.org", "must begin with one of http://, https://"),
        ("https:example.org", "must begin with one of http://, https://"),
        ("https://", "names no host"),
        ("https:///path", "names no host"),
        ("https://:8443/", "names no host"),
        ("https://example.org:0x50/", "its port is wrong"),
        ("https://example.org:65536/", "its port is wrong"),
        ("https://[::1/", "its host or its port is wrong"),
        ("https://exam ple.org/", "white space"),
        ("https://example.org/\x07", "control character"),
    ],
)
def test_an_improper_target_is_refused_with_a_sentence(target: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_target(target, _SCHEMES)
    assert sentence in str(caught.value)


@given(st.text(max_size=30), st.sampled_from(["", "http:", "https://", "https://[", "https://x:", "//"]))
def test_no_text_makes_it_fail_otherwise_or_repeats_what_may_be_secret(text: str, prefix: str) -> None:
    try:
        check_target(f"{prefix}me:sesame@{text}?sesame", _SCHEMES)
    except UsageError as error:
        said = str(error)
    else:
        said = ""
    assert "sesame" not in said


@pytest.mark.parametrize("target", ["tcp://example.org", "tls://[::1]", "tcp://example.org:0"])
def test_a_port_is_needed_where_there_is_no_usual_one(target: str) -> None:
    with pytest.raises(UsageError, match=f"^The target {re.escape(repr(target))} names no port\\.$"):
        check_target(target, ("tcp", "tls"))
    check_target(f"{target.removesuffix(':0')}:25", ("tcp", "tls"))
