"""The checks of `demesh status`: which are shown, as a table that fits, and below each that is not well, why.

A narrow terminal gets fewer columns and a shorter bar, never less of what failed: who saw it, how many agree, the whole reason.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any

from demesh.cli import bars
from demesh.cli.table import Cell, flow, table, text_width
from demesh.cli.terminal import ago, count
from demesh.config.duration import format_duration

Json = dict[str, Any]

STATES = {
    "down": ("✖", "bold red"),
    "partial": ("◐", "yellow"),
    "silent": ("○", "yellow"),
    "flapping": ("↯", "yellow"),
    "late": ("◔", "yellow"),
    "unknown": ("?", "yellow"),
    "paused": ("‖", "dim"),
    "up": ("✔", "green"),
}
"""The worst first. One that is not known here is taken for unknown."""
_WELL = ("up", "paused")
_VOTES = {"pass": "✔", "fail": "✖", "unseen": "·"}
_NOT_COUNTED = {"away": "☾", "silent": "○"}
_BROKEN = "⚠"
_UP_SHOWN_MAX = 10
_NAMED_MAX = 6
_SEEN_BY_COLUMNS = 30
_SEEN_BY_SHARE = 4  # of a narrow terminal it is broken to a fraction of this
_COVERED = 0.9
_INDENT = 4
_COLUMNS = ("CHECK", "STATE", "SEEN BY", "LAST 24 H", "24 H", "30 D", "LATENCY", "SINCE", "CERT")
"""Those that are empty for all checks are left out."""
_BAR_CELLS = 24
_LEFT_OUT: tuple[tuple[str | int, ...], ...] = (
    (),
    ("30 D",),
    ("30 D", 12),
    ("30 D", "LATENCY", 12),
    ("30 D", "LATENCY", "CERT", 12),
    ("30 D", "LATENCY", "CERT", "24 H", 12),
    ("30 D", "LATENCY", "CERT", "24 H", 8),
    ("30 D", "LATENCY", "CERT", "24 H", "LAST 24 H"),
    ("30 D", "LATENCY", "CERT", "24 H", "LAST 24 H", "SEEN BY"),
)
"""What goes as the terminal gets narrower: columns, and all but so many hours of the bar."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the person asked to see."""

    names: Sequence[str] = ()
    only_down: bool = False
    everything: bool = False


def matching(checks: Sequence[Json], names: Sequence[str]) -> list[Json]:
    """The checks that `names` mean: each is a pattern like `web*`, a name, or a part of names."""
    if not names:
        return list(checks)
    wanted: set[str] = set()
    for name in names:
        all_names = [check["name"] for check in checks]
        if any(char in name for char in "*?["):
            wanted.update(each for each in all_names if fnmatchcase(each.lower(), name.lower()))
        else:
            wanted.update([name] if name in all_names else (each for each in all_names if name.lower() in each.lower()))
    return [check for check in checks if check["name"] in wanted]


def shown(checks: Iterable[Json], wanted: Wanted) -> list[Json]:
    """The checks to show, the worst first, then by name."""
    rank = {state: number for number, state in enumerate(STATES)}
    chosen = [
        check for check in matching(list(checks), wanted.names) if not (wanted.only_down and check["state"] in _WELL)
    ]
    return sorted(chosen, key=lambda check: (rank.get(check["state"], rank["unknown"]), check["name"]))


def up_shown_max(checks: Sequence[Json], wanted: Wanted) -> int:
    """How many of the checks that are up are shown where there is room: all, if there are not many or they are asked for."""
    up = sum(check["state"] in _WELL for check in checks)
    if wanted.everything or wanted.names or up <= _UP_SHOWN_MAX + 1:  # to tell of one more is no shorter
        return up
    return _UP_SHOWN_MAX


