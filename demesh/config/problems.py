"""What is wrong with a configuration, as sentences: where, what, what is allowed, and what may have been meant.

No sentence repeats a value that came from the environment.
"""

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from demesh.config.check_tables import TABLES, CheckTable
from demesh.config.lines import Path as Place
from demesh.config.outside import references
from demesh.config.tables import ConfigFile


@dataclass(frozen=True, slots=True)
class Problem:
    """`place` is the path of the key in its file."""

    place: Place
    sentence: str


def validation_problems(
    error: ValidationError, model: type[BaseModel], content: Any, written: Any, place: Place = ()
) -> Iterator[Problem]:
    """The problems of a table at `place`; `written` is its text, `content` the same with every `${…}` filled."""
    for each in cast(list[dict[str, Any]], error.errors(include_url=False, include_context=False)):
        path = tuple(part for part in cast(Place, each["loc"]) if part != "[key]")  # pydantic's mark for a key itself
        if each["type"] == "extra_forbidden":
            said = _no_such_key(str(path[-1]), path[:-1], model)
        elif each["type"] == "missing":
            said = "is missing."
        else:
            text = str(each["msg"]).removeprefix("Value error, ")
            said = discreet(f"{text[:1].lower()}{text[1:].rstrip('.')}.", path, content, written)
        yield Problem((*place, *path), said)


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or a full stop if nothing known is near."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else "."


def place_text(place: Place) -> str:
    """`check[1].expect.body`, arrays counted from 1."""
    text = "".join(f"[{each + 1}]" if isinstance(each, int) else f".{each}" for each in place).lstrip(".")
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def discreet(text: str, path: Sequence[str | int], content: Any, written: Any) -> str:
    """`text`, which may repeat the value at `path`, without what the environment gave."""
    for step in path:
        content, written = _inside(content, step), _inside(written, step)
    if not (isinstance(content, str) and isinstance(written, str) and references(written)):
        return text
    text = text.replace(repr(content), repr(written))
    return f"what {', '.join(references(written))} gives does not fit here." if content and content in text else text


def _inside(value: Any, step: str | int) -> Any:
    if isinstance(value, dict):
        return cast(dict[str | int, Any], value).get(step)
    if isinstance(value, list) and isinstance(step, int) and step < len(cast(list[Any], value)):
        return cast(list[Any], value)[step]
    return cast(Any, value)  # pydantic counts the one value of a list that was written without brackets


def _no_such_key(key: str, path: Sequence[str | int], model: type[BaseModel]) -> str:
    of_checks = issubclass(model, CheckTable)
    if of_checks and path in ((), ("expect",)):
        if key == "target":
            return "a check of this type has none."
        others = sorted(type_ for type_, other in TABLES.items() if key in _keys(other, path))
        if others:
            return f"belongs to checks of type {' or '.join(map(repr, others))}."
    if not of_checks and not path and key in ConfigFile.model_fields:
        return "belongs in the main configuration file, not in one of checks/."
    return f"there is no such key{nearest(key, _keys(model, path))}"


def _keys(model: type[BaseModel], path: Sequence[str | int]) -> Collection[str]:
    """The keys of the table at `path` in a table of `model`."""
    for step in path:
        if isinstance(step, str):
            inner: Any = model.model_fields[step].annotation
            inner = next(iter(getattr(inner, "__args__", ())), inner)  # list[NotifyTable] holds NotifyTable
            if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
                return ()
            model = inner
    return [field.alias or name for name, field in model.model_fields.items()]
