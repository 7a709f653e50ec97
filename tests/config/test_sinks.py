"""Direct sinks and the heartbeat in the configuration: what is taken, what is refused and where, and that URLs stay secret."""

from pathlib import Path

import pytest

from demesh.alerts.template import Template
from tests.config.files import loaded, settings

_WHOLE = """
[[notify]]
url = "https://hooks.example.net/services/sesame"
[[notify]]
url_file = "url"
name = "phone"
severity = "critical"
send_resolved = false
repeat_every = "4h"
title = "{state} {subject}"
body = "{{{summary}}}"
[[notify]]
url = "https://${HOOK}"
severity = ["critical", "warning"]
token_file = "token"
[alerts]
heartbeat_url_file = "beat"
"""


def _files(directory: Path) -> None:
    (directory / "url").write_text("tgram://1:sesame/sesame\n")
    (directory / "token").write_text("sesame\n")
    (directory / "beat").write_text("https://beats.example.net/sesame?sesame\n")


def test_sinks_are_taken_as_they_are_told(tmp_path: Path) -> None:
    _files(tmp_path)
    found = settings(tmp_path, _WHOLE, HOOK="me:sesame@other.example.net:8443/sesame")
    first, second, third = found.sinks
    assert (first.url, first.name, first.send_resolved, first.repeat_every_ms) == (
        *("https://hooks.example.net/services/sesame", "https://hooks.example.net"),
        *(True, None),
    )
    assert first.wants("critical")
    assert not first.wants("none"), "what is only a sign of life pages nobody"
    assert (second.url, second.name) == ("tgram://1:sesame/sesame", "phone")
    assert (second.send_resolved, second.repeat_every_ms) == (False, 4 * 3_600_000)
    assert (second.title, second.body) == (Template("{state} {subject}"), Template("{{{summary}}}"))
    assert (second.wants("critical"), second.wants("warning")) == (True, False)
    assert (third.name, third.token_file) == ("https://other.example.net:8443", tmp_path / "token")
    assert found.heartbeat_url == "https://beats.example.net/sesame?sesame"
    assert "sesame" not in repr(found)


_ONE = '[[notify]]\nurl = "https://hooks.example.net/sesame"\n'
_REFUSED = {
    "a placeholder that is none": (
        f'{_ONE}title = "sesame {{nam}}"',
        3,
        "notify[1].title: has a placeholder that is none",
    ),
    "an attribute": (f'{_ONE}body = "{{name.upper}}"', 3, "there are {name}, {subject}"),
    "a lonely brace": (f'{_ONE}body = "sesame {{"', 3, "write {{ or }} for a plain one"),
    "a repeat that is a flood": (f'{_ONE}repeat_every = "1s"', 3, "must lie between 1m and 30d"),
    "a token that is not there": (f'{_ONE}token_file = "no"', 3, "cannot be read: No such file"),
    "no severity": (f"{_ONE}severity = 1", 3, "notify[1].severity"),
    "a token for Apprise": ('[[notify]]\nurl = "ntfy://a"\ntoken_file = "token"', 3, "is for webhooks"),
    "what Apprise does not know": (
        '[[notify]]\nurl = "nosuch://sesame"',
        2,
        "notify[1].url: Apprise makes nothing of this URL",
    ),
    "a webhook without a host": ('[[notify]]\nurl = "https:///sesame"', 2, "not the URL of a webhook"),
    "two heartbeats": (
        '[alerts]\nheartbeat_url = "https://a"\nheartbeat_url_file = "beat"',
        3,
        "one of the two is enough",
    ),
    "a heartbeat that is no URL": ('[alerts]\nheartbeat_url = "ftp://a/sesame"', 2, "not a URL that can be fetched"),
    "a heartbeat's file that holds none": ('[alerts]\nheartbeat_url_file = "token"', 2, "does not hold a URL"),
    "both": ('[[notify]]\nurl = "ntfy://a"\nurl_file = "url"', 1, "needs either url or url_file"),
    "too many": ('[[notify]]\nurl = "ntfy://a"\n' * 33, 1, "at most 32"),
}


@pytest.mark.parametrize(("text", "line", "says"), _REFUSED.values(), ids=_REFUSED)
def test_a_mistake_is_refused_with_its_line_and_without_the_secret(
    text: str, line: int, says: str, tmp_path: Path
) -> None:
    _files(tmp_path)
    found = loaded(tmp_path, text)
    assert found.settings is None
    (problem,) = found.problems
    assert problem.startswith(f"{tmp_path}/demesh.toml:{line}: ")
    assert says in problem
    assert "sesame" not in problem


def test_files_of_sinks_are_watched(tmp_path: Path) -> None:
    _files(tmp_path)
    read = loaded(tmp_path, _WHOLE, HOOK="a").configuration.files.read
    assert {tmp_path / name for name in ("url", "token", "beat")} <= read
