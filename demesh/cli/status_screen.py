"""The screen of `demesh status`, from the JSON of a status alone: the header, what is odd about the answering node, the checks,
the nodes, the alerts. No line is wider than the terminal, and nothing is cut off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from demesh.cli.status_checks import Room, Wanted, check_lines
from demesh.cli.status_vantages import INDENT, STATES, Json
from demesh.cli.table import Cell, flow
from demesh.cli.terminal import ago, count
from demesh.config.duration import format_duration

_PRESENCE = {
    "silent": ("✖", "bold red"),
    "suspect": ("?", "yellow"),
    "away": ("☾", "dim"),
    "alive": ("✔", "green"),
    "left": ("·", "dim"),
}
_UNKNOWN = ("?", "dim")
_LACKS_SHOWN = 8
_ALIVE_SHOWN_MAX = 12
_INCIDENTS_SHOWN_MAX = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """How the answer came: how long ago, and why there is no newer one, if there should be."""

    ago_ms: int = 0
    problem: str = ""


def screen(answer: Json, wanted: Wanted, asked: Asked, room: Room) -> list[list[Cell]]:
    """All there is to tell, as far as there is room for checks."""
    fits = room.columns
    now = datetime.fromisoformat(answer["as_of"])
    presences = {node["name"]: node["presence"] for node in answer["nodes"]}
    lines = flow(_header(answer, asked, now), fits, 2)
    for told in (*_trouble(asked), *_network_line(answer, now), *_lacks_line(answer)):
        lines += flow([(told, "yellow")], fits, 2)
    lines.append([])
    if answer["checks"]:
        lines += check_lines(answer["checks"], presences, wanted, room, now)
    else:
        hint = "No checks yet. Name targets: demesh node run https://example.org, or add [[check]] to demesh.toml."
        lines += flow([(hint, "")], fits)
    return [*lines, [], *_node_lines(answer["nodes"], wanted, fits, now), *_alert_lines(answer, wanted, fits, now)]


def _header(answer: Json, asked: Asked, now: datetime) -> list[Cell]:
    cells: list[Cell] = [(f"mesh {answer['mesh']}", "")]
    nodes, checks = answer["nodes"], answer["checks"]
    cells += [(" · ", "dim"), (count(len(nodes), "node"), "")]
    cells += _counts([node["presence"] for node in nodes], _PRESENCE, " (", ")")
    cells += [(" · ", "dim"), (count(len(checks), "check"), "")]
    if checks:
        cells += _counts([check["state"] for check in checks], STATES, ": ", "")
    cells += [(" · ", "dim"), (f"view {_view_age(answer, asked, now)} old", "yellow" if asked.problem else "")]
    cells += [(" · ", "dim"), (f"asked: {answer['node'] or 'a node without a name'}", "")]
    if asked.problem:
        cells.append((f" … no answer for {format_duration(asked.ago_ms)}", "bold red"))
    said = [] if answer["settled"] else ["still settling"]
    for each in (*said, *_unfinished(answer)):
        cells += [(" · ", "dim"), (each, "yellow")]
    return _joined(cells)


def _joined(cells: Sequence[Cell]) -> list[Cell]:
    """With each separator at the end of what it follows, where a line may break."""
    joined: list[Cell] = []
    for text, style in cells:
        if text == " · " and joined:
            joined[-1] = (f"{joined[-1][0]} · ", joined[-1][1])
        else:
            joined.append((text, style))
    return joined


def _counts(found: Sequence[str], known: dict[str, tuple[str, str]], before: str, after: str) -> list[Cell]:
    """How many there are of each, the worst first."""
    rank = {each: number for number, each in enumerate(known)}
    states = sorted(set(found), key=lambda each: (rank.get(each, 0), each))
    told = [(f"{found.count(state)} {state}", known.get(state, _UNKNOWN)[1]) for state in states]
    return [(before, ""), *((f"{text}, ", style) for text, style in told[:-1]), told[-1], (after, "")]


def _view_age(answer: Json, asked: Asked, now: datetime) -> str:
    """How long ago the newest of what is told was made or heard, by the answering node's clock."""
    dated = [node["seen_at"] for node in answer["nodes"]]
    dated += [each["at"] for check in answer["checks"] for each in check["vantages"]]
    newest = max((datetime.fromisoformat(each) for each in dated if each), default=now)
    return format_duration(asked.ago_ms + round(max(timedelta(), now - newest).total_seconds() * 1_000))


def _trouble(asked: Asked) -> list[str]:
    return [f"! {asked.problem} It is asked again and again."] if asked.problem else []


def _unfinished(answer: Json) -> list[str]:
    said: list[str] = []
    for what, name in (("logs", "logs"), ("history", "uptime")):
        progress = answer.get(what, {"complete": True})  # an older node does not say
        if not progress["complete"]:
            to_go = f", {count(progress['behind'], 'entry', 'entries')} to go" if progress["behind"] else ""
            said.append(f"{name} not complete yet{to_go}")
    return said


