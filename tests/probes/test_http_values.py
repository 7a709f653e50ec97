"""The parts of the HTTP probe that need no server."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from demesh.probes.certificates import earliest_expiry_s, parse_date_s
from demesh.probes.expectations import duration
from demesh.probes.http_expect import decode, ranges
from demesh.trust import find_system_ca_file
from tests.probes.servers import DAY_MS


def test_dates_are_read_as_openssl_prints_them():
    assert parse_date_s(b"Feb  1 00:35:23 2027 GMT") == int(datetime(2027, 2, 1, 0, 35, 23, tzinfo=UTC).timestamp())
    assert parse_date_s(b"Dec 31 23:59:59 9999 GMT") == 253_402_300_799
    for none in (b"", b"Bad time value", b"Fob  1 00:35:23 2027 GMT", b"Feb 31 00:35:23 2027 GMT", b"\xff"):
        assert parse_date_s(none) is None
    chain = [[(b"Subject", b"CN = x"), (b"Expire date", b"Feb  1 00:00:00 2027 GMT")], [(b"Expire date", b"?")]]
    assert earliest_expiry_s(chain) == parse_date_s(b"Feb  1 00:00:00 2027 GMT")
    assert earliest_expiry_s([]) is None


def test_bodies_are_decoded_by_real_charsets_only():
    assert decode(b"\xfc", "text/html; charset=ISO-8859-1") == "ü"
    assert decode("ü".encode(), "text/html; charset=punycode") == "ü"
    assert decode("ü".encode(), "text/html; charset=cp0") == "ü"
    assert decode(b"\xff", "") == "\ufffd"


def test_numbers_are_said_briefly():
    assert ranges({200, 201, 202, 204, 301, 302}) == "200-202, 204, 301-302"
    assert [duration(ms) for ms in (14 * DAY_MS, 129_600_000, 950, 0)] == ["14 d", "36 h", "950 ms", "0 ms"]


def test_the_ca_bundle_named_by_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/somewhere/ca.pem")
    assert find_system_ca_file() == "/somewhere/ca.pem"
    monkeypatch.delenv("SSL_CERT_FILE")
    found = find_system_ca_file()
    assert found is None or Path(found).is_file()
