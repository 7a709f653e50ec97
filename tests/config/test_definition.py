"""Two nodes' checks have equal definitions exactly when they check the same thing in the same way; no secret is in one."""

from itertools import combinations
from pathlib import Path

import pytest

from demesh.config.definition import is_secret_name
from tests.config.files import check

_HTTP = 'target = "https://me:pw@example.org/a?q=1"\n'


def _definition(directory: Path, text: str, **environment: str) -> bytes:
    return check(directory, text, **environment).row(bytes(16), True).definition


_DIFFERENT = [
    _HTTP,
    _HTTP.replace("q=1", "q=2"),
    _HTTP + 'method = "HEAD"',
    _HTTP + 'headers = { Accept = "a" }',
    _HTTP + 'headers = { Accept = "b" }',
    _HTTP + 'headers = { Authorization = "a" }',
    _HTTP + 'headers = { Authorization = "Bearer ${T}" }',
    _HTTP + 'headers = { Authorization = "Bearer ${U}" }',
    _HTTP + 'body = "a"',
    _HTTP + 'body = "b"',
    _HTTP + 'body = "${T}"',
    _HTTP + 'body_file = "demesh.toml"',
    _HTTP + "follow_redirects = false",
    _HTTP + 'http_version = "2"',
    _HTTP + 'proxy = "http://proxy:1"',
    _HTTP + 'ip = "4"',
    _HTTP + 'ca_file = "demesh.toml"',
    _HTTP + "verify_tls = false",
    _HTTP + "expect.status = 200",
    _HTTP + 'expect.body = "x"',
    _HTTP + 'expect.json = { "$.a" = 1 }',
    _HTTP + 'expect.json = { "$.a" = "1" }',
    _HTTP + 'expect.header = { A = "x" }',
    _HTTP + 'expect.response_time = "1s"',
    _HTTP + 'expect.cert_expires_in = "1d"',
    _HTTP + 'interval = "59s"',
    _HTTP + 'timeout = "9s"',
    _HTTP + 'retry_interval = "9s"',
    _HTTP + "fail_after = 3",
    _HTTP + "recover_after = 3",
    'target = "tcp://a:1"',
    'target = "tls://a:1"',
    'target = "tcp://a:1"\nsend = "x"',
    'target = "tcp://a:1"\nstarttls = "smtp"',
    'target = "tls://a:1"\nserver_name = "b"',
    'target = "tls://a:1"\nalpn = "h2"',
    'target = "tcp://a:1"\nexpect.answer = "x"',
    'target = "dns:///a"',
    'target = "dns:///a"\nrecord = "AAAA"',
    'target = "dns:///a"\ntransport = "tcp"',
    'target = "dns:///a"\nrecursion = false',
    'target = "dns:///a"\nexpect.rcode = "NXDOMAIN"',
    'target = "dns:///a"\nexpect.records = ["192.0.2.1"]',
    'target = "ping://a"',
    'target = "ping://a"\npackets = 2',
    'target = "ping://a"\npayload_bytes = 9',
    'target = "mqtt://a"',
    'target = "mqtt+ws://a"',
    'target = "mqtt+ws://a/b"',
    'target = "mqtt://a"\nversion = "5"',
    'target = "mqtt://a"\ntopic = "b"',
    'target = "mqtts://a"\nexpect.cert_expires_in = "9d"',
    'target = "mqtts://a"\nverify_tls = false',
    'target = "ntp://a"',
    'target = "ntp://a"\nexpect.offset = "1s"',
    'target = "ntp://a"\nexpect.stratum = 2',
    'type = "command"\ncommand = ["a"]',
    'type = "command"\ncommand = ["/a"]',
    'type = "command"\ncommand = ["a", "b"]',
    'type = "command"\ncommand = ["a"]\noutput = "json"',
    'type = "command"\ncommand = ["a"]\nenv = { A = "1" }',
    'type = "command"\ncommand = ["a"]\ndirectory = "/"',
    'type = "python"\nentry = "a"',
    'type = "python"\nentry = "a"\narguments = { a = 1 }',
    'type = "python"\nentry = "a"\narguments = { a = 2 }',
]


