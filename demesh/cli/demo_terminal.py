"""How the demo shows itself on a terminal, and what ends it.

On a terminal one line counts while something is waited for, and there is time to read; elsewhere lines only follow each other.
"""

import os
import select
import signal
import stat
import subprocess
import sys
import termios
import textwrap
from contextlib import suppress
from types import FrameType

import click

from demesh.cli.table import say, width
from demesh.clock import Clock
from demesh.demo.nodes import DemoNode
from demesh.demo.phone import Call, What

_COLUMNS_MAX = 100
_CLEAR_LINE = "\r\x1b[K"
_READING_SECONDS = 6
_COMMAND_COLUMNS = 70
_STDIN = 0
_TYPED_BYTES_MAX = 1_024
_STYLES = {
    **dict.fromkeys(("up", "alive"), "green"),
    **dict.fromkeys(("down", "silent"), "bold red"),
    **dict.fromkeys(("partial", "suspect"), "yellow"),
}


class Ended(Exception):
    """Somebody asked the demo to end."""


class Ending:
    """Takes the signals that ask the demo to end; a rest that is going on, or the next one, then raises Ended.

    Nothing is broken off halfway, so every process that was started is known to whoever ends it.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._typed = b""
        self._input_over = False
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, self._take)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        with suppress(BlockingIOError):
            os.write(self._write, b"!")

    @property
    def asked(self) -> bool:
        """Whether somebody asked the demo to end."""
        ready, _, _ = select.select([self._read], [], [], 0)
        return bool(ready)

    def rest(self, seconds: float, *, or_line: bool = False) -> str | None:
        """Wait so long; with `or_line` until a line comes in, which is returned.

        Raises Ended, also when the input ends because whoever types has gone; a file or /dev/null only has no more lines.
        """
        reads = or_line and not self._input_over
        if b"\n" not in self._typed:
            ready, _, _ = select.select([self._read, *([_STDIN] if reads else [])], [], [], seconds)
            if self._read in ready:
                raise Ended
            if _STDIN in ready:
                self._take_typed()
        if not reads or b"\n" not in self._typed:
            return None
        line, _, self._typed = self._typed.partition(b"\n")
        return line.decode("utf-8", "replace").strip()

    def forget_typed(self) -> None:
        """What was typed before it was asked for is no answer."""
        self._typed = b""
        if os.isatty(_STDIN):
            with suppress(termios.error):
                termios.tcflush(_STDIN, termios.TCIFLUSH)

    def _take_typed(self) -> None:
        data = os.read(_STDIN, _TYPED_BYTES_MAX)
        self._typed = (self._typed + data)[-_TYPED_BYTES_MAX:]
        if not data and (os.isatty(_STDIN) or stat.S_ISFIFO(os.fstat(_STDIN).st_mode)):
            raise Ended
        self._input_over = not data


class Terminal:
    """The narrator of `demesh.demo.stage`. `program` is what the person types for demesh."""

    def __init__(self, ending: Ending, clock: Clock, program: str) -> None:
        self._ending = ending
        self._clock = clock
        self.program = program
        self._live = sys.stdout.isatty()
        self._reads = self._live and sys.stdin.isatty()
        self._counting = False

    @property
    def columns(self) -> int:
        return min(width(), _COLUMNS_MAX)

    def line(self, text: str = "", style: str = "") -> None:
        self._clear()
        say((text, style))

    def tell(self, text: str) -> None:
        for line in textwrap.wrap(text, self.columns, break_on_hyphens=False):
            self.line(line)

    def title(self, text: str) -> None:
        self.line()
        self.line(f"━━ {text} ".ljust(self.columns, "━"), "bold")

    def happened(self, text: str, seconds: float) -> None:
        self.line(f"  ✔ {text}  ({seconds:.0f} s)", "green")

    def turned(self, text: str, state: str) -> None:
        """Something changed in what a node says."""
        self.line(f"  · {text}", _STYLES.get(state, ""))

    def waiting(self, text: str, seconds: float) -> None:
        if not self._live:
            return
        shown = f"  … {seconds:.0f} s  {text}"[: self.columns - 1]
        click.echo(f"{_CLEAR_LINE}{shown}", nl=False)
        self._counting = True

    def phone(self, call: Call) -> None:
        title, summary = call.alert.title, call.alert.summary
        if call.what is What.ENDED:
            rang = ", rang once" if call.alert.rings else ""
            self.line(f"  ☎ resolved: {title}  (told {call.told} times{rang})", "cyan")
        elif call.alert.rings:
            self.line(f"  ☎ your phone rings: {title}", "bold magenta")
            self.line(f"    {summary}", "magenta")
        else:
            self.line(f"  ☎ noted, without a ring: {title} — {summary}", "dim")

    def suggest(self, command: str, what: str) -> None:
        """A command to copy."""
        if len(line := f"  {command:{_COMMAND_COLUMNS}}  # {what}") <= width():
            self.line(line)
        else:
            self.line(f"  # {what}", "dim")
            self.line(f"  {command}")

    def look(self, node: DemoNode) -> None:
        self.line()
        self.line(f"$ {self.program} status --data-dir {node.home.path}", "bold")
        color = {"FORCE_COLOR": "1"} if self._live and not os.environ.get("NO_COLOR") else {}
        ran = subprocess.run(
            [sys.executable, "-m", "demesh", "status", "--data-dir", str(node.home.path)],
            cwd=node.home.path,
            env={**os.environ, **color, "COLUMNS": str(self.columns)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
            start_new_session=True,
        )
        click.echo((ran.stdout + ran.stderr).rstrip())
        self.line()
        self.let_read()

    def let_read(self) -> None:
        """Time to read, for a person; Enter goes on."""
        self._ending.forget_typed()
        until_ms = self._clock.monotonic_ms() + _READING_SECONDS * 1_000
        while self._reads and (left_ms := until_ms - self._clock.monotonic_ms()) > 0:
            click.echo(f"{_CLEAR_LINE}  … goes on in {-(-left_ms // 1_000)} s (Enter: now)", nl=False)
            self._counting = True
            if self._ending.rest(min(1, left_ms / 1_000), or_line=True) is not None:
                click.echo("\x1b[A", nl=False)  # back up to the line that Enter left
                break
        self._clear()

    def _clear(self) -> None:
        if self._counting:
            click.echo(_CLEAR_LINE, nl=False)
            self._counting = False
