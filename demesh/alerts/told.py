"""Decisions, mutes and alert paths in the shape that others build on: `demesh alerts --json` and its like, and the API.
Pure.

Times are ISO 8601 in UTC. Who said so is told as the name that was given, and the node in whose log it stands.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from demesh import limits
from demesh.alerts.quiet import Mute, maintenance_until
from demesh.log.decision import Acknowledgement, Place, place_text
from demesh.view.alert_path import AlertPath
from demesh.view.decisions import Decision, Decisions, Made
from demesh.view.notices import AlertTold
from demesh.view.report import iso

Json = dict[str, Any]
Names = Mapping[bytes, str]
_LOG_CHARS = 8


def short_id(place: Place) -> str:
    """What people call a decision: the begin of the log's id, and the entry."""
    return f"{place[0].hex()[:_LOG_CHARS]}-{place[1]}"


def is_called(place: Place, wanted: str) -> bool:
    """Whether people mean a decision by `wanted`."""
    return wanted in (short_id(place), place_text(place))


def mute_told(mute: Mute | None, names: Names) -> Json | None:
    if mute is None or not mute.holds_back:
        return None
    return {
        "kind": str(mute.kind),
        "by": mute.by or names.get(mute.author, ""),
        "until": iso(mute.until_ms),
        "comment": mute.comment,
    }


def acknowledgement_told(made: Made[Acknowledgement] | None, names: Names) -> Json | None:
    """That an incident is acknowledged."""
    return None if made is None else {**_said(made, names), "at": iso(made.wall_ms)}


def silences_told(decisions: Decisions, names: Names, wall_ms: int) -> list[Json]:
    """Those that are not over."""
    return [
        {
            **_said(each, names),
            "matchers": [matcher.text for matcher in each.decision.matchers],
            "starts_at": iso(each.decision.starts_ms),
            "ends_at": iso(each.decision.ends_ms),
            "active": each.decision.starts_ms <= wall_ms,
        }
        for each in decisions.silences
        if wall_ms < each.decision.ends_ms
    ]


def maintenance_told(decisions: Decisions, names: Names, wall_ms: int) -> list[Json]:
    """What goes on, is to come, or comes again and again."""
    found: list[Json] = []
    for made in decisions.maintenance:
        each, until_ms = made.decision, maintenance_until(made.decision, wall_ms)
        if not each.when and wall_ms >= each.ends_ms:
            continue
        found.append(
            {
                **_said(made, names),
                "name": each.name,
                "when": each.when or None,
                "starts_at": None if each.when else iso(each.starts_ms),
                "ends_at": iso(until_ms) if each.when else iso(each.ends_ms),
                "matchers": [matcher.text for matcher in each.matchers],
                "checks": list(each.checks),
                "nodes": list(each.nodes),
                "configured": each.configured,
                "active": until_ms is not None,
            }
        )
    return found


def acknowledgements_told(decisions: Decisions, names: Names) -> list[Json]:
    return [
        {
            **_said(each, names),
            "name": each.decision.name,
            "key": each.decision.key,
            "onset": iso(each.decision.onset_ms),
            "at": iso(each.wall_ms),
        }
        for each in decisions.acknowledgements
    ]


def foreign_told(alerts: Iterable[AlertTold], wall_ms: int) -> list[Json]:
    """What Alertmanagers say is firing."""
    return [
        {
            "fingerprint": told.alert.fingerprint,
            "since": iso(told.alert.starts_ms),
            "told_at": iso(told.wall_ms),
            "labels": dict(told.alert.labels),
        }
        for told in alerts
        if not told.alert.resolved and abs(wall_ms - told.wall_ms) < limits.ALERT_SHOWN_MS
    ]


def paths_told(paths: Iterable[AlertPath], now_ms: int, wall_ms: int) -> list[Json]:
    return [
        {
            "node": each.node,
            "receiver": each.receiver,
            "to": list(each.receivers),
            "came_back_at": iso(each.told_ms if each.came_back_ms is None else wall_ms - (now_ms - each.came_back_ms)),
            "works": each.works,
            "stopped": each.stopped,
        }
        for each in paths
    ]


def _said(made: Made[Decision], names: Names) -> Json:
    return {
        "id": short_id(made.place),
        "by": made.decision.by,
        "node": names.get(made.author, ""),
        "comment": made.decision.comment,
    }
