"""The whole terminal as one screen that is drawn again and again, and given back as it was.

A frame is written at once, over the one before, so nothing flickers. What is no terminal gets the frames one below the other.
"""

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from demesh.cli.table import Line, painted, text_width, width
from demesh.cli.watching import Woken

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # the alternate screen, no cursor, no wrapping
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_BEGIN, _END = "\x1b[?2026h\x1b[H", "\x1b[?2026l"  # a terminal that knows 2026 shows all in between at once
_END_OF_LINE, _END_OF_SCREEN = "\x1b[K", "\r\n\x1b[J"
_QUIT_KEYS = b"qQ\x03\x04"


class FullScreen:
    def __init__(self) -> None:
        self._is_screen = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._keys = sys.stdin.fileno() if self._is_screen and sys.stdin.isatty() else None
        self._signals = -1
        self._before: list[Any] | None = None
        """How the terminal was."""

    @contextmanager
    def held(self) -> Generator[None]:
        """Within it the terminal is ours; it is given back however this ends."""
        self._before = termios.tcgetattr(self._keys) if self._keys is not None else None
        self._signals, woken = os.pipe()
        for end in (self._signals, woken):
            os.set_blocking(end, False)
        wakes_before = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        handlers = {
            signal.SIGWINCH: signal.signal(signal.SIGWINCH, _heed),
            signal.SIGTSTP: signal.signal(signal.SIGTSTP, self._suspend),
            **{each: signal.signal(each, _end) for each in (signal.SIGTERM, signal.SIGHUP)},
        }
        try:
            self._take()
            yield
        finally:
            with suppress(OSError):  # the terminal may be what ended this
                self._give_back()
            for each, handler in handlers.items():
                signal.signal(each, handler)
            signal.set_wakeup_fd(wakes_before)
            os.close(woken)
            os.close(self._signals)

    def size(self) -> tuple[int, int | None]:
        """Columns, and lines if there is an end to them."""
        if not self._is_screen:
            return width(), None
        size = os.get_terminal_size(sys.stdout.fileno())  # COLUMNS does not change with it
        return size.columns or 80, size.lines or 24

    def show(self, lines: Sequence[Line]) -> None:
        """Draw a frame. It should be of no more lines than there are."""
        if self._is_screen:
            columns, lines_max = self.size()
            drawn = "\r\n".join(_wiped(line, columns) for line in lines)
            wiped = "" if len(lines) == lines_max else _END_OF_SCREEN
            self._write(f"{_BEGIN}{drawn}{wiped}{_END}")
        else:
            self._write("".join(f"{painted(line)}\n" for line in (*lines, ())))

    def wait(self, seconds: float) -> Woken:
        """Until `seconds` are over, a key was pressed or the terminal is another one."""
        watched = [self._signals] if self._keys is None else [self._signals, self._keys]
        ready, _, _ = select.select(watched, [], [], seconds)
        if self._keys in ready and any(key in _QUIT_KEYS for key in os.read(self._keys or 0, 64) or _QUIT_KEYS):
            return Woken.QUIT
        if self._signals in ready:
            os.read(self._signals, 64)
        return Woken.LOOK if ready else Woken.TIME

    def _take(self) -> None:
        if self._keys is not None:
            tty.setcbreak(self._keys)
        if self._is_screen:
            self._write(_ENTER)

    def _give_back(self) -> None:
        if self._is_screen:
            self._write(_LEAVE)
        if self._keys is not None and self._before is not None:
            termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)

    def _suspend(self, _signal: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: the shell has the terminal until it brings us back."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()

    def _write(self, text: str) -> None:
        sys.stdout.flush()
        data = text.encode(sys.stdout.encoding or "utf-8", "replace")
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]


def _wiped(line: Line, columns: int) -> str:
    """A line, and what the frame before left behind it; behind a whole one that would be its own last character."""
    wide = sum(text_width(text) for text, _ in line)
    return painted(line) + (_END_OF_LINE if wide < columns else "")


def _heed(_signal: int, _frame: FrameType | None) -> None:
    """It comes through the pipe."""


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
