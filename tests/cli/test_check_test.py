"""`demesh check test`: one probe by hand, and what is said of it."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import trio

from demesh.cli import LazyGroup, root
from demesh.cli.trying import _progress
from demesh.outcome import Outcome, ProbeResult
from tests.certificates import Authority
from tests.cli.harness import Ran, demesh
from tests.e2e.harness import HttpsServer, WebServer

check = LazyGroup("check", lazy={"test": "demesh.cli.check_test:test"})


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(root._lazy, "check", f"{__name__}:check")


@pytest.fixture
def server() -> Generator[WebServer]:
    with WebServer() as running:
        yield running


def tried(home: Path, *arguments: str) -> Ran:
    return demesh(home, "check", "test", *arguments)


def told(ran: Ran) -> dict[str, Any]:
    return json.loads(ran.out)


def test_a_pass_is_told_with_phases_address_protocol_and_expectations(tmp_path: Path, server: WebServer):
    ran = tried(tmp_path, server.url + "/?token=s3cret", "--expect-body", "^Welcome")
    assert (ran.code, ran.err) == (0, "")
    lines = [line.split() for line in ran.out.splitlines() if line.strip()]
    assert lines[0] == ["✔", server.url + "/", "pass"]
    for expected in (
        ["address", "127.0.0.1"],
        ["protocol", "HTTP/1.0"],
        ["status", "200"],
        ["✔", "status", "is", "200-299"],
        ["✔", "body", "matches", "/^Welcome/"],
    ):
        assert expected in lines
    for phase in (r"name lookup", "connect", "first byte", "transfer", "total"):
        assert re.search(rf"^  {phase} +\d+\.\d ms$", ran.out, re.MULTILINE)
    assert "s3cret" not in ran.out


def test_a_refused_connection_is_explained(tmp_path: Path):
    ran = tried(tmp_path, "http://127.0.0.1:1/")
    assert ran.code == 1
    first, second, *_ = ran.out.splitlines()
    assert first == "✘ http://127.0.0.1:1/  fail: connection refused"
    assert second.strip() == "The host is up, but nothing listens on port 1, or a firewall says no in its name."
    assert "· status is 200-299" in ran.out


def test_a_certificate_is_told_with_its_days(tmp_path: Path, authority: Authority):
    with HttpsServer(authority.server("tried", days=10)) as server:
        believed = tried(tmp_path, server.url, "--ca-file", authority.ca_file)
        refused = tried(tmp_path, server.url)
        insecure = tried(tmp_path, server.url, "--insecure")
    assert (believed.code, refused.code, insecure.code) == (0, 1, 0)
    assert re.search(r"certificate +expires \d{4}-\d\d-\d\d \d\d:\d\d UTC, in 9 days", believed.out)
    assert re.search(r"  TLS +\d+\.\d ms", believed.out)
    assert "issuer is not trusted" in refused.out
    assert "name its CA file" in refused.out


def test_each_failed_expectation_is_marked_with_its_actual_value(tmp_path: Path, server: WebServer):
    server.status = 503
    ran = tried(tmp_path, server.url, "--expect-body", "^Goodbye")
    assert ran.code == 1
    assert "The server answers, with status 503 (Service Unavailable)." in ran.out
    assert "✘ status 503, expected 200-299" in ran.out
    assert "✘ body does not match /^Goodbye/: 8 characters\n" in ran.out + "\n"
    shown = tried(tmp_path, server.url, "--expect-status", "500-599", "--expect-body", "^Goodbye", "--show-actual")
    assert "✔ status is 500-599" in shown.out
    assert "✘ body does not match /^Goodbye/: 'Welcome\\n'" in shown.out


def test_json_says_the_same(tmp_path: Path, authority: Authority):
    with HttpsServer(authority.server("tried-json", days=10)) as server:
        answer = told(tried(tmp_path, server.url, "--ca-file", authority.ca_file, "--json"))
    assert (answer["outcome"], answer["status"], answer["type"]) == ("pass", 200, "http")
    assert answer["certificate_days_left"] == 9
    expires = datetime.fromisoformat(str(answer["certificate_expires_at"]))
    assert expires.tzinfo == UTC
    assert answer["expectations"] == [{"key": "status", "expected": "status is 200-299", "held": True, "actual": None}]
    assert list(answer["phases_ms"]) == ["dns", "connect", "tls", "first_byte", "transfer"]


def test_a_check_is_tried_as_the_configuration_has_it(tmp_path: Path, server: WebServer):
    (tmp_path / "demesh.toml").write_text(
        f'[[check]]\nname = "blog"\ntarget = "{server.url}"\nexpect = {{ status = 204, body = "Welcome" }}\n'
    )
    ran = tried(tmp_path, "blog", "--json")
    assert ran.code == 1
    assert told(ran)["check"] == "blog"
    assert [(each["key"], each["held"]) for each in told(ran)["expectations"]] == [
        ("status", False),
        ("body", True),
    ]
    elsewhere = tmp_path / "elsewhere"
    assert tried(elsewhere, "blog", "--config", str(tmp_path / "demesh.toml")).code == 1
    assert tried(elsewhere, "blog", "--data-dir", str(tmp_path)).code == 1


def test_a_check_of_a_list_is_tried_at_public_addresses_only(tmp_path: Path, server: WebServer):
    name = server.url.replace("127.0.0.1", "localhost")
    for listed, code, said in (("false", 0, "pass"), ("true", 1, "no public address")):
        (tmp_path / "demesh.toml").write_text(f'[[check]]\nname = "a"\ntarget = "{name}"\nlisted = {listed}\n')
        ran = tried(tmp_path, "a")
        assert (ran.code, said in ran.out) == (code, True), ran.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nosuch",), "has no check named 'nosuch'; it has blog."),
        (("blog", "--timeout", "1s"), "--timeout goes with a URL"),
        (("blog", "-4"), "-4 goes with a URL"),
        (("ftp://x/",), "must begin with one of"),
        (("http://",), "names no host"),
        (("dns://",), "names no domain"),
        (("dns:///",), "names no domain"),
        (("ping://h/s3cret",), "has no path"),
        (("tcp://h:1/?s3cret",), "neither user info nor query"),
        (("http://x/", "--timeout", "1"), "--timeout: '1' is not a duration"),
        (("http://x/", "--timeout", "1d"), "--timeout: must lie between"),
        (("http://x/", "--expect-status", "20x"), "--expect-status: '20x' is no status"),
        (("http://x/", "--expect-status", "299-200"), "is no status"),
        (("http://x/", "--expect-body", "("), "--expect-body: not a regular expression"),
        (("http://x/", "--header", "s3cret"), "--header: write it as 'NAME: VALUE'."),
        (("http://x/", "-4", "-6"), "leave nothing to try"),
        (("--config", "/nonexistent/demesh.toml", "x"), "There is no /nonexistent/demesh.toml"),
        ((), "Missing argument"),
        (("http://x/", "--nosuch"), "No such option"),
    ],
)
def test_what_cannot_be_tried_is_refused_in_a_sentence(tmp_path: Path, arguments: tuple[str, ...], said: str):
    (tmp_path / "demesh.toml").write_text('[[check]]\nname = "blog"\ntarget = "http://127.0.0.1:1"\n')
    ran = tried(tmp_path, *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert ran.out == ""
    assert "s3cret" not in ran.err


def test_options_say_how_it_is_tried(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://localhost:{listener.getsockname()[1]}/"
        silent = tried(
            tmp_path, url, "--timeout", "200ms", "-4", "--method", "DELETE", "--header", "X-A: b", "--body", "c"
        )
        connection, _ = listener.accept()
        request = connection.recv(4096)
        connection.close()
    assert silent.code == 1
    assert "timeout: no complete answer within 200 ms, still waiting for the first byte" in silent.out
    assert request.startswith(b"DELETE / HTTP/1.1\r\n")
    assert b"X-A: b\r\n" in request
    assert request.endswith(b"\r\n\r\nc")
    assert "only IPv6 may be used" in tried(tmp_path, "http://127.0.0.1:1/", "-6").out


def test_a_probe_that_breaks_is_an_error_without_its_text(tmp_path: Path):
    async def broken(_: object) -> ProbeResult:
        raise RuntimeError("s3cret")

    with patch("demesh.probes.registry._MAKERS", {"http": lambda _: broken}):
        ran = tried(tmp_path, "http://127.0.0.1:1/")
    assert ran.code == 1
    assert "error: the probe failed: RuntimeError" in ran.out
    assert "s3cret" not in ran.out + ran.err


def test_a_probe_that_does_not_end_is_ended(tmp_path: Path):
    async def endless(_: object) -> ProbeResult:
        await trio.sleep_forever()
        return ProbeResult(Outcome.PASS)

    started = time.monotonic()
    with patch("demesh.probes.registry._MAKERS", {"http": lambda _: endless}):
        ran = tried(tmp_path, "http://127.0.0.1:1/", "--timeout", "100ms")
    assert time.monotonic() - started < 10
    assert ran.code == 1
    assert "timeout: no answer within 100 ms" in ran.out


def test_nothing_of_a_target_moves_the_terminal(tmp_path: Path, server: WebServer):
    ran = tried(tmp_path, server.url + "/%1b[2J", "--expect-body", "\x1b")
    assert "\x1b" not in ran.out


@pytest.mark.trio
async def test_the_wait_is_told_after_two_seconds_and_wiped(
    capsys: pytest.CaptureFixture[str], autojump_clock: trio.testing.MockClock
):
    with trio.move_on_after(1.9):
        await _progress(10_000)
    quiet = capsys.readouterr().err
    with trio.move_on_after(3.5):
        await _progress(10_000)
    assert "no answer yet" not in quiet
    assert capsys.readouterr().err == "\rno answer yet: 2 s of 10 s\rno answer yet: 3 s of 10 s\r"


_COMMAND = "from demesh.cli import root, main; root._lazy['t'] = 'demesh.cli.check_test:test'; main()"


def test_it_starts_without_what_only_a_node_needs():
    program = (
        f"import sys\nsys.argv = ['demesh', 't', 'http://127.0.0.1:1/']\ntry:\n    {_COMMAND}\nexcept SystemExit: pass\n"
        "print(sorted({'libp2p', 'fastapi', 'apsw', 'pydantic', 'jsonpath', 'cbor2'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


@pytest.mark.e2e
def test_an_interrupt_ends_it_without_a_traceback():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, "t", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        listener.settimeout(20)
        connection, _ = listener.accept()
        connection.recv(4096)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        connection.close()
    assert process.returncode == 130
    assert (out, err) == ("", "")


def test_a_target_that_the_environment_fills_is_told_as_written(tmp_path: Path, server: WebServer):
    (tmp_path / "demesh.toml").write_text(f'[[check]]\nname = "web"\ntarget = "{server.url}/${{S}}"\n')
    ran = demesh(tmp_path, "check", "test", "web", S="sesame")
    assert f"{server.url}/${{S}}  pass" in ran.out
    assert "sesame" not in ran.out
