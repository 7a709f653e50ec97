"""From what another node tells of a check, or asks for, to the check that is run here.

Guarantees: only checks of something in the network, and of these only the keys in TOLD_KEYS: nothing that others say names a
file, a command, a plug-in, a header, a body, a proxy or a variable of this machine. `rebuild` gives a check whose definition
hash is the one that was told, or none: so it is the same check. It is held to every rule that a check in a file is held to.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from demesh import limits
from demesh.checks.check import TOLD_KEYS, Check
from demesh.config.build import build
from demesh.config.check_tables import TABLES, WITHOUT_TARGET
from demesh.config.outside import Files, depth_of
from demesh.config.read import Document, ReadCheck
from demesh.config.tables import DefaultsTable
from demesh.config.targets import find_type
from demesh.errors import UsageError
from demesh.log.plan import QUORUM_ALL, QUORUM_MAJORITY, PlanRow
from demesh.target import target_problem

TYPES = frozenset(TABLES).difference(WITHOUT_TARGET)
"""The types of checks that may come from elsewhere."""

_TIMES = ("response_time", "cert_expires_in", "offset")
_QUORUMS: dict[int, str] = {QUORUM_MAJORITY: "majority", QUORUM_ALL: "all"}
_KEYS = frozenset(
    (
        *("name", "target", "interval", "timeout", "retry_interval", "fail_after", "recover_after", "expect", "nodes"),
        *(
            "quorum",
            "severity",
            "labels",
            "spread",
            "show_query",
            "notify",
            "anchor",
            "depends_on",
            "runbook",
            *TOLD_KEYS,
        ),
    )
)


def rebuild(row: PlanRow, mesh_id: bytes) -> Check:
    """The check that `row` tells of. Raises UsageError, a clause without a full stop that repeats nothing of the row."""
    if row.type not in TYPES:
        raise UsageError("checks of its type are never taken from elsewhere, or not known here")
    if not row.whole:
        raise UsageError(
            "it needs what only its own node has: a login, a header, a body, a query, a file or a variable"
        )
    check = check_of(_content(row))
    if check.probe.type != row.type or check.row(mesh_id, False).definition != row.definition:
        raise UsageError("what is told of it does not make the same check")
    return check


def check_of(content: dict[str, Any]) -> Check:
    """The check of a table like `[[check]]`, of which no key reaches into this machine.

    Raises UsageError, a clause without a full stop that repeats nothing of the table.
    """
    if not content.keys() <= _KEYS:
        raise UsageError("it has a key that may not come from elsewhere")
    if depth_of(content, limits.CONFIG_DEPTH_MAX) > limits.CONFIG_DEPTH_MAX or "${" in json.dumps(content):
        raise UsageError("it is nested too deep, or refers to the environment")
    type_, wrong = find_type(content)
    if type_ not in TYPES or wrong:
        raise UsageError("its target is none that can be asked")
    try:
        table = TABLES[type_].model_validate(content)
    except ValidationError as error:
        places = sorted({".".join(map(str, each["loc"][:2])) for each in error.errors()} & _told_places())
        raise UsageError(f"it has a value that is not allowed{': ' + ', '.join(places) if places else ''}") from None
    if target_problem(type_, content["target"]) or any(True for _ in table.conflicts()):
        raise UsageError("its target or its keys do not go together")
    document = Document(Path(), written={"check": [content]}, content={"check": [content]})
    check = build(ReadCheck(document, 0, type_, table), DefaultsTable(), Files(Path()))
    if check is None:
        raise UsageError("it cannot be told to other nodes")
    return check


def _told_places() -> set[str]:
    """What of a mistake's place may be repeated: names of keys."""
    expects = {f"expect.{name}" for table in TABLES.values() for name in _expectations(table)}
    return set(_KEYS) | expects


def _expectations(table: Any) -> set[str]:
    fields = table.model_fields["expect"].annotation.model_fields
    return {field.alias or name for name, field in fields.items()}


def _content(row: PlanRow) -> dict[str, Any]:
    """The table from which `row` was made. Raises UsageError."""
    expect = {key: _value(text) for key, text in row.options}
    for key in _TIMES:
        if isinstance(expect.get(key), int):
            expect[key] = f"{expect[key]}ms"
    content: dict[str, Any] = {
        "name": row.name,
        "target": row.target,
        "interval": f"{row.interval_ms}ms",
        "timeout": f"{row.timeout_ms}ms",
        "retry_interval": f"{row.retry_interval_ms}ms",
        "fail_after": row.fail_after,
        "recover_after": row.recover_after,
        "quorum": _QUORUMS.get(row.quorum, row.quorum),
        "severity": row.severity,
        "nodes": list(row.nodes),
        "labels": dict(row.labels),
        "expect": expect,
        "notify": row.notify,
        "anchor": row.anchor,
        "depends_on": list(row.depends_on),
    }
    if row.runbook:
        content["runbook"] = row.runbook
    if row.spread:
        content["spread"] = row.spread
    if row.type == "http" and "?" in row.target:
        content["show_query"] = True
    told = {key: _value(text) for key, text in row.keys}
    if not told.keys() <= TOLD_KEYS:
        raise UsageError("it has a key that may not come from elsewhere")
    return content | told


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError("what is told of it is not JSON") from None