def check_lines(
    checks: Sequence[Json], presences: dict[str, str], wanted: Wanted, fits: int, up_max: int | None, now: datetime
) -> list[list[Cell]]:
    """Lines of at most `fits` columns. Of those that are up at most `up_max`, else as many as are worth it."""
    chosen = shown(checks, wanted)
    worse = [check for check in chosen if check["state"] not in _WELL]
    well = [check for check in chosen if check["state"] in _WELL]
    most = up_shown_max(well, wanted) if up_max is None else up_max
    kept = well[:most]
    lines: list[list[Cell]] = []
    if worse or kept:
        lines += _table_lines([*worse, *kept], presences, wanted, fits, now)
    if len(kept) < len(well):
        said = f"{'and ' if worse or kept else ''}{len(well) - len(kept)} {'more ' if kept else ''}{_states(well[len(kept) :])}"
        lines += flow([(f"  {said} ", "green"), ("(demesh status --all shows them)", "dim")], fits, _INDENT)
    if not chosen:
        told = "Every check" if not wanted.names else "Every check of these names"
        lines += flow([(f"{told} is well: {_states(matching(checks, wanted.names))}.", "green")], fits)
    return lines


def _states(checks: Sequence[Json]) -> str:
    """`19 up`, or `up` alone if that says it all."""
    states = sorted({check["state"] for check in checks})
    if len(states) == 1:
        return states[0]
    return ", ".join(f"{sum(check['state'] == state for check in checks)} {state}" for state in states)