def _lacks_line(answer: Json) -> list[str]:
    """Of whom not all is known yet, while a node catches up."""
    logs = answer.get("logs", {"complete": True})
    if logs["complete"] or not logs["lacks"]:
        return []
    lacks: list[Json] = logs["lacks"]
    said = [
        f"{each['node'] or 'a new log'} by {count(each['entries'], 'entry', 'entries')}"
        for each in lacks[:_LACKS_SHOWN]
    ]
    more = f", and {len(lacks) - _LACKS_SHOWN} more" if len(lacks) > _LACKS_SHOWN else ""
    return [f"! {answer['node']} still catches up; it is behind on {', '.join(said)}{more}."]


def _network_line(answer: Json, now: datetime) -> list[str]:
    network = answer.get("network", {"running": True})
    if network["running"] or not network["problem"]:
        return []
    since = ago(network["down_since"], now)
    return [
        f"! {answer['node']} has no network for {since}, so what is said of other nodes is of then: {network['problem']} It "
        "tries again and again."
    ]


def _node_lines(nodes: Sequence[Json], wanted: Wanted, fits: int, now: datetime) -> list[list[Cell]]:
    rank = {each: number for number, each in enumerate(_PRESENCE)}
    ordered = sorted(nodes, key=lambda node: (rank.get(node["presence"], 0), node["name"]))
    alive = [node for node in ordered if node["presence"] == "alive"]
    left_out = [] if wanted.everything or len(alive) <= _ALIVE_SHOWN_MAX + 1 else alive[_ALIVE_SHOWN_MAX:]
    cells: list[Cell] = [("nodes  ", "dim")]
    for node in ordered:
        if node not in left_out:
            glyph, style = _PRESENCE.get(node["presence"], _UNKNOWN)
            cells.append((f"{node['name']} {glyph} {node['presence']}{_quiet(node, now)}   ", style))
    if left_out:
        cells.append((f"and {len(left_out)} more alive", "green"))
    lines = flow(cells, fits, 7)
    for node in nodes:
        for warned in node.get("warnings", ()):  # an older node tells none
            told = f"! {node['name']}, {ago(warned['at'], now)} ago: {warned['text']}"
            lines += flow([(told, "yellow")], fits, INDENT)
    return lines


def _quiet(node: Json, now: datetime) -> str:
    """How long it was not heard of, and of one that took leave when it will be back, and why it went."""
    if node["presence"] == "alive":
        return ""
    said = f" {ago(node['seen_at'], now)}" if node["seen_at"] else ""
    if node["presence"] == "away":
        if node.get("back_by"):
            said += f", back by {_clock_time(node['back_by'], now)}"
        if node.get("bye"):
            said += f" ({node['bye']})"
    return said


def _clock_time(text: str, now: datetime) -> str:
    """As the clock on the wall here shows it, with the date if that is another day."""
    then, today = datetime.fromisoformat(text).astimezone(), now.astimezone()
    return then.strftime("%H:%M" if then.date() == today.date() else "%Y-%m-%d %H:%M")


def _alert_lines(answer: Json, wanted: Wanted, fits: int, now: datetime) -> list[list[Cell]]:
    incidents, sinks = answer["incidents"], answer.get("sinks")
    if not incidents and not sinks:
        return []
    cells: list[Cell] = [("alerts ", "dim")]
    cells.append((f"{len(incidents)} open   ", "bold red") if incidents else ("none open   ", ""))
    cells += [_sink(each, now) for each in sinks or ()]
    if sinks == []:
        cells.append(("→ nobody is told: no alerts.alertmanager", "yellow"))
    lines = flow(cells, fits, 7)
    most = len(incidents) if wanted.everything else _INCIDENTS_SHOWN_MAX
    kept = incidents if len(incidents) <= most + 1 else incidents[:most]
    for each in kept:
        noted = [noted for key in ("muted", "acknowledged") if (noted := _noted(key, each.get(key), now))]
        told = ", ".join([f"! {each['name']} {each['subject']}, since {ago(each['since'], now)}", *noted])
        lines += flow([(told, "dim" if noted else "bold red")], fits, INDENT)
    if len(kept) < len(incidents):
        lines += flow([(f"  and {len(incidents) - len(kept)} more (demesh status --all shows them)", "bold red")], fits)
    return lines


def _sink(sink: Json, now: datetime) -> Cell:
    """Where alerts go, and whether they get there."""
    last = f"{ago(sink['last_ok_at'], now)} ago" if sink["last_ok_at"] else ""
    if sink["ok"]:
        return f"→ {sink['name']} ✔ {last}   ", "green"
    if sink["ok"] is None:
        return f"→ {sink['name']} · nothing to send yet   ", ""
    reached = f"the last got through {last}" if last else "none got through"
    return f"→ {sink['name']} ✖ {reached}: {sink['problem']}   ", "bold red"


def _noted(what: str, said: Any, now: datetime) -> str:
    """`acknowledged by ann until 14:05`, as far as that is told."""
    if not said:
        return ""
    if not isinstance(said, dict):
        return what if said is True else f"{what} ({said})"
    told = cast(Json, said)
    by = f" by {told['by']}" if told.get("by") else ""
    until = f" until {_clock_time(told['until'], now)}" if told.get("until") else ""
    return f"{what}{by}{until}"
