"""How far a command is, for a person who waits: on stderr, only at a terminal, only when it takes longer than two seconds."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import click

from demesh.cli.terminal import count
from demesh.clock import SystemClock

_T = TypeVar("_T")
_PATIENCE_MS = 2_000
_STEP_MS = 500
_ITEMS_BETWEEN_LOOKS = 256
_BYTES_IN_PATIENCE = 100_000_000  # what a slow disk copies meanwhile


class Progress:
    """Counts what has been done of `total`."""

    def __init__(self, total: int, one: str, many: str) -> None:
        self.done = 0
        self._total = count(total, one, many)
        self._clock = SystemClock()
        self._began_ms = self._said_ms = self._clock.monotonic_ms()

    def through(self, items: Iterable[_T]) -> Iterator[_T]:
        """`items`, counted."""
        for item in items:
            self.done += 1
            yield item
            if self.done % _ITEMS_BETWEEN_LOOKS == 0 and sys.stderr.isatty():
                self._tell(self._clock.monotonic_ms())

    def end(self) -> None:
        """Leave the line, if there is one."""
        if self._said_ms != self._began_ms:
            click.echo(err=True)

    def _tell(self, now_ms: int) -> None:
        if now_ms - self._began_ms > _PATIENCE_MS and now_ms - self._said_ms > _STEP_MS:
            self._said_ms = now_ms
            click.echo(f"\r{self.done:,} of {self._total} ", nl=False, err=True)


def announce(doing: str, file: Path) -> None:
    """Say what is being done with `file` if it is so large that it takes a while."""
    size = file.stat().st_size if file.exists() else 0
    if size > _BYTES_IN_PATIENCE and sys.stderr.isatty():
        click.echo(f"{doing} {file} ({size / 1e6:,.0f} MB)…", err=True)