def _table_lines(
    checks: Sequence[Json], presences: dict[str, str], wanted: Wanted, fits: int, now: datetime
) -> list[list[Cell]]:
    rows = [_cells(check, presences, wanted, now) for check in checks]
    names, rows = _fitted(rows, fits)
    natural = max(text_width(row[0][0]) for row in rows)
    unbroken = [name for name in names if name != "SEEN BY" and (name != "CHECK" or natural <= fits // 2)]
    header, *told = table(names, rows, unbroken, fits)
    lines = header
    for check, row_lines in zip(checks, told, strict=True):
        lines += [[run for cell in line for run in _runs(cell)] for line in row_lines]
        lines += _reasons(check, presences, wanted, fits)
    return lines


def _fitted(rows: list[list[Cell]], fits: int) -> tuple[list[str], list[list[Cell]]]:
    """The names of the columns that fit beside each other, and the rows with those alone."""
    for left_out in _LEFT_OUT:
        cells = next((each for each in left_out if isinstance(each, int)), _BAR_CELLS)
        told = [
            index
            for index, name in enumerate(_COLUMNS)
            if name not in left_out and any(row[index][0].strip() for row in rows)
        ]
        names = [_COLUMNS[index] for index in told]
        kept = [
            [(row[index][0][-cells:] if row[index][1] == "bar" else row[index][0], row[index][1]) for index in told]
            for row in rows
        ]
        widths = [max(text_width(name), *(text_width(row[i][0]) for row in kept)) for i, name in enumerate(names)]
        seen_by = min(_SEEN_BY_COLUMNS, fits // _SEEN_BY_SHARE)
        needed = sum(min(wide, seen_by) if name == "SEEN BY" else wide for name, wide in zip(names, widths, strict=True))
        if needed + 2 * (len(names) - 1) <= fits:
            break
    return names, kept


def _runs(cell: Cell) -> list[Cell]:
    return bars.colored(cell[0]) if cell[1] == "bar" else [cell]


def _cells(check: Json, presences: dict[str, str], wanted: Wanted, now: datetime) -> list[Cell]:
    glyph, style = STATES.get(check["state"], STATES["unknown"])  # a newer node may know more states
    latencies = [each["latency_ms"] for each in check["vantages"] if each["vote"] == "pass" and each["latency_ms"]]
    expires = check["certificate_expires_at"]
    return [
        (f"{glyph} {check['name']}", style),
        (check["state"], style),
        (_seen_by(check["vantages"], presences, everything=wanted.everything), ""),
        (bars.bar(check.get("hours"), _BAR_CELLS, check["interval_ms"], now), "bar"),
        *((_uptime(check.get("uptime", {}).get(window), hours), "") for window, hours in (("24h", 24), ("30d", 720))),
        (f"{sorted(latencies)[len(latencies) // 2]:.0f} ms" if latencies else "", ""),
        (ago(check["since"], now), ""),
        (_expiry(datetime.fromisoformat(expires), now) if expires else "", ""),
    ]


def _seen_by(vantages: Sequence[Json], presences: dict[str, str], *, everything: bool) -> str:
    """`fra✔ nyc✖ lab·`; where there are many, those that pass are only counted: `12✔ nyc✖`."""
    marks = [(each["node"], _mark(each, presences)) for each in vantages]
    if everything or len(marks) <= _NAMED_MAX:
        return " ".join(f"{name}{mark}" for name, mark in marks)
    passes = sum(mark == _VOTES["pass"] for _, mark in marks)
    others = [f"{name}{mark}" for name, mark in marks if mark != _VOTES["pass"]]
    return " ".join([*([f"{passes}{_VOTES['pass']}"] if passes else []), *others])


def _mark(vantage: Json, presences: dict[str, str]) -> str:
    if vantage.get("broken"):
        return _BROKEN
    if not vantage["assigned"] or vantage.get("excluded"):
        return _NOT_COUNTED.get(_presence(vantage, presences), _VOTES["unseen"])
    return _VOTES.get(vantage["vote"], _VOTES["unseen"])


def _presence(vantage: Json, presences: dict[str, str]) -> str:
    return vantage.get("presence") or presences.get(vantage["node"], "")


def _reasons(check: Json, presences: dict[str, str], wanted: Wanted, fits: int) -> list[list[Cell]]:
    """What its vantages found and how many agree; who does not count, and why; from whom they took it over."""
    counted = [each for each in check["vantages"] if each["assigned"] and not each.get("excluded")]
    told: list[list[Cell]] = []
    agree = _agreement(check, counted)
    found = _by_text((each["detail"], each["node"]) for each in counted)
    if found:
        said = "; ".join(f"{', '.join(nodes)}: {detail}" for detail, nodes in found.items())
        told.append([(f"{said} ", ""), (agree and f"({agree})", "dim")])
    elif agree:
        told.append([(agree, "dim")])
    if check["state"] not in _WELL or wanted.everything:
        left_out = _by_text(
            (_why_not_counted(each, presences), each["node"]) for each in check["vantages"] if each not in counted
        )
        if left_out:
            told.append([(f"not counted: {_told(left_out)}", "dim")])
        origins = _by_text((each.get("from"), each["node"]) for each in check["vantages"])
        told += [
            [(f"{', '.join(nodes)} took it over from {origin}", "dim")] for origin, nodes in origins.items()
        ]
    margin = (" " * _INDENT, "")
    return [line for cells in told for line in flow([margin, *cells], fits, _INDENT)]


def _agreement(check: Json, counted: Sequence[Json]) -> str:
    """`1/3 fail < quorum 2`, of what is not well; of one vantage there is nothing to tell."""
    if len(counted) < 2 or check["state"] in _WELL:
        return ""
    fails, unseen = (sum(each["vote"] == vote for each in counted) for vote in ("fail", "unseen"))
    if not fails:
        return f"{unseen}/{len(counted)} unseen" if unseen else ""
    said = f"{fails}/{len(counted)} fail"
    if quorum := check.get("quorum"):  # an older node does not say
        said += f" < quorum {quorum}" if fails < quorum else f", quorum {quorum}"
    return f"{said}, {unseen} unseen" if unseen else said


def _why_not_counted(vantage: Json, presences: dict[str, str]) -> str:
    if said := vantage.get("excluded"):
        return str(said)
    return "broken" if vantage.get("broken") else _presence(vantage, presences) or "not heard"


def _by_text(said: Iterable[tuple[str | None, str]]) -> dict[str, list[str]]:
    """Each text once, with the nodes it is of."""
    found: dict[str, list[str]] = {}
    for text, node in said:
        if text:
            found.setdefault(text, []).append(node)
    return found


def _told(by_text: dict[str, list[str]]) -> str:
    return "; ".join(f"{', '.join(nodes)} ({text})" for text, nodes in by_text.items())


def _uptime(uptime: Json | None, hours: int) -> str:
    """Rounded down, so that only what was always up is 100 %; and how much time was observed, if much of it was not."""
    if not uptime or uptime["ratio"] is None:
        return ""
    percent = f"{int(uptime['ratio'] * 10_000) / 100:g} %"
    if uptime["coverage"] >= _COVERED:
        return percent
    return f"{percent} of {format_duration(round(uptime['coverage'] * hours * 3_600_000))}"


def _expiry(expires: datetime, now: datetime) -> str:
    left_ms = round((expires - now).total_seconds() * 1_000)
    return format_duration(left_ms) if left_ms > 0 else "expired"
