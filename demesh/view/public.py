"""What strangers may know of the checks, for the public listener. Pure.

    a check of a list of public servers      all: name, target, state, uptime, its place in the ranking
    one that the configuration names         name, state, uptime
    any other                                nothing

One of a list that has not answered anybody yet, a candidate or parked, is none of these: nothing is told of it.

Members are never named: vantages are numbered, anew in each document. Guaranteed: of a check that is neither listed nor named
nothing is in what these functions return. Not guaranteed: that what plans say is true; whoever has the swarm key may tell of a
check with any name and target, and that it is of a list.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from demesh.log.plan import PlanRow
from demesh.view.checks import CheckView
from demesh.view.ranking import Server
from demesh.view.servers import place_of
from demesh.view.uptime import Past, Uptime
from demesh.view.verdict import Verdict

EVERY = "*"
"""In place of a name: all checks."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A check as strangers see it. `target` is empty unless it is of a list; `since_ms` is Unix time; so many `passes` of so many
    `vantages` that count.
    """

    name: str
    target: str
    verdict: Verdict
    since_ms: int | None
    passes: int
    vantages: int
    uptime: Mapping[str, Uptime]


def may_be_known(row: PlanRow, named: Collection[str]) -> bool:
    """Whether strangers may know that there is this check; `named` is `api.public_checks`."""
    return row.listed or row.name in named or EVERY in named


def known(checks: Iterable[CheckView], named: Collection[str]) -> list[CheckView]:
    """Those of `checks` of which strangers may know now."""
    return [each for each in checks if may_be_known(each.row, named) and not each.candidate]


def shown(checks: Iterable[CheckView], named: Collection[str], past: Mapping[str, Past]) -> list[Shown]:
    """Those of `checks` of which strangers may know, by name."""
    return [
        Shown(
            name=each.row.name,
            target=each.row.target if each.row.listed else "",
            verdict=each.verdict,
            since_ms=each.since_ms,
            passes=each.tally.passes,
            vantages=each.tally.passes + each.tally.fails + each.tally.unseen,
            uptime=past.get(each.row.name, Past()).uptime,
        )
        for each in sorted(known(checks, named), key=lambda each: each.row.name)
    ]


def public_servers(servers: Sequence[Server], checks: Iterable[CheckView]) -> list[Server]:
    """Those of a ranking, in its order, that have answered once and whose check is of a list now and tells the same place."""
    rows = {each.row.name: each.row for each in checks if each.row.listed}
    answered = (each for each in servers if not each.never_answered)
    return [each for each in answered if (row := rows.get(each.name)) and place_of(row, each.address) == each.place]


def without_names(told: Any) -> Any:
    """A document with a number in place of each name of a member, which stands wherever a key is `node`."""
    numbers: dict[str, str] = {}

    def numbered(value: Any) -> Any:
        if isinstance(value, list):
            return [numbered(each) for each in cast(list[Any], value)]
        if not isinstance(value, dict):
            return value
        return {
            key: numbers.setdefault(each, str(len(numbers) + 1)) if key == "node" and each else numbered(each)
            for key, each in cast(dict[str, Any], value).items()
        }

    return numbered(told)
