"""`demesh log tail|export`: what the entries in the store say, with the node running or not."""

import json
import signal
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import BinaryIO

import click

from demesh.cli import options
from demesh.cli.log import open_store
from demesh.cli.progress import Progress
from demesh.cli.terminal import printable
from demesh.clock import SystemClock
from demesh.config.moment import parse_moment
from demesh.errors import UsageError
from demesh.home import find_home
from demesh.log.entry import BadRow, Entry, Kind, encode_envelope
from demesh.log.export import DAMAGED, Reader, chosen, iso_ms, kind_name
from demesh.log.replay import context
from demesh.log.state import LogState
from demesh.log.store import Store

_FOLLOW_SECONDS = 0.5

_log = click.option("--log", "wanted", metavar="NODE|ID", help="Only the logs of this node, or whose id begins so.")


@click.command()
@click.option("-n", "number", metavar="N", type=click.IntRange(0, 100_000), default=20, show_default=True)
@_log
@click.option("--kind", metavar="KIND", help="Only entries of this kind, as its name or number.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is stored from now on, until interrupted.")
@options.as_json
@options.data_dir
def tail(number: int, wanted: str | None, kind: str | None, follow: bool, as_json: bool, data_dir: str | None) -> None:
    """The newest entries in the store, oldest first, as their authors' clocks date them.

    \b
    Examples:
      demesh log tail -n 50 --log nas --kind results
      demesh log tail --follow --json
    """
    of_kind = _kind(kind)
    if follow:
        signal.signal(signal.SIGTERM, _end)
    with open_store(find_home(data_dir)) as store:
        reader = Reader(store)
        states = _states(reader, store, wanted)
        rows = [row for state in states for row in store.tail(state.log, number, of_kind)]
        rows.sort(key=lambda row: row.wall_ms if isinstance(row, Entry) else 0)
        for row in rows[len(rows) - number :] if number < len(rows) else rows:
            _echo(reader, row, as_json)
        if follow:
            for row in _following(reader, store, wanted, states):
                if isinstance(row, BadRow) or of_kind in (None, row.kind):
                    _echo(reader, row, as_json)


@click.command()
@_log
@click.option(
    "--since",
    metavar="WHEN",
    help="Only what is dated since then, and what it builds on: 24h, 7d, or 2025-01-31T12:00Z.",
)
@click.option("--format", "form", type=click.Choice(["jsonl", "cbor"]), default="jsonl", show_default=True)
@click.option("--output", "-o", metavar="FILE", type=click.Path(path_type=Path), help="Write here [default: stdout].")
@options.data_dir
def export(wanted: str | None, since: str | None, form: str, output: Path | None, data_dir: str | None) -> None:
    """Write every entry whole, log by log: to look at, to keep, or to verify elsewhere.

    jsonl has an entry a line: what it says, and its envelope in base64. cbor has the envelopes alone, one after the other
    (docs/protocol.md, "Entry"). Exits with 1 if an entry is damaged.

    \b
    Examples:
      demesh log export --since 24h > entries.jsonl
      demesh log export --log nas --format cbor -o nas.cbor
    """
    from_ms = _since_ms(since, SystemClock().wall_ms()) if since else 0
    damaged = 0
    with open_store(find_home(data_dir)) as store, store.snapshot():
        reader = Reader(store)
        states = _states(reader, store, wanted)
        rows = (row for state in states for row in _since(store, state, from_ms))
        progress = Progress(sum(state.head.seq + 1 - state.pruned_to for state in states), "entry", "entries")
        with _sink(output) as sink:
            for row in progress.through(rows):
                if isinstance(row, BadRow):
                    damaged += 1
                    click.echo(f"log {row.log.hex()[:8]} entry {row.seq}: {DAMAGED}", err=True)
                if form == "jsonl":
                    sink.write(json.dumps(reader.record(row)).encode() + b"\n")
                elif isinstance(row, Entry):
                    sink.write(encode_envelope(row))
    progress.end()
    sys.exit(1 if damaged else 0)


def _echo(reader: Reader, row: Entry | BadRow, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(reader.record(row)))
        return
    node = reader.name(row.log) or row.log.hex()[:8]
    if isinstance(row, BadRow):
        when, kind, said = "?", "?", DAMAGED
    else:
        when, kind, said = iso_ms(row.wall_ms) or "?", kind_name(row.kind), reader.line(row)
    click.echo(printable(f"{when:<24}  {node:<16} {row.seq:>8}  {kind:<10}  {said}"))


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _following(reader: Reader, store: Store, wanted: str | None, states: list[LogState]) -> Iterator[Entry | BadRow]:
    """What is stored behind the heads in `states`, and in logs that begin later."""
    seen = {state.log: state.head.seq for state in states}
    while True:
        time.sleep(_FOLLOW_SECONDS)
        for state in chosen(reader, store.logs(), wanted):
            first = seen.get(state.log, -1) + 1
            yield from store.each(state.log, first, state.head.seq)
            seen[state.log] = state.head.seq


def _states(reader: Reader, store: Store, wanted: str | None) -> list[LogState]:
    states = store.logs()
    found = chosen(reader, states, wanted)
    if not found and wanted is not None:
        names = sorted({reader.name(state.log) or state.log.hex()[:8] for state in states})
        raise UsageError(f"No log here is {wanted!r}. There are: {printable(', '.join(names)) or 'none yet'}.")
    return found


def _kind(text: str | None) -> int | None:
    if text is None:
        return None
    if text.isdecimal() and int(text) < 2**16:
        return int(text)
    if text.upper() in Kind.__members__:
        return Kind[text.upper()]
    known = ", ".join(kind.name.lower() for kind in Kind)
    raise UsageError(f"--kind: {text!r} is none. There are {known}, or a number below 65536.")


def _since(store: Store, state: LogState, from_ms: int) -> Iterator[Entry | BadRow]:
    """A log from the first entry on that is dated since then, and what that builds on: a hello, and the plans in use."""
    begun = from_ms == 0
    for row in store.each(state.log):
        if not begun and isinstance(row, Entry) and row.wall_ms >= from_ms:
            begun = True
            yield from context(store, state.log, row.seq)
        if begun or isinstance(row, BadRow):
            yield row


def _since_ms(text: str, now_ms: int) -> int:
    try:
        return parse_moment(text, now_ms)
    except ValueError as error:
        raise UsageError(f"--since: {error}.") from None


@contextmanager
def _sink(output: Path | None) -> Generator[BinaryIO]:
    """Where the export goes; a file appears under its name once it is whole."""
    if output is None:
        yield sys.stdout.buffer
        return
    part = output.with_name(output.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(output)
    except OSError as error:
        raise UsageError(f"Cannot write {output}: {error.strerror}.") from None
    finally:
        part.unlink(missing_ok=True)
