"""Secrets come from files and the environment, and are told to nobody but the probe."""

import os
from pathlib import Path

import pytest

from demesh import limits
from demesh.config.load import load
from demesh.probes.base import HttpOptions
from tests.config.files import check, loaded, settings, written

_EVERYWHERE = """
[alerts]
alertmanager = "http://me:sesame@am.example.org:9093"
token_file = "secret"
[api]
token_file = "secret"
[[notify]]
url = "ntfy://me:sesame@ntfy.example.org/topic"
[[notify]]
url_file = "url"
[[check]]
name = "http"
target = "https://me:sesame@example.org/${S}/a?token=sesame#sesame"
headers = { Authorization = "Bearer sesame", X-Any = "${S}" }
body = "sesame"
proxy = "http://me:sesame@127.0.0.1:3128"
expect = { body = "${S}", json = { "$.a" = "${S}" }, header = { A = "${S}" } }
[[check]]
name = "login"
target = "https://example.org"
user = "sesame"
password_file = "secret"
[[check]]
name = "tcp"
target = "tcp://example.org:1"
send = "AUTH sesame"
expect.answer = "${S}"
[[check]]
name = "command"
type = "command"
command = ["check", "sesame", "${S}"]
env = { A = "sesame" }
[[check]]
name = "plug-in"
type = "python"
entry = "a:b"
arguments = { key = "sesame" }
[[check]]
name = "turn"
target = "turn://example.org"
user = "me"
password_file = "secret"
"""


def test_no_secret_is_in_what_others_are_told_or_in_a_repr(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame-in-a-file\n")
    (tmp_path / "url").write_text("ntfy://me:sesame@ntfy.example.org/topic\n")
    found = settings(tmp_path, _EVERYWHERE, S="sesame-of-the-environment")
    assert [each.name for each in found.checks] == ["http", "login", "tcp", "command", "plug-in", "turn"]
    assert "sesame" not in repr(found)
    assert "sesame" not in repr([each.row(bytes(16), True) for each in found.checks])
    assert "sesame" not in repr(
        [(each.probe, each.probe.options, each.probe.expect) for each in (found.checks[1], found.checks[-1])]
    )
    # and yet the probes have them
    http, login, *_ = found.checks
    assert http.probe.target == "https://me:sesame@example.org/sesame-of-the-environment/a?token=sesame#sesame"
    assert login.probe.options == HttpOptions(user="sesame", password="sesame-in-a-file")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("a${S}b${OTHER}", "asecretbother"),
        ("$${S}", "${S}"),
        ("$$${S}", "$${S}"),
        ("$S $ { } ${EMPTY}", "$S $ { } "),
    ],
)
def test_references_are_filled(text: str, value: str, tmp_path: Path) -> None:
    found = check(tmp_path, f"target = 'http://a'\nbody = '{text}'", S="secret", OTHER="other", EMPTY="")
    assert isinstance(found.probe.options, HttpOptions)
    assert found.probe.options.body == value.encode()


def test_any_text_may_come_from_the_environment(tmp_path: Path) -> None:
    text = """
        [node]
        name = "${NAME}"
        tags = ["${TAG}"]
        [[check]]
        name = "${NAME}"
        target = "${URL}"
        interval = "${INTERVAL}"
    """
    found = settings(tmp_path, text, NAME="nas", TAG="home", URL="https://me:pw@example.org", INTERVAL="30s")
    assert (found.name, found.tags) == ("nas", ("home",))
    assert (found.checks[0].name, found.checks[0].interval_ms) == ("nas", 30_000)
    assert found.checks[0].probe.target == "https://me:pw@example.org"


def test_every_variable_that_is_not_set_is_named_with_its_line(tmp_path: Path) -> None:
    text = '[node]\nname = "${A}"\n[[check]]\nname = "a"\ntarget = "${B}"\nheaders = { X = "${C} ${A}" }\ninterval = "${D}"'
    path = written(tmp_path, main=text)
    assert load(path, {}).problems == [
        f"{path}:2: node.name: the environment variable A is not set.",
        f"{path}:5: check[1].target: the environment variable B is not set.",
        f"{path}:6: check[1].headers.X: the environment variable C is not set.",
        f"{path}:7: check[1].interval: the environment variable D is not set.",
    ]


