"""What each vantage of a check sees, for `demesh status`: a mark beside its name, and below a check that is not well, why.

Every such check tells who saw it fail, how many agree, what the quorum is, and what was found; those that do not count are
marked as such, and named with the reason.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from demesh.cli.table import Cell, flow

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
WELL = ("up", "paused")
_VOTES = {"pass": "✔", "fail": "✖", "unseen": "·"}
_NOT_COUNTED = {"away": "☾", "silent": "○"}
_BROKEN = "⚠"
_NAMED_MAX = 6
INDENT = 4


def seen_by(vantages: Sequence[Json], presences: dict[str, str], *, everything: bool) -> str:
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


def reasons(check: Json, presences: dict[str, str], *, everything: bool, fits: int) -> list[list[Cell]]:
    """What its vantages found and how many agree; who does not count, and why; where it was asked; who took it over from whom."""
    counted = [each for each in check["vantages"] if each["assigned"] and not each.get("excluded")]
    told: list[list[Cell]] = []
    agree = _agreement(check, counted)
    found = _by_text((each["detail"], each["node"]) for each in counted)
    if found:
        said = "; ".join(f"{', '.join(nodes)}: {detail}" for detail, nodes in found.items())
        told.append([(f"{said} ", ""), (agree and f"({agree})", "dim")])
    elif agree:
        told.append([(agree, "dim")])
    if check["state"] not in WELL or everything:
        left_out = _by_text(
            (_why_not_counted(each, presences), each["node"]) for each in check["vantages"] if each not in counted
        )
        if left_out:
            told.append([(f"not counted: {_told(left_out)}", "dim")])
        if everything and (where := _asked_at(check)):
            told.append([(where, "dim")])
        origins = _by_text((each.get("from"), each["node"]) for each in check["vantages"])
        told += [[(f"{', '.join(nodes)} took it over from {origin}", "dim")] for origin, nodes in origins.items()]
    margin = (" " * INDENT, "")
    return [line for cells in told for line in flow([margin, *cells], fits, INDENT)]


def _asked_at(check: Json) -> str:
    """Where the vantages found a target that has a name: `asked at 192.0.2.7 (fra, nyc); 192.0.2.9 (lab)`."""
    found = _by_text((each.get("address"), each["node"]) for each in check["vantages"])
    said = [f"{text} ({', '.join(nodes)})" for text, nodes in sorted(found.items()) if text not in check["target"]]
    return f"asked at {'; '.join(said)}" if said else ""


def _agreement(check: Json, counted: Sequence[Json]) -> str:
    """`1/3 fail < quorum 2`, of what is not well; of one vantage there is nothing to tell."""
    if len(counted) < 2 or check["state"] in WELL:
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
