"""What nodes are to say, what of it they do not say yet, and what has changed in what they say. Pure.

An answer is that of `GET /api/v1/status`, or None from a node that does not answer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Answer = Mapping[str, Any] | None
_VOTES = {"pass": "✔", "fail": "✖", "unseen": "·"}


@dataclass(frozen=True, slots=True)
class CheckSight:
    """A check in `state`, with so many votes that count."""

    name: str
    state: str
    passing: int
    failing: int = 0


@dataclass(frozen=True, slots=True)
class Sight:
    """What every node that runs is to say. `nodes` are pairs of name and presence, `incidents` of name and subject."""

    checks: tuple[CheckSight, ...] = ()
    nodes: tuple[tuple[str, str], ...] = ()
    incidents: tuple[tuple[str, str], ...] = ()


def lacking(sight: Sight, answers: Mapping[str, Answer]) -> str:
    """What is said in place of that: `fra, nyc: lab is suspect; lab: no answer yet`. Empty if all say it."""
    said: dict[str, list[str]] = {}
    for node, answer in answers.items():
        if lack := _lack(sight, answer):
            said.setdefault(lack, []).append(node)
    return "; ".join(f"{', '.join(nodes)}: {lack}" for lack, nodes in said.items())


def _lack(sight: Sight, answer: Answer) -> str:
    if answer is None:
        return "no answer yet"
    presences = presences_of(answer)
    for name, presence in sight.nodes:
        if presences.get(name) != presence:
            return f"{name} is {presences.get(name, 'not known yet')}"
    open_ = {(each["name"], each["subject"]) for each in answer["incidents"]}
    for name, subject in sight.incidents:
        if (name, subject) not in open_:
            return f"{name} {subject} is not open yet"
    found = {check["name"]: check for check in answer["checks"]}
    for wanted in sight.checks:
        check = found.get(wanted.name)
        if check is None:
            return f"{wanted.name} is not known yet"
        votes = [each["vote"] for each in check["vantages"] if each["assigned"]]
        counted = (votes.count("pass"), votes.count("fail"))
        if check["state"] != wanted.state or counted != (wanted.passing, wanted.failing):
            return f"{wanted.name} is {_state(check)}"
    return "" if answer["settled"] else "it has not heard of all yet"


def changes(before: Answer, after: Answer) -> list[tuple[str, str]]:
    """What turned between two answers: a sentence, and the state or presence that it is now."""
    if before is None or after is None:
        return []
    was = {check["name"]: _state(check) for check in before["checks"]}
    found = [
        (f"{check['name']} is {_state(check)}", str(check["state"]))
        for check in after["checks"]
        if was.get(check["name"]) != _state(check)
    ]
    presences = presences_of(before)
    found.extend(
        (f"{name} is {presence}", presence)
        for name, presence in presences_of(after).items()
        if presences.get(name) != presence
    )
    return found


def presences_of(answer: Mapping[str, Any]) -> dict[str, str]:
    return {str(node["name"]): str(node["presence"]) for node in answer["nodes"]}


def _state(check: Mapping[str, Any]) -> str:
    """`partial (fra✔ nyc✖ lab✔)`."""
    return f"{check['state']} ({' '.join(_votes(check))})"


def _votes(check: Mapping[str, Any]) -> Iterator[str]:
    for each in check["vantages"]:
        if each["assigned"]:
            yield f"{each['node']}{_VOTES.get(each['vote'], '·')}"