@pytest.mark.parametrize(
    "line",
    [
        'interval = "${S}"',
        'ip = "${S}"',
        'target = "${S}"',
        'type = "${S}"',
        'expect.body = "(${S}"',
        'expect.json = { "$.a" = 1, "$.b" = "${S}", "$[" = 1 }',
        'method = "${S}"',
        'headers = { A = "${S}\\n" }',
        'proxy = "${S}"',
        'nodes = ["", "${S}"]',
        'depends_on = ["${S}"]',
        'password_file = "${S}"\nuser = "a"',
        'body_file = "${S}"',
        'ca_file = "${S}"',
        'runbook = "${S}"',
        'severity = "${S}${S}${S}${S}${S}${S}${S}${S}${S}${S}"',
        'labels = { a = 1, b = "${S}" }',
        'quorum = "${S}"',
        'expect.response_time = "${S}"',
    ],
)
def test_no_refusal_repeats_what_the_environment_gave(line: str, tmp_path: Path) -> None:
    target = "" if line.startswith("target") else 'target = "https://example.org"\n'
    found = loaded(tmp_path, f'[[check]]\nname = "a"\n{target}{line}', S="sesame.1")
    assert found.problems
    assert "sesame" not in "\n".join(found.problems)
    assert all(each.startswith(f"{tmp_path}/demesh.toml:") for each in found.problems)


def test_the_reason_is_told_with_the_reference_in_place_of_its_value(tmp_path: Path) -> None:
    (problem,) = loaded(tmp_path, '[node]\nflush_interval = "${S}"', S="sesame").problems
    assert "node.flush_interval: '${S}' is not a duration; write a number and its unit" in problem


def test_a_short_value_of_the_environment_is_not_told_by_chance(tmp_path: Path) -> None:
    (problem,) = loaded(tmp_path, '[node]\nflush_interval = "${S}"', S="5").problems
    assert problem == f"{tmp_path}/demesh.toml:2: node.flush_interval: what ${{S}} gives does not fit here."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "must hold one line of text"),
        (b"\n", "must hold one line of text"),
        (b"a\nb\n", "must hold one line of text"),
        (b"a\0", "must hold one line of text"),
        (b"\xff", "is not UTF-8 text"),
        (b"x" * (limits.SECRET_FILE_BYTES_MAX + 1), f"is larger than {limits.SECRET_FILE_BYTES_MAX} bytes"),
    ],
    ids=["nothing", "an empty line", "two lines", "a zero", "no text", "too much"],
)
def test_a_secret_is_one_line_of_text(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(content)
    text = '[[check]]\nname = "a"\ntarget = "http://a"\nuser = "me"\npassword_file = "secret"'
    (problem,) = loaded(tmp_path, text).problems
    assert problem == f"{tmp_path}/demesh.toml:5: check[1].password_file: {tmp_path}/secret {reason}."


def test_a_pipe_is_no_file_and_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "secret")
    (problem,) = loaded(tmp_path, '[api]\ntoken_file = "secret"').problems
    assert "is not a regular file" in problem


def test_a_variable_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (problem,) = loaded(tmp_path, '[node]\nname = "${S}"', S="sesame\udcff").problems
    assert problem == f"{tmp_path}/demesh.toml:2: node.name: the environment variable S is not UTF-8 text."


def test_the_url_in_a_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("sesame")
    (problem,) = loaded(tmp_path, '[[notify]]\nurl_file = "url"').problems
    assert ":2: notify[1].url_file: the file does not hold a URL" in problem
    assert "sesame" not in problem


def test_secrets_are_found_where_systemd_puts_credentials(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name in ("swarm.key", "api.token"):
        (credentials / name).write_text("s3same-s3same-s3same\n")
    text = (
        '[mesh]\nswarm_key_file = "${CREDENTIALS_DIRECTORY}/swarm.key"\n'
        '[api]\ntoken_file = "${CREDENTIALS_DIRECTORY}/api.token"\n'
    )
    found = settings(tmp_path, text, CREDENTIALS_DIRECTORY=str(credentials))
    assert found.swarm_key_file == credentials / "swarm.key"
    assert found.api_token_file == credentials / "api.token"


def test_without_systemd_a_credential_is_refused_with_where_it_would_be(tmp_path: Path) -> None:
    problems = loaded(tmp_path, '[api]\ntoken_file = "${CREDENTIALS_DIRECTORY}/api.token"\n').problems
    assert "/run/credentials/demesh.service" in problems[0]
