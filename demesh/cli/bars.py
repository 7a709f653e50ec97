"""Heartbeat bars: the last 24 hours of a check in a row of glyphs, the oldest on the left.

    ▇ up   ▂…▆ partly down, as high as the share that was up   ▁ down   ░ up, but for a part of the hour nobody looked
    · nobody looked                                             blank: the hour has only begun

What was down shows whatever else there is to show: an hour that had one failure is never a full one. The glyphs tell all of it,
colours the same once more.
"""

from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from demesh.cli.table import Cell

UP, DOWN, PARTLY_SEEN, UNSEEN, NOT_YET = "▇▁░· "
_PARTLY = "▂▃▄▅▆"
_STYLES = {
    UP: "green",
    PARTLY_SEEN: "green",
    UNSEEN: "dim",
    NOT_YET: "",
    DOWN: "bold red",
    **dict(zip(_PARTLY, ("red", "red", "yellow", "yellow", "yellow"), strict=True)),
}
_COVERED = 0.9
_LAG = timedelta(minutes=1)
"""A result comes, and is summed, within it."""


def bar(hours: dict[str, Any] | None, cells: int, interval_ms: int, now: datetime) -> str:
    """The newest `cells` hours of `hours`, as a check's JSON has them; empty if there are none."""
    if not hours:
        return ""
    first = datetime.fromisoformat(hours["from"])
    told = list(enumerate(zip(hours["up_ratio"], hours["coverage"], strict=False)))[-cells:]
    late = _LAG + 2 * timedelta(milliseconds=interval_ms)
    return "".join(
        _glyph(ratio, coverage, min(timedelta(hours=1), now - first - timedelta(hours=number)), late)
        for number, (ratio, coverage) in told
    )


def colored(text: str) -> list[Cell]:
    """A bar, whole or a part of one, in its colours."""
    return [("".join(run), _STYLES.get(glyph, "")) for glyph, run in groupby(text)]


def _glyph(ratio: float | None, coverage: float, length: timedelta, late: timedelta) -> str:
    """Of an hour of which `length` is over. What is not later than `late` is not missed."""
    if ratio is None:
        return NOT_YET if length <= late else UNSEEN
    if ratio <= 0:
        return DOWN
    if ratio < 1:
        return _PARTLY[min(int(ratio * len(_PARTLY)), len(_PARTLY) - 1)]
    missed = length * (1 - coverage)
    return PARTLY_SEEN if coverage < _COVERED and missed > late else UP
