"""The servers of lists that members let rest since they never answered, as one is told of them. Pure."""

from collections.abc import Iterable, Mapping

from demesh.view.checks import CheckView
from demesh.view.member import Member
from demesh.view.report import Json, iso
from demesh.view.vote import VoteState


def parked(checks: Iterable[CheckView], names: Mapping[bytes, str]) -> list[Json]:
    """By check: who lets it rest, how often it was tried there, and what came of it the last time. `names` of members, by key."""
    return [
        {
            "name": check.row.name,
            "type": check.row.type,
            "target": check.row.target,
            "nodes": sorted(
                (_resting(each, check, names) for each in check.parked), key=lambda resting: resting["node"]
            ),
        }
        for check in checks
        if check.parked
    ]


def _resting(member: Member, check: CheckView, names: Mapping[bytes, str]) -> Json:
    state = member.current.votes.get((check.row.name, check.row.definition), VoteState())
    last = state.last
    return {
        "node": names.get(member.public_key, member.public_key.hex()),
        "tries": state.tries,
        "tried_at": iso(last.wall_ms) if last else None,
        "outcome": last.result.outcome.name.lower() if last else None,
        "detail": last.result.detail if last else "",
    }