def test_whatever_decides_a_vote_makes_another_definition(tmp_path: Path) -> None:
    found = [_definition(tmp_path, text, T="t", U="t") for text in _DIFFERENT]
    same = [(_DIFFERENT[a], _DIFFERENT[b]) for a, b in combinations(range(len(found)), 2) if found[a] == found[b]]
    assert same == []


@pytest.mark.parametrize(
    "text",
    [
        _HTTP + 'method = "GET"\nverify_tls = true\nexpect = {}\nheaders = {}',
        _HTTP + 'interval = "1m"\ntimeout = "10s"',
        _HTTP.replace("me:pw@", "you:other@"),
        _HTTP.replace("me:pw@", "") + 'user = "you"\npassword = "other"',
        _HTTP.replace("me:pw@", "") + 'user = "you"\npassword_file = "/proc/sys/kernel/ostype"',
        _HTTP + 'quorum = "all"\nseverity = "none"\nnodes = ["x"]\nlabels = { a = "b" }\nenabled = false',
        _HTTP + 'runbook = "https://wiki.example.org/a"\nspread = 2',
        _HTTP + "show_actual = true\nshow_query = true",
    ],
)
def test_what_decides_no_vote_makes_none(text: str, tmp_path: Path) -> None:
    assert _definition(tmp_path, text) == _definition(tmp_path, _HTTP)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("expect.status = [204, 200, 200]", "expect.status = [200, 204]"),
        ("expect.status = 200", "expect.status = [200]"),
        ('expect = { body = "x", status = 200 }', 'expect.status = 200\nexpect.body = "x"'),
        ('headers = { A = "1", B = "2" }', 'headers = { B = "2", A = "1" }'),
        ('headers = { Cookie = "a" }', 'headers = { Cookie = "b" }'),
        ('proxy = "http://a:b@proxy:1"', 'proxy = "http://proxy:1"'),
        ('body = "${T}"', 'body = "${T}"'),
    ],
)
def test_the_same_said_otherwise_is_the_same(one: str, other: str, tmp_path: Path) -> None:
    assert _definition(tmp_path, _HTTP + one, T="1") == _definition(tmp_path, _HTTP + other, T="2")


def test_what_comes_from_the_environment_is_in_it_as_it_is_written(tmp_path: Path) -> None:
    text = 'target = "https://example.org/${T}?key=${T}"\nheaders = { X-Token = "${T}" }\nexpect.body = "${T}"'
    found = check(tmp_path, text, T="sesame")
    assert found.probe.target == "https://example.org/sesame?key=sesame"
    assert _definition(tmp_path, text, T="sesame") == _definition(tmp_path, text, T="open")
    assert found.expectations == (("body", '"${T}"'),)
    assert found.definition == (("headers", '{"X-Token":"${T}"}'),)


def test_no_secret_can_be_found_in_it_by_trying(tmp_path: Path) -> None:
    """Whoever has the mesh id can hash guesses: what they would have to guess must not be there."""
    text = """
        user = "sesame"
        password = "sesame"
        proxy = "http://me:sesame@proxy:3128"
        target = "https://example.org"
        headers = { Authorization = "sesame", X-Api-Key = "sesame", Cookie = "sesame", Accept = "text/html" }
    """
    found = check(tmp_path, text)
    assert "sesame" not in repr((found.definition, found.expectations))
    assert dict(found.definition)["headers"] == (
        '{"Accept":"text/html","Authorization":null,"Cookie":null,"X-Api-Key":null}'
    )
    command = check(tmp_path, 'type = "command"\ncommand = ["a"]\nenv = { DB_PASSWORD = "sesame", LANG = "C" }')
    assert dict(command.definition)["env"] == '{"DB_PASSWORD":null,"LANG":"C"}'
    plug_in = check(tmp_path, 'type = "python"\nentry = "a"\narguments = { db = { password = "sesame", port = 1 } }')
    assert dict(plug_in.definition)["arguments"] == '{"db":{"password":null,"port":1}}'


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "X-Api-Key",
        "X-Auth-Token",
        "X-Auth",
        "PGPASSWORD",
        "secret",
        "key",
    ],
)
def test_these_names_are_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["Accept", "Host", "User-Agent", "X-Request-Id", "Author", "keyboard", "LANG"])
def test_these_are_not(name: str) -> None:
    assert not is_secret_name(name)
