"""`demesh status --watch` on a real terminal: it draws in place, follows its size, and gives it back as it was."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.answering import url_answering
from tests.cli.harness import demesh
from tests.cli.status_answers import FULL

_PATH = "/api/v1/status"
_SECONDS = 20
_ENTER, _LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"


class _Terminal:
    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(100, 30)
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        self.output = b""
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "demesh", "status", "--watch", "0.5", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**kept, "TERM": "xterm"},
            start_new_session=True,
        )

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, wanted: bytes) -> bytes:
        """What came up to and including `wanted`."""
        deadline = time.monotonic() + _SECONDS
        while wanted not in self.output:
            ready, _, _ = select.select([self._ours], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"no {wanted!r} in {self.output[-2_000:]!r}")
            self.output += os.read(self._ours, 65_536)
        found, _, self.output = self.output.partition(wanted)
        return found + wanted

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    @property
    def is_as_before(self) -> bool:
        return termios.tcgetattr(self._theirs) == self.before

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


@contextmanager
def _watched(answers: dict[str, object]) -> Generator[_Terminal]:
    with url_answering(answers) as url:
        terminal = _Terminal("--node", url)
        try:
            yield terminal
        finally:
            terminal.close()


@pytest.mark.parametrize("end", ["key", "interrupt", "terminate"])
def test_the_terminal_is_given_back_as_it_was_however_it_ends(end: str) -> None:
    with _watched({_PATH: FULL}) as terminal:
        terminal.until(_ENTER)
        assert b"\x1b[31m\x1b[1m\xe2\x9c\x96 shop" in terminal.until(b"! DemeshCheckDown")
        if end == "key":
            terminal.press(b"q")
        else:
            terminal.process.send_signal(signal.SIGINT if end == "interrupt" else signal.SIGTERM)
        assert b"\x1b[?25h" in terminal.until(_LEAVE), "the cursor is back"
        assert terminal.process.wait(_SECONDS) == 0
        assert terminal.is_as_before


def test_each_frame_is_drawn_over_the_one_before_and_fits_the_terminal_whatever_its_size() -> None:
    with _watched({_PATH: FULL}) as terminal:
        terminal.until(_ENTER)
        for columns, lines in ((100, 30), (50, 8), (120, 40)):
            terminal.resize(columns, lines)
            os.kill(terminal.process.pid, signal.SIGWINCH)
            deadline = time.monotonic() + _SECONDS
            while True:
                terminal.until(b"\x1b[?2026h\x1b[H")
                drawn = terminal.until(b"\x1b[?2026l")
                header = drawn.partition(b"\r\n")[0]
                if (b"asked: nas" in header) == (columns > 90) and drawn.count(b"\r\n") <= lines:
                    break
                assert time.monotonic() < deadline
        assert _ENTER not in terminal.output, "it is entered once"


def test_a_node_that_stops_answering_is_told_and_taken_up_again() -> None:
    answers: dict[str, object] = {_PATH: FULL}
    with _watched(answers) as terminal:
        terminal.until(b"asked: nas")
        del answers[_PATH]
        terminal.until("… no answer for".encode())
        terminal.until(b"shop")
        answers[_PATH] = {**FULL, "node": "vps"}
        terminal.until(b"asked: vps")


def test_what_is_no_screen_gets_one_frame_below_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def interrupt(_self: object, _seconds: float) -> None:
        told.append("waited")
        raise KeyboardInterrupt

    monkeypatch.setattr("demesh.cli.full_screen.FullScreen.wait", interrupt)
    written: list[str] = []
    monkeypatch.setattr("demesh.cli.full_screen.FullScreen._write", lambda _self, text: written.append(text))
    with url_answering({_PATH: FULL}) as url:
        ran = demesh(tmp_path / "home", "status", "--node", url, "--watch", "sho*")
    assert (ran.code, told) == (0, ["waited"])
    assert written[0].endswith("\n\n")
    assert "✖ shop" in written[0]
    assert "✔ blog" not in written[0], "what is no number is a name"
    assert "\x1b" not in written[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--watch", "--json"], "leave one of them out"),
        (["--watch", "0.1"], "--watch takes 0.5 to 3600 seconds, not 0.1."),
        (["--watch", "nan"], "--watch takes 0.5 to 3600 seconds"),
    ],
)
def test_what_cannot_be_watched_is_refused(arguments: list[str], said: str, tmp_path: Path) -> None:
    ran = demesh(tmp_path / "home", "status", "--node", "http://127.0.0.1:9", *arguments)
    assert ran.code == 2
    assert said in ran.err
