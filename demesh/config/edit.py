"""Edits of a configuration that keep what people wrote: comments, order and layout of all that is not changed.

An edit is made on a copy, the whole configuration is read with that copy, and only then the file is replaced, as a whole and
with its owner and mode. What the edit would make worse is refused; problems that were there before are not its fault.
"""

import os
import re
import tempfile
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import tomlkit
from tomlkit.exceptions import TOMLKitError

from demesh.config.load import Loaded, load
from demesh.config.problems import nearest
from demesh.config.read import is_there, read_text
from demesh.errors import ConfigError, UsageError

_PLACE = re.compile(r":\d+: (check\[\d+\]\.?)?")
"""What an edit may change in the sentence of a problem that stays: its line, and the number of the check."""

Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Edited:
    """The file that was changed, and the problems that the configuration had before and still has."""

    path: Path
    problems: Sequence[str]


def add_check(config: Path, table: Mapping[str, Any]) -> Edited:
    """Append a check to the main file, which is made if it is missing. Raises UsageError."""
    text = read_text(config) if is_there(config) else ""
    ending = "\r\n" if "\r\n" in text else "\n"
    gap = "" if not text else ending if text.endswith("\n") else 2 * ending
    document = tomlkit.document()
    checks: Any = tomlkit.aot()
    checks.append(_table(table))
    document.append("check", checks)
    return _replace(config, config, text + gap + tomlkit.dumps(document).replace("\n", ending))


def set_keys(config: Path, name: str, values: Mapping[str, Any]) -> Edited:
    """Set keys of the check `name`; a key may be dotted. Raises UsageError."""

    def change(checks: list[Table], index: int) -> None:
        for key, value in values.items():
            table = checks[index]
            *tables, last = key.split(".")
            for each in tables:
                if not isinstance(table.get(each), dict):
                    table[each] = tomlkit.inline_table()
                table = cast(Table, table[each])
            table[last] = value

    return _change(config, name, change)


def remove_check(config: Path, name: str) -> Edited:
    """Take the check `name` away. Raises UsageError."""

    def change(checks: list[Table], index: int) -> None:
        del checks[index]

    return _change(config, name, change)


def parse_value(text: str) -> Any:
    """`text` as a TOML value; what is none is plain text."""
    try:
        value = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return text
    return value["value"] if list(value) == ["value"] else text


def _change(config: Path, name: str, change: Callable[[list[Table], int], None]) -> Edited:
    """Apply `change` to the list of checks of the file that holds `name`, and the place of that check in it."""
    path, index = _find(load(config), name)
    text = read_text(path)
    try:
        document = tomlkit.parse(text)
        wanted = tomllib.loads(text)
        for content in (wanted, cast(Table, document)):
            change(content["check"], index)
        if not wanted["check"]:
            del wanted["check"], document["check"]
        made = tomlkit.dumps(document)
        sound = tomllib.loads(made) == wanted
    except (TOMLKitError, tomllib.TOMLDecodeError, TypeError, KeyError):
        sound, made = False, ""
    if not sound:
        raise UsageError(f"{path} is written in a way that cannot be changed here without harm; edit it by hand.")
    return _replace(config, path, made)


def _find(loaded: Loaded, name: str) -> tuple[Path, int]:
    """The file of the check `name`, and its place there."""
    for check in loaded.configuration.checks:
        if check.name == name:
            return check.document.path, check.index
    names = [check.name for check in loaded.configuration.checks if check.name is not None]
    unreadable = [each.unreadable for each in loaded.configuration.documents if each.unreadable]
    if unreadable and not names:
        raise ConfigError(unreadable)
    raise UsageError(f"There is no check named {name!r}{nearest(name, names)}")


def _replace(config: Path, path: Path, text: str) -> Edited:
    """Give `path` the content `text`, unless the configuration is the worse for it."""
    before = load(config, texts=None if is_there(config) else {config: ""}).problems
    after = load(config, texts={path: text}).problems
    worse = Counter(map(_kind, after)) - Counter(map(_kind, before))
    if worse:
        raise ConfigError([each for each in after if worse[_kind(each)] > 0])
    _write(path, text.encode())
    return Edited(path, after)


def _kind(problem: str) -> str:
    return _PLACE.sub(": ", problem, count=1)


def _write(path: Path, content: bytes) -> None:
    """Replace `path`, through a symbolic link if it is one. Raises UsageError."""
    path = path.resolve()
    temporary = None
    try:
        status = path.stat() if path.exists() else None
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with open(descriptor, "wb") as file:
            if status:
                os.fchmod(descriptor, status.st_mode & 0o7777)
                with suppress(PermissionError):
                    os.fchown(descriptor, status.st_uid, status.st_gid)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError as error:
        if temporary:
            temporary.unlink(missing_ok=True)
        raise UsageError(f"Cannot write {path}: {error.strerror}.") from None


def _table(values: Mapping[str, Any]) -> Any:
    """A table of `values`, whose keys may be dotted; tables inside it are written in one line."""
    table = tomlkit.table()
    for key, value in values.items():
        inner: Any = table
        *tables, last = key.split(".")
        for each in tables:
            if not isinstance(inner.get(each), dict):
                inner[each] = tomlkit.inline_table()
            inner = inner[each]
        inner[last] = value
    return table
