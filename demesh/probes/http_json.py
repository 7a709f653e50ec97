"""Values in JSON bodies, found by JSONPath (RFC 9535) and compared as JSON compares them.

The paths are those of the RFC without its two functions that take regular expressions: they would run without a bound in
time. Not guaranteed: a path with several `..` or filters can take long on a body that was made for it.
"""

import json
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from typing import Any, cast

from demesh.errors import UsageError
from demesh.limits import CHECKS_MAX

Path = Callable[[Any], Iterable[Any]]
"""The values at a path in a document, lazily."""

_UNBOUNDED_FUNCTIONS = ("match", "search")


class NotJson(Exception):
    """A body is no JSON document that can be read."""


def parse_json(body: bytes) -> Any:
    """Raises NotJson."""
    try:
        return json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise NotJson from None


def values_at(path: str, document: Any, at_most: int) -> list[Any]:
    """The first values at `path`. Raises UsageError for a path that is none, NotJson for a document that nests too deep."""
    from jsonpath import JSONPathError

    found: list[Any] = []
    try:
        for value in compile_path(path)(document):
            found.append(value)
            if len(found) == at_most:
                break
    except (JSONPathError, RecursionError):
        raise NotJson from None
    return found


@lru_cache(CHECKS_MAX)
def compile_path(text: str) -> Path:
    """Raises UsageError with a phrase without a full stop."""
    from jsonpath import JSONPathError

    try:
        compiled = _environment().compile(text)
    except (JSONPathError, RecursionError, ValueError):  # the library's text has pictures of several lines
        raise UsageError("not a JSONPath; one looks like $.database.status or $.servers[0].up") from None
    return lambda document: (match.obj for match in compiled.finditer(document))


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal: 1 is 1.0 and is not true, the order of an object's members is nothing."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        one, other = cast(dict[str, Any], left), cast(dict[str, Any], right)
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(left, list) and isinstance(right, list):
        ones, others = cast(list[Any], left), cast(list[Any], right)
        return len(ones) == len(others) and all(same(*pair) for pair in zip(ones, others, strict=True))
    return left == right


@cache
def _environment() -> Any:
    from jsonpath import JSONPathEnvironment

    environment = JSONPathEnvironment(strict=True)
    for name in _UNBOUNDED_FUNCTIONS:
        del environment.function_extensions[name]
    return environment


def _refuse(constant: str) -> Any:
    """NaN and Infinity are JavaScript's, not JSON's."""
    raise ValueError(constant)
