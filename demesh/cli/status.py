"""`demesh status`: what the mesh knows, from this machine."""

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from demesh import limits
from demesh.cli import options
from demesh.cli.client import ask
from demesh.cli.status_checks import Room, Wanted, matching, shown, up_shown_max
from demesh.cli.status_screen import Asked, screen
from demesh.cli.table import Cell, flow, say, width
from demesh.cli.terminal import ago, printable
from demesh.clock import SystemClock
from demesh.errors import NodeNotRunning, UsageError
from demesh.home import Home, find_home, running_node

_EXIT_CODES = {"up": 0, "paused": 0, "partial": 1, "late": 1, "flapping": 1, "silent": 1, "down": 2, "unknown": 3}
_WATCH_SECONDS = "2"


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("-a", "--all", "everything", is_flag=True, help="Show everything, however much it is.")
@click.option("--down", "only_down", is_flag=True, help="Show only the checks that are not up.")
@click.option(
    "--watch",
    is_flag=False,
    flag_value=_WATCH_SECONDS,
    metavar="[SECONDS]",
    help=f"Draw it anew every so many seconds [default: {_WATCH_SECONDS}] until q or Ctrl-C.",
)
@options.as_json
@options.node_url
@options.data_dir
def status(
    names: tuple[str, ...],
    everything: bool,
    only_down: bool,
    watch: str | None,
    as_json: bool,
    node_url: str | None,
    data_dir: str | None,
) -> None:
    """What the mesh knows now: checks, nodes, incidents. The same on every node.

    NAME is a check's name, a part of one, or a pattern like 'web*'. Without a running node it tells what the store last knew,
    and how long ago that was.

    Exits like a Nagios plug-in: 0 all up, 1 partial, late, flapping or silent, or a node silent, 2 down, 3 unknown or no node to
    ask. With names it is about these checks alone.

    \b
    Examples:
      demesh status
      demesh status 'web*' --down
      demesh status --watch
      demesh status --json
    """
    if watch is not None and not _is_number(watch):
        names, watch = (watch, *names), _WATCH_SECONDS  # `--watch NAME`
    wanted = Wanted(names, only_down, everything)
    if watch is not None:
        if as_json:
            raise UsageError("--watch draws a screen and --json prints once: leave one of them out.")
        _watch(wanted, _seconds(watch), lambda: _asked(data_dir, node_url))
        return
    home = find_home(data_dir)
    running = node_url or running_node(home)
    answer, asked = (_asked(data_dir, node_url), Asked()) if running or not home.log_db.exists() else _stored(home)
    if names and not matching(answer["checks"], names):
        raise NodeNotRunning(f"No check is named like {' or '.join(names)}; `demesh status --all` lists them all.")
    if as_json:
        checks = shown(answer["checks"], wanted) if names or only_down else answer["checks"]
        click.echo(json.dumps({**answer, "checks": checks}, indent=2))
    else:
        for line in screen(printable(answer), wanted, asked, Room(width())):
            say(*line)
    sys.exit(exit_code(answer, names))


def _asked(data_dir: str | None, node_url: str | None) -> dict[str, Any]:
    answer = ask("/api/v1/status", data_dir, node_url, dict)
    if not {"as_of", "checks", "nodes", "incidents"} <= answer.keys():
        raise NodeNotRunning("What answers there is no demesh node: its answer is not a status.")
    return answer


def _stored(home: Home) -> tuple[dict[str, Any], Asked]:
    from demesh.stored import Stored

    with Stored(home) as stored:
        answer = stored.status()
    now_ms = SystemClock().wall_ms()
    age = ago(answer["as_of"], datetime.fromtimestamp(now_ms / 1_000, UTC))
    click.echo(
        f"No node is running on {home.path}. This is what its store knew{f' {age} ago' if age else ''}:", err=True
    )
    as_of_ms = round(datetime.fromisoformat(answer["as_of"]).timestamp() * 1_000)
    return answer, Asked(max(0, now_ms - as_of_ms))


def exit_code(answer: dict[str, Any], names: Sequence[str] = ()) -> int:
    """2 if anything is down, else 1 if anything is partial or the like or a node silent, else 3 if anything is unknown."""
    codes = {_EXIT_CODES.get(check["state"], 3) for check in matching(answer["checks"], names)}
    if not names and any(node["presence"] == "silent" for node in answer["nodes"]):
        codes.add(1)
    return next((code for code in (2, 1, 3) if code in codes), 0)


def _watch(wanted: Wanted, seconds: float, ask_: Callable[[], dict[str, Any]]) -> None:
    from demesh.cli.full_screen import FullScreen
    from demesh.cli.watching import keep_watching

    full = FullScreen()

    def draw(answer: dict[str, Any] | None, asked: Asked) -> None:
        columns, lines = full.size()
        full.show(frame(answer, wanted, asked, columns, lines))

    try:
        with full.held():
            keep_watching(
                lambda: printable(ask_()), draw, full.wait, SystemClock().monotonic_ms, round(seconds * 1_000)
            )
    except KeyboardInterrupt:
        pass


def frame(
    answer: dict[str, Any] | None, wanted: Wanted, asked: Asked, columns: int, lines_max: int | None
) -> list[list[Cell]]:
    """A screen of at most `lines_max` lines: checks that are up give way first."""
    if answer is None:
        return flow([(f"No answer yet: {asked.problem} It is asked again and again.", "yellow")], columns)[:lines_max]
    if lines_max is None:
        return screen(answer, wanted, asked, Room(columns))
    lines = screen(answer, wanted, asked, Room(columns, None, lines_max))
    over, up_shown = len(lines) - lines_max, up_shown_max(answer["checks"], wanted)
    for up_max in (
        (up_shown - over, up_shown - over - 1, 0) if over > 0 else ()
    ):  # to tell of the others is one line more
        lines = screen(answer, wanted, asked, Room(columns, max(0, up_max), lines_max))
        if len(lines) <= lines_max:
            break
    if len(lines) <= lines_max:
        return lines
    more = ("… more than there is room for: enlarge it, or name checks", "yellow")
    return [*lines[: lines_max - 1], *flow([more], columns)[:1]]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _seconds(text: str) -> float:
    seconds = float(text)
    least, most = limits.WATCH_SECONDS_MIN, limits.WATCH_SECONDS_MAX
    if not least <= seconds <= most:
        raise UsageError(f"--watch takes {least:g} to {most:g} seconds, not {text}.")
    return seconds
