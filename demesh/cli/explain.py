"""`demesh explain`: why a check or a node is as it is, replayed from the logs."""

import json
import re
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from demesh import limits
from demesh.cli import options
from demesh.cli.client import ask
from demesh.cli.table import Cell, say, width
from demesh.cli.terminal import count, printable
from demesh.clock import SystemClock
from demesh.config.moment import parse_moment
from demesh.errors import NodeNotRunning, UsageError
from demesh.home import find_home, read_mesh_id, running_node

if TYPE_CHECKING:
    from demesh.log.exported import Exported

_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_STYLES = {
    "up": ("✔", "green"),
    "down": ("✖", "bold red"),
    "partial": ("◐", "yellow"),
    "unknown": ("?", "dim"),
    "pass": ("✔", "green"),
    "fail": ("✖", "red"),
    "mismatch": ("✖", "red"),
    "timeout": ("✖", "red"),
    "error": ("!", "yellow"),
    "alive": ("✔", "green"),
    "silent": ("✖", "bold red"),
    "away": ("☾", "dim"),
    "left": ("☾", "dim"),
    "lapsed": ("·", "yellow"),
    "missing": ("?", "yellow"),
    "heard": ("✔", "green"),
    "event": ("!", "cyan"),
}
_PLAIN: Cell = (" ", "")
_SHOWN = 200
_TEXT_WIDTH_MIN = 40


@click.command()
@click.argument("name", metavar="CHECK|NODE")
@click.option(
    "--since", metavar="WHEN", help="From when on: 2h, 7d ago, or 2025-01-31T12:00Z [default: 24h before the end]."
)
@click.option("--until", metavar="WHEN", help="Until when [default: now; without a node, the newest entry].")
@click.option("--check", "kind", flag_value="check", help="The name is a check's.")
@click.option("--node-name", "kind", flag_value="node", help="The name is a node's.")
@click.option(
    "--from",
    "files",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Read what log export wrote.",
)
@click.option("--mesh", "mesh", metavar="ID", help="With --from: the mesh id, 32 hex digits [default: this node's].")
@click.option("--all", "-a", "everything", is_flag=True, help=f"Show every step, not only the newest {_SHOWN}.")
@options.as_json
@options.node_url
@options.data_dir
def explain(
    name: str,
    since: str | None,
    until: str | None,
    kind: str | None,
    files: tuple[Path, ...],
    mesh: str | None,
    everything: bool,
    as_json: bool,
    node_url: str | None,
    data_dir: str | None,
) -> None:
    """Why is it down, and who was told? Every step that led to the verdict, or to a node's presence, from the signed logs.

    Times are by the authors' clocks. --json is the same from the same logs, wherever it is asked: from a running node, from the
    store of one that does not run, or from an export of the logs, whose signatures are verified.

    \b
    Examples:
      demesh explain blog
      demesh explain nas --since 7d
      demesh explain blog --since 24h --json
      demesh log export > logs.jsonl && demesh explain blog --from logs.jsonl
    """
    if files and node_url:
        raise UsageError("--from reads files and --node asks a node; give one of them.")
    home = find_home(data_dir)
    if files:
        answer = _of_files(files, _mesh_id(mesh, data_dir), name, kind, since, until)
    elif node_url or running_node(home) or not home.log_db.exists():
        asked = {"name": name, "kind": kind, "since": _absolute(since), "until": _absolute(until)}
        query = urlencode({key: value for key, value in asked.items() if value is not None})
        answer = ask(f"/api/v1/explain?{query}", data_dir, node_url, dict, seconds=limits.EXPLAIN_SECONDS_MAX)
    else:
        answer = _of_store(data_dir, name, kind, since, until)
    if not {"since", "until", "steps", "conclusion"} <= answer.keys():
        raise NodeNotRunning("What answers there is no demesh node: its answer is not an explanation.")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        _print(printable(answer), everything)


def _of_store(
    data_dir: str | None, name: str, kind: str | None, since: str | None, until: str | None
) -> dict[str, Any]:
    from demesh.explaining import question_of
    from demesh.stored import Stored

    home = find_home(data_dir)
    with Stored(home) as stored:
        click.echo(f"No node is running on {home.path}: this is what its store tells.", err=True)
        return stored.explain(question_of(name, kind, since, until, stored.newest_ms(SystemClock().wall_ms())))


def _of_files(
    files: tuple[Path, ...], mesh_id: bytes, name: str, kind: str | None, since: str | None, until: str | None
) -> dict[str, Any]:
    from demesh.explaining import explain_at_once, newest_ms, question_of

    held = _exported(files, mesh_id)
    return explain_at_once(held, question_of(name, kind, since, until, newest_ms(held, SystemClock().wall_ms())))


def _exported(files: tuple[Path, ...], mesh_id: bytes) -> "Exported":
    from demesh.log.exported import Exported

    with ExitStack() as stack:
        try:
            sources = [
                (str(file), sys.stdin.buffer if str(file) == "-" else stack.enter_context(file.open("rb")))
                for file in files
            ]
            return Exported(mesh_id, sources)
        except OSError as error:
            raise UsageError(f"Cannot read {error.filename}: {error.strerror}.") from None


