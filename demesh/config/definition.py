"""What of a check's table decides its votes, in a form that others may hold against theirs, and that gives no secret away.

The definition hash (docs/protocol.md) is keyed with the mesh id, which every member has: a member could find a short secret
in it by trying. So a secret is never in it, only that there is one; and what comes from the environment is in it as it is
written, `${NAME}`.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, cast

from demesh.checks.check import Pairs
from demesh.config.check_tables import CheckTable
from demesh.config.outside import references
from demesh.target import public_target

_APART = {
    # what has a place of its own in the hash
    *("type", "target", "interval", "timeout", "retry_interval", "fail_after", "recover_after", "expect"),
    # what is made of the votes, or told of them
    *(
        "name",
        "enabled",
        "quorum",
        "severity",
        "nodes",
        "labels",
        "runbook",
        "depends_on",
        "spread",
        "notify",
        "anchor",
    ),
    *("show_actual", "show_query"),
    # how a node authenticates is its own matter
    *("user", "password", "password_file"),
}
_SECRET_NAME = re.compile(
    r"authori[sz]ation|cookie|password|passwd|passphrase|secret|token|credential|session|signature|auth\b"
    r"|(^|[-_])(key|pwd|pass)$|apikey",
    re.IGNORECASE,
)


def expectations(table: CheckTable, written: dict[str, Any]) -> Pairs:
    """Each expectation's key and JSON, as configured."""
    said = table.expect.model_dump(exclude_defaults=True, by_alias=True)
    return tuple(_pairs(said, written.get("expect", {})))


def definition(table: CheckTable, written: dict[str, Any]) -> Pairs:
    """Key and JSON of whatever else decides a vote and is not at its default."""
    return tuple(_pairs(table.model_dump(exclude_defaults=True, exclude=_APART, by_alias=True), written))


def is_secret_name(name: str) -> bool:
    """Whether what is called so is likely to be a secret: `Authorization`, `X-Api-Key`, `DB_PASSWORD`."""
    return _SECRET_NAME.search(name) is not None


def _pairs(said: dict[str, Any], written: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in sorted(said.items()):
        value = as_written(value, written.get(key))
        if isinstance(value, dict) and key in ("headers", "env", "arguments"):
            value = _without_secrets(cast(dict[str, Any], value))
        elif isinstance(value, str) and key == "proxy":
            value = public_target(value)
        yield key, json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def as_written(value: Any, written: Any) -> Any:
    """`value` with the text of the file wherever that refers to the environment."""
    if isinstance(written, str):
        return written if references(written) else value
    if isinstance(written, dict) and isinstance(value, dict):
        texts = cast(dict[str, Any], written)
        return {key: as_written(each, texts.get(key)) for key, each in cast(dict[str, Any], value).items()}
    if isinstance(written, list) and isinstance(value, list):
        texts, values = cast(list[Any], written), cast(list[Any], value)
        if len(texts) == len(values):  # status codes may be fewer, and in another order; none of them is text
            return [as_written(each, text) for each, text in zip(values, texts, strict=True)]
    return cast(Any, value)


def _without_secrets(table: dict[str, Any]) -> dict[str, Any]:
    """`table` with None for every secret that stands in the file itself."""
    return {name: _told(name, value) for name, value in table.items()}


def _told(name: str, value: Any) -> Any:
    if isinstance(value, str) and references(value):
        return value
    if is_secret_name(name):
        return None
    return _without_secrets(cast(dict[str, Any], value)) if isinstance(value, dict) else value
