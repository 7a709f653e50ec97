"""The view in the shape that others build on: `demesh status --json` and `GET /api/v1/status`.

Times are ISO 8601 in UTC, durations carry their unit in the key. Pure: `now_ms` is monotonic, `wall_ms` dates the answer.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from demesh import limits
from demesh.identity import peer_id
from demesh.log.hello import PresenceProfile
from demesh.log.state import LogState
from demesh.view.checks import CheckView, Vantage
from demesh.view.fold import View
from demesh.view.hours import Hours
from demesh.view.member import Member
from demesh.view.names import names_of_everyone, shown_names
from demesh.view.presence import Presence
from demesh.view.uptime import WINDOWS, Past, Uptime
from demesh.view.warnings import Warned, newest

Json = dict[str, Any]
_RATIO_DIGITS = 6
_COVERAGE_DIGITS = 8


def iso(wall_ms: int | None) -> str | None:
    """Milliseconds of Unix time as ISO 8601, to the second; None for what no calendar holds."""
    if wall_ms is None or not 0 <= wall_ms < 253_402_300_800_000:
        return None
    return datetime.fromtimestamp(wall_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def status(
    view: View, past: Mapping[str, Past], behind: int, mesh: str, own_key: bytes, now_ms: int, wall_ms: int
) -> Json:
    """The whole answer but for the incidents: mesh, who answers and when, checks and nodes.

    `behind` is how many entries are not folded into `past` yet. A node folds every few seconds, so a few always are.
    """
    own = view.member(own_key)
    names, warnings = shown_names(view.members()), view.warnings()
    return {
        "mesh": mesh,
        "node": names[own_key] if own else None,
        "as_of": iso(wall_ms),
        "settled": view.settled(now_ms),
        "history": {"behind": behind, "complete": behind <= limits.HISTORY_BEHIND_MAX},
        "checks": [_check(check, past.get(check.row.name, Past()), names) for check in view.checks(now_ms)],
        "nodes": sorted(
            (
                {
                    **_node(view, member, names, now_ms, wall_ms),
                    "warnings": _warnings(warnings[member.public_key], wall_ms),
                }
                for member in view.members()
            ),
            key=lambda node: node["name"],
        ),
    }


def network(
    rebuilds: int, problem: str, died_ago_ms: int | None, down_ms: int | None, wall_ms: int, *, cut_off: bool
) -> Json:
    """How the answering node is connected with the others: `down_ms` is for how long its network does not run, None if it
    does; `died_ago_ms` when it failed the last time and `problem` why. `cut_off`: it looks as if this machine had no network.
    """
    return {
        "running": down_ms is None,
        "cut_off": cut_off,
        "down_since": None if down_ms is None else iso(wall_ms - down_ms),
        "rebuilds": rebuilds,
        "failed_at": None if died_ago_ms is None else iso(wall_ms - died_ago_ms),
        "problem": problem or None,
    }


def logs_told(view: View, missing: Mapping[bytes, int], owners: Mapping[bytes, bytes], *, left_off: bool) -> Json:
    """How far the answering node is behind what its peers hold: how many entries are `missing` of each log, and who its owner
    is, if that is known. `left_off`: nobody knows how much there is still to get. A few entries are always on their way.
    """
    names = names_of_everyone(view)
    lacks = [
        {"node": names.get(owners[log]) if log in owners else None, "log": log.hex(), "entries": entries}
        for log, entries in sorted(missing.items(), key=lambda item: (-item[1], item[0]))
    ]
    behind = sum(missing.values())
    return {"behind": behind, "complete": behind <= limits.LOGS_BEHIND_MAX and not left_off, "lacks": lacks}


def heads(view: View, states: Iterable[LogState]) -> list[Json]:
    """`demesh log heads --json`: every log with its member and newest entry, by log id."""
    names = names_of_everyone(view)
    return [
        {
            "log": state.log.hex(),
            "node": names.get(state.public_key),
            "peer_id": peer_id(state.public_key),
            "seq": state.head.seq,
            "hash": state.head.hash.hex(),
            "forked_at": state.fork.seq if state.fork else None,
        }
        for state in states
    ]


def _check(check: CheckView, past: Past, names: dict[bytes, str]) -> Json:
    expiries = [each.state.certificate_expires_s for each in check.vantages if each.state.certificate_expires_s]
    return {
        "name": check.row.name,
        "target": check.row.target,
        "type": check.row.type,
        "state": str(check.verdict),
        "since": iso(check.since_ms),
        "severity": check.row.severity,
        "interval_ms": check.row.interval_ms,
        "spread": check.row.spread or None,
        "depends_on": list(check.row.depends_on),
        "runbook": check.row.runbook or None,
        "notify": check.row.notify,
        "certificate_expires_at": iso(min(expiries) * 1_000) if expiries else None,
        "uptime": {window: _uptime(past.uptime.get(window)) for window in WINDOWS},
        "latency_ms": {label: round(value, 1) for label, value in past.latency_ms.items()},
        "hours": _hours(past.hours),
        "quorum": check.tally.quorum,
        "vantages": sorted((_vantage(each, names) for each in check.vantages), key=lambda vantage: vantage["node"]),
    }


def _uptime(uptime: Uptime | None) -> Json:
    if uptime is None:
        return {"ratio": None, "coverage": 0.0}
    ratio = None if uptime.ratio is None else _rounded(uptime.ratio, _RATIO_DIGITS)
    return {"ratio": ratio, "coverage": _rounded(uptime.coverage, _COVERAGE_DIGITS)}


def _hours(hours: Hours | None) -> Json | None:
    """As columns: with a thousand checks a key for each hour would be most of the answer."""
    if hours is None:
        return None
    return {"from": _hour(hours.first_ms), "up_ratio": list(hours.up_ratio), "coverage": list(hours.coverage)}


@lru_cache(maxsize=2)
def _hour(first_ms: int) -> str | None:
    """As `iso`; all checks have the same."""
    return iso(first_ms)


def _rounded(share: float, digits: int) -> float:
    """Rounded, but never to 1 what is less: somebody may ask whether it was always."""
    return min(round(share, digits), 1 - 10**-digits) if share < 1 else 1.0


def _vantage(vantage: Vantage, names: dict[bytes, str]) -> Json:
    last = vantage.state.last
    latency_us = last.result.latency_us if last else None
    return {
        "node": names[vantage.member.public_key],
        "vote": str(vantage.vote),
        "assigned": vantage.assigned,
        "excluded": vantage.excluded or None,
        "stalled": vantage.stalled,
        "outcome": last.result.outcome.name.lower() if last else None,
        "detail": last.result.detail if last else "",
        "latency_ms": latency_us / 1_000 if latency_us is not None else None,
        "address": vantage.state.address,
        "from": names.get(vantage.row.origin, peer_id(vantage.row.origin)) if vantage.row.origin else None,
        "at": iso(last.wall_ms) if last else None,
    }


def _warnings(warned: Iterable[Warned], wall_ms: int) -> list[Json]:
    return [{"at": iso(each.wall_ms), "subject": each.subject, "text": each.text} for each in newest(warned, wall_ms)]


def _node(view: View, member: Member, names: dict[bytes, str], now_ms: int, wall_ms: int) -> Json:
    hello, bye = member.current.hello, member.current.bye
    back_by_ms = wall_ms - (now_ms - member.sign.at_ms) + bye.back_by_ms if bye else None
    broken = view.broken.get(member.public_key)
    return {
        "name": names[member.public_key],
        "peer_id": peer_id(member.public_key),
        "presence": str(view.presence(member, now_ms)),
        "seen_at": iso(seen_ms(view, member, now_ms, wall_ms)),
        "roaming": hello is not None and hello.presence == PresenceProfile.ROAMING,
        "bye": bye.reason if bye else None,
        "back_by": iso(back_by_ms),
        "broken": broken.why if broken else None,
        "version": hello.version if hello else None,
        "tags": list(hello.tags) if hello else [],
        "addresses": list(hello.addresses) if hello else [],
    }


def seen_ms(view: View, member: Member, now_ms: int, wall_ms: int) -> int | None:
    """When a member was last heard of, as Unix time: a living one on our own clock, of others only their own dates are known."""
    current = member.current
    if view.presence(member, now_ms) in (Presence.ALIVE, Presence.SUSPECT) and current.clock.live:
        return wall_ms - (now_ms - member.sign.at_ms)
    return current.newest.wall_ms if current.newest else None
