"""The checks of `demesh status`: which are shown, as a table that fits, and below each that is not well, why.

A narrow terminal gets fewer columns and a shorter bar, never less of what failed: who saw it, how many agree, the whole reason.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from demesh.cli import bars
from demesh.cli.status_vantages import INDENT, STATES, WELL, Json, reasons, seen_by
from demesh.cli.table import Cell, flow, table, text_width
from demesh.cli.terminal import ago
from demesh.config.duration import format_duration

_UP_SHOWN_MAX = 10
_SEEN_BY_COLUMNS = 30
_SEEN_BY_SHARE = 4  # of a narrow terminal it is broken to a fraction of this
_COVERED = 0.9
_DAY_HOURS, _MONTH_HOURS = 24, 720
_LONGER_HOURS = 1
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
class Room:
    """What there is room for: columns, and at most so many checks that are up, and that are not; None: all worth it."""

    columns: int
    up_max: int | None = None
    worse_max: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the person asked to see."""

    names: Sequence[str] = ()
    only_down: bool = False
    everything: bool = False

    @property
    def closely(self) -> bool:
        """Whether each check that is shown is to be told of in full, well or not."""
        return self.everything or bool(self.names)


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
        check for check in matching(list(checks), wanted.names) if not (wanted.only_down and check["state"] in WELL)
    ]
    return sorted(chosen, key=lambda check: (rank.get(check["state"], rank["unknown"]), check["name"]))


def up_shown_max(checks: Sequence[Json], wanted: Wanted) -> int:
    """How many of the checks that are up are shown where there is room: all, if there are not many or they are asked for."""
    up = sum(check["state"] in WELL for check in checks)
    if wanted.closely or up <= _UP_SHOWN_MAX + 1:  # to tell of one more is no shorter
        return up
    return _UP_SHOWN_MAX


def check_lines(
    checks: Sequence[Json], presences: dict[str, str], wanted: Wanted, room: Room, now: datetime
) -> list[list[Cell]]:
    """The table, and what it leaves out."""
    chosen = shown(checks, wanted)
    worse = [check for check in chosen if check["state"] not in WELL]
    well = [check for check in chosen if check["state"] in WELL]
    kept_worse = worse[: room.worse_max]
    kept_well = well[: up_shown_max(well, wanted) if room.up_max is None else room.up_max]
    kept, left_out = [*kept_worse, *kept_well], [*worse[len(kept_worse) :], *well[len(kept_well) :]]
    lines = _table_lines(kept, presences, wanted, room.columns, now) if kept else []
    if left_out:
        said = f"  {'and ' if kept else ''}{_states(left_out, ' more' if kept_well else '')} "
        hint = ("(demesh status --all shows them)", "dim")
        lines += flow([(said, "green" if len(kept_worse) == len(worse) else "bold red"), hint], room.columns, INDENT)
    if not chosen:
        lines += flow([(f"All is well: {_states(matching(checks, wanted.names))}.", "green")], room.columns)
    return lines


def _states(checks: Sequence[Json], more: str = "") -> str:
    """`19 up, 1 paused`."""
    found = [check["state"] for check in checks]
    return ", ".join(f"{found.count(state)}{more} {state}" for state in reversed(STATES) if state in found)


def _table_lines(
    checks: Sequence[Json], presences: dict[str, str], wanted: Wanted, fits: int, now: datetime
) -> list[list[Cell]]:
    rows = [_cells(check, presences, wanted, now) for check in checks]
    names, rows, is_room = _fitted(rows, fits)
    unbroken = [name for name in names if name != "SEEN BY"] if is_room else ()
    header, *told = table(names, rows, unbroken, fits)
    lines = header
    for check, row_lines in zip(checks, told, strict=True):
        lines += [[run for cell in line for run in _runs(cell)] for line in row_lines]
        lines += reasons(check, presences, everything=wanted.closely, fits=fits)
    return lines


def _fitted(rows: list[list[Cell]], fits: int) -> tuple[list[str], list[list[Cell]], bool]:
    """The names of the columns that fit beside each other, the rows with those alone, and whether they do fit."""
    names: list[str] = []
    kept: list[list[Cell]] = []
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
        needed = sum(
            min(wide, seen_by) if name == "SEEN BY" else wide for name, wide in zip(names, widths, strict=True)
        )
        if needed + 2 * (len(names) - 1) <= fits:
            return names, kept, True
    return names, kept, False


def _runs(cell: Cell) -> list[Cell]:
    return bars.colored(cell[0]) if cell[1] == "bar" else [cell]


def _cells(check: Json, presences: dict[str, str], wanted: Wanted, now: datetime) -> list[Cell]:
    glyph, style = STATES.get(check["state"], STATES["unknown"])  # a newer node may know more states
    latencies = [each["latency_ms"] for each in check["vantages"] if each["vote"] == "pass" and each["latency_ms"]]
    expires = check["certificate_expires_at"]
    return [
        (f"{glyph} {check['name']}", style),
        (check["state"], style),
        (seen_by(check["vantages"], presences, everything=wanted.closely), ""),
        (bars.bar(check.get("hours"), _BAR_CELLS, check["interval_ms"], now), "bar"),
        *((text, "") for text in _uptimes(check.get("uptime", {}))),
        (f"{sorted(latencies)[len(latencies) // 2]:.0f} ms" if latencies else "", ""),
        (ago(check["since"], now), ""),
        (_expiry(datetime.fromisoformat(expires), now) if expires else "", ""),
    ]


def _uptimes(uptime: Json) -> tuple[str, str]:
    """Of the last 24 hours and 30 days; of the latter only if clearly more of it was observed."""
    day, month = uptime.get("24h"), uptime.get("30d")
    told = _uptime(day, _DAY_HOURS), _uptime(month, _MONTH_HOURS)
    if day and month and month["coverage"] * _MONTH_HOURS < day["coverage"] * _DAY_HOURS + _LONGER_HOURS:
        return told[0], ""
    return told


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
