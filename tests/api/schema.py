"""The part of JSON Schema that `/openapi.json` uses, checked strictly: a keyword it does not know fails, and so does a key
of an object that the schema does not name.
"""

from collections.abc import Iterator
from typing import Any

from demesh.api.models import StatusModel

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}
_LOCAL = "x-local"
_WORDS_ONLY = {"title", "description", "default", _LOCAL}
_KNOWN = {*_WORDS_ONLY, "$ref", "anyOf", "type", "const", "items", "properties", "required", "additionalProperties"}


def faults(value: Any, schema: Any, document: Any, place: str = "$") -> list[str]:
    """Where and how `value` departs from `schema`; `document` is the whole of /openapi.json."""
    if unknown := schema.keys() - _KNOWN:
        return [f"{place}: the schema has {sorted(unknown)}, which this does not know"]
    if "$ref" in schema:
        found: Any = document
        for key in schema["$ref"].removeprefix("#/").split("/"):
            found = found[key]
        return faults(value, found, document, place)
    if "anyOf" in schema:
        tried = [faults(value, each, document, place) for each in schema["anyOf"]]
        return [] if [] in tried else min(tried, key=len)
    if "const" in schema and value != schema["const"]:
        return [f"{place}: {value!r} is not {schema['const']!r}"]
    kind = schema["type"]
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return [f"{place}: {value!r} is no {kind}"]
    if isinstance(value, list):
        items = schema["items"]
        return [fault for i, each in enumerate(value) for fault in faults(each, items, document, f"{place}[{i}]")]
    return _object_faults(value, schema, document, place) if isinstance(value, dict) else []


def _object_faults(value: dict[str, Any], schema: Any, document: Any, place: str) -> list[str]:
    named, more = schema.get("properties", {}), schema.get("additionalProperties")
    found = [f"{place}: {key} is missing" for key in schema.get("required", []) if key not in value]
    for key, each in value.items():
        described = named.get(key, more)
        if not isinstance(described, dict):
            found.append(f"{place}: {key} is not described")
        else:
            found += faults(each, described, document, f"{place}.{key}")
    return found


def local_fields() -> Iterator[str]:
    """The fields of a status that are the answering node's own: `as_of`, `checks[].uptime`."""
    whole = StatusModel.model_json_schema()
    waiting: list[tuple[str, Any]] = [("", whole)]
    while waiting:
        place, schema = waiting.pop()
        for name, field in schema["properties"].items():
            if field.get(_LOCAL):
                yield place + name
            elif "$ref" in field.get("items", {}):
                waiting.append((f"{place}{name}[].", whole["$defs"][field["items"]["$ref"].rpartition("/")[2]]))