def _mesh_id(text: str | None, data_dir: str | None) -> bytes:
    """What the entries are signed for. It is not in an export: with it, whoever has that could try out secrets of checks."""
    if text is None:
        home = find_home(data_dir)
        if home.mesh_id.exists():
            return read_mesh_id(home)
        raise UsageError(
            f"Entries are signed for their mesh, and {home.path} belongs to none; say --mesh ID, as a member's file mesh.id "
            "has it."
        )
    try:
        mesh_id = bytes.fromhex(text)
    except ValueError:
        mesh_id = b""
    if len(mesh_id) != 16:
        raise UsageError(f"--mesh: {text!r} is no mesh id, which is 32 hex digits.")
    return mesh_id


def _absolute(text: str | None) -> str | None:
    """`text` for another machine, whose time zone may differ. A duration stays one, as that machine's clock counts."""
    if text is None:
        return None
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return text  # whoever is asked says if it is no duration
    wall_ms = parse_moment(text, 0)
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=wall_ms)).isoformat()


def _print(answer: dict[str, Any], everything: bool) -> None:
    name = answer.get("check") or answer.get("node")
    kind = "check" if answer.get("check") else "node"
    since, until = _local(answer["since"]), _local(answer["until"])
    zone = until.strftime("%Z") if until else "UTC"
    say(
        (
            f"{kind} {name} · mesh {answer['mesh']} · {_day(since)} to {_day(until)} {zone}, by the nodes' own clocks",
            "bold",
        )
    )
    say((f"{count(answer['entries'], 'entry', 'entries')} of {count(len(answer['logs']), 'log')} read", "dim"))
    if not answer["complete"]:
        say(
            (
                "! More was written in this time than is read; of some logs only the newest is told of. Ask for less.",
                "yellow",
            )
        )
    say()
    for cells in _opening(answer):
        say(*cells)
    steps = answer["steps"]
    hidden = 0 if everything else max(0, len(steps) - _SHOWN)
    if answer["steps_left_off"] + hidden:
        say((f"… {count(answer['steps_left_off'] + hidden, 'step')} before these; --all shows more", "dim"))
    _print_steps(steps[hidden:], since)
    say()
    for line in _folded(_in_local_time(answer["conclusion"], until), width(), ""):
        say((line, "bold"))


def _opening(answer: dict[str, Any]) -> list[list[Cell]]:
    opening = answer["opening"]
    if answer.get("check"):
        glyph, style = _STYLES.get(opening["verdict"], _PLAIN)
        return [[("at the beginning: ", "dim"), (f"{glyph} {opening['verdict']}", style), (f", {opening['rule']}", "")]]
    glyph, style = _STYLES.get(str(opening), _PLAIN)
    return [[("at the beginning: ", "dim"), (f"{glyph} {opening}" if opening else "not known", style)]]


def _print_steps(steps: list[dict[str, Any]], since: datetime | None) -> None:
    """A line a step: what it came to stands beside what it says, or below it where the terminal is too narrow for both."""
    places = [_place(step) for step in steps]
    node_width = max((len(step["node"]) for step in steps), default=0)
    place_width = max(map(len, places), default=0)
    indent = 8 + 2 + node_width + 2 + place_width + 2
    room = max(_TEXT_WIDTH_MIN, width() - indent)
    day = since.date() if since else None
    for step, place in zip(steps, places, strict=True):
        at = _local(step["at"])
        if at and at.date() != day:
            day = at.date()
            say((day.isoformat(), "dim"))
        clock = at.strftime("%H:%M:%S") if at else "?"
        begin: list[Cell] = [
            (f"{clock:<8}  ", ""),
            (f"{step['node']:<{node_width}}  ", ""),
            (f"{place:<{place_width}}  ", "dim"),
        ]
        glyph, style = ("…", "dim") if step["what"] == "repeated" else _style(step)
        said, came_to = _folded(f"{glyph} {step['text']}", room, "  "), _conclusion(step)
        if came_to and len(said) == 1 and len(said[0]) + 2 + len(came_to[0]) <= room:
            say(*begin, (f"{said[0]}  ", style), came_to)
            continue
        say(*begin, (said[0], style))
        for line in said[1:]:
            say((" " * indent + line, style))
        for line in _folded(came_to[0], room - 2, "  ") if came_to else ():
            say((" " * (indent + 2) + line, came_to[1] if came_to else ""))


def _style(step: dict[str, Any]) -> Cell:
    return _STYLES.get(step.get("outcome") or step["what"], _PLAIN)


def _place(step: dict[str, Any]) -> str:
    first = step.get("first_seq")
    return f"#{step['seq']}" if first in (None, step["seq"]) else f"#{first}–{step['seq']}"


def _folded(text: str, room: int, indent: str) -> list[str]:
    return wrap(text, room, subsequent_indent=indent, break_on_hyphens=False) or [""]


def _conclusion(step: dict[str, Any]) -> Cell | None:
    found = step.get("leads_to")
    if found is None:
        return (f"→ {step['presence']}", _STYLES.get(step["presence"], _PLAIN)[1]) if step.get("presence") else None
    if found["before"] == found["verdict"]:
        return f"→ {found['rule']}", "dim"
    return f"→ {found['rule']} → {found['verdict'].upper()}", _STYLES.get(found["verdict"], _PLAIN)[1]


def _local(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone() if text else None


def _day(when: datetime | None) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S") if when else "?"


def _in_local_time(text: str, until: datetime | None) -> str:
    """A sentence with its times as this machine's clock shows them."""

    def shown(match: re.Match[str]) -> str:
        when = datetime.fromisoformat(match[0]).astimezone()
        return when.strftime("%H:%M:%S" if until and when.date() == until.date() else "%Y-%m-%d %H:%M:%S")

    return _ISO.sub(shown, text)
