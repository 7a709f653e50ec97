"""What `demesh status --json` tells on all nodes alike: everything but the fields that the API marks as the node's own."""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tests.api.schema import local_fields
from tests.e2e.harness import NodeProcess, eventually
from tests.e2e.swarm import LOOK_SECONDS, SECONDS, of_each

Json = dict[str, Any]
_COVERAGE_SLACK = 0.001
_LONG_WINDOWS = ("24h", "7d", "30d", "365d")
"""What came in since the last look back is less than the slack of these."""


def shared_part(status: Json) -> Json:
    """A status without what is the node's own."""
    return _without(status, set(local_fields()), "")


def _without(value: Any, fields: set[str], place: str) -> Any:
    if isinstance(value, list):
        return [_without(each, fields, f"{place}[]") for each in value]
    if not isinstance(value, dict):
        return value
    prefix = f"{place}." if place else ""
    return {name: _without(each, fields, prefix + name) for name, each in value.items() if prefix + name not in fields}


def status_as_told(node: NodeProcess) -> Json:
    """What `demesh status --json` prints."""
    return json.loads(node.run_command("status", "--json").stdout)


def assert_same_status(nodes: Sequence[NodeProcess]) -> Json:
    """Wait for a moment at which all of them tell the same; returns that."""
    told = eventually(
        lambda: of_each(nodes, lambda node: shared_part(node.status())),
        lambda told: all(each == told[0] for each in told),
        SECONDS,
        f"{len(nodes)} nodes tell the same status",
        every=LOOK_SECONDS,
    )
    return told[0]


def assert_same_uptime(nodes: Sequence[NodeProcess]) -> None:
    """They tell about the same past, though each looks back at a time of its own."""

    def alike(told: list[Json]) -> bool:
        return all(_alike(one, other) for one, other in pairwise(told))

    eventually(lambda: of_each(nodes, _uptime), alike, SECONDS, "about the same uptime", every=LOOK_SECONDS)


def _uptime(node: NodeProcess) -> Json:
    """Of each check and window: the share of time that was up, and that was observed."""
    return {
        f"{check['name']} {window}": check["uptime"][window]
        for check in node.status()["checks"]
        for window in _LONG_WINDOWS
    }


def _alike(one: Json, other: Json) -> bool:
    return one.keys() == other.keys() and all(
        one[key]["ratio"] == other[key]["ratio"]
        and abs(one[key]["coverage"] - other[key]["coverage"]) < _COVERAGE_SLACK
        for key in one
    )
