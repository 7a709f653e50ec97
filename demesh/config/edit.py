"""Edits of a configuration that keep what people wrote: comments, order and layout of all that is not changed.

Only the text of the one check is touched, and what comes of it must say what it said before but for the change. An edit is made
on a copy, the whole configuration is read with that copy, and only then the file is replaced, as a whole and
with its owner and mode. What the edit would make worse is refused; problems that were there before are not its fault.
Of edits at the same time each comes after another (`demesh.disk.changing`), so none is lost.
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

from demesh.config.lines import table_spans
from demesh.config.load import Loaded, load
from demesh.config.problems import nearest
from demesh.config.read import is_there, read_text
from demesh.disk import changing
from demesh.errors import ConfigError, UsageError

_PLACE = re.compile(r":(?P<line>\d+): (check\[\d+\]\.?)?")
"""What an edit may change in the sentence of a problem that stays: its line, and the number of the check."""

Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Edited:
    """The file that was changed, and the problems that the configuration had before and still has."""

    path: Path
    problems: Sequence[str]


def add_check(config: Path, table: Mapping[str, Any]) -> Edited:
    """Append a check to the main file, which is made if it is missing. Raises UsageError, DemeshError."""
    with changing(_directory(config)):
        return _add_check(config, table)


def _add_check(config: Path, table: Mapping[str, Any]) -> Edited:
    text = read_text(config) if is_there(config) else ""
    ending = "\r\n" if "\r\n" in text else "\n"
    gap = "" if not text else ending if text.endswith("\n") else 2 * ending
    document = tomlkit.document()
    checks: Any = tomlkit.aot()
    checks.append(_table(table))
    document.append("check", checks)
    try:
        return _replace(config, config, text + gap + tomlkit.dumps(document).replace("\n", ending))
    except ConfigError as error:
        places = f"{config}:", len(text.splitlines())
        raise ConfigError([_without_new_place(each, *places) for each in error.problems]) from None


def set_keys(config: Path, name: str, values: Mapping[str, Any]) -> Edited:
    """Set keys of the check `name`; a key may be dotted. Raises UsageError, DemeshError."""

    def change(checks: list[Table], index: int) -> None:
        for key, value in values.items():
            *tables, last = key.split(".")
            _inner(checks[index], tables)[last] = value

    return _change(config, name, change)


def remove_check(config: Path, name: str) -> Edited:
    """Take the check `name` away. Raises UsageError, DemeshError."""

    def change(checks: list[Table], index: int) -> None:
        del checks[index]

    return _change(config, name, change)


def add_peers(config: Path, peers: Sequence[str]) -> int:
    """Add to `[mesh] peers` of the main file those that are not there; returns how many. Raises UsageError, DemeshError."""
    with changing(_directory(config)):
        return _add_peers(config, peers)


def _add_peers(config: Path, peers: Sequence[str]) -> int:
    text = read_text(config)
    try:
        document = cast(Table, tomlkit.parse(text))
        wanted = tomllib.loads(text)
        there = wanted.setdefault("mesh", {}).setdefault("peers", [])
        more = [each for each in peers if each not in there]
        if not more:
            return 0
        there += more
        if not isinstance(document.get("mesh"), dict):
            document["mesh"] = tomlkit.table()
        mesh = cast(Table, document["mesh"])
        if "peers" not in mesh:
            mesh["peers"] = tomlkit.array()
        cast(list[str], mesh["peers"]).extend(more)
        made = tomlkit.dumps(cast(Any, document))
        sound = tomllib.loads(made) == wanted
    except (TOMLKitError, tomllib.TOMLDecodeError, TypeError, KeyError, AttributeError):
        raise UsageError(f"The peers cannot be added to {config}; add them by hand: {', '.join(peers)}") from None
    if not sound:
        raise UsageError(f"{config} is written in a way that cannot be changed here without harm; edit it by hand.")
    _replace(config, config, made)
    return len(more)


def parse_value(text: str) -> Any:
    """`text` as a TOML value; what is none is plain text."""
    try:
        value = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return text
    return value["value"] if list(value) == ["value"] else text


def _change(config: Path, name: str, change: Callable[[list[Table], int], None]) -> Edited:
    """Apply `change` to a list of checks and the place of `name` in it: in the text of that check only."""
    with changing(_directory(config)):
        path, _ = _find(load(config), name)
        with changing(_directory(path)):  # which may be part of another configuration, too
            return _change_in(config, *_find(load(config), name), change)


def _change_in(config: Path, path: Path, index: int, change: Callable[[list[Table], int], None]) -> Edited:
    text = read_text(path)
    try:
        wanted = tomllib.loads(text)
        change(wanted["check"], index)
        begin, end = _span(text, index)
        part = tomlkit.parse(text[begin:end])
        change(cast(Table, part)["check"], 0)
        left = tomlkit.dumps(part) if cast(Table, part)["check"] else ""
        made = text[:begin] + left + (text[end:] if left else text[end:].lstrip("\r\n"))
        sound = _checks(tomllib.loads(made)) == _checks(wanted)
    except (TOMLKitError, tomllib.TOMLDecodeError, TypeError, KeyError):
        sound, made = False, ""
    if not sound:
        raise UsageError(f"{path} is written in a way that cannot be changed here without harm; edit it by hand.")
    return _replace(config, path, made)


def _directory(path: Path) -> Path:
    """Where the file is that is replaced: that which a link leads to."""
    return Path(os.path.realpath(path)).parent


def _span(text: str, index: int) -> tuple[int, int]:
    """Where the text of the check `index` begins and ends. Raises KeyError if it has no header of its own."""
    spans = table_spans(text)
    own = [place for place, (path, _, _) in enumerate(spans) if path == ("check", index)]
    if not own:
        raise KeyError(index)
    first = last = own[0]
    while last + 1 < len(spans) and spans[last + 1][0][:2] == ("check", index):
        last += 1
    return spans[first][1], spans[last][2]


def _checks(content: Table) -> Table:
    """`content`, in which no checks are the same as an empty list of them."""
    return {key: value for key, value in content.items() if key != "check" or value}


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


def _without_new_place(problem: str, file: str, lines: int) -> str:
    """`problem` without its place, if that is in `file` after the `lines` that there are."""
    found = _PLACE.match(problem, len(file) - 1) if problem.startswith(file) else None
    return problem[found.end() :].removeprefix(": ") if found and int(found["line"]) > lines else problem


def _kind(problem: str) -> str:
    return _PLACE.sub(": ", problem, count=1)


def _write(path: Path, content: bytes) -> None:
    """Replace `path`, through a symbolic link if it is one. Raises UsageError."""
    path = path.resolve()
    temporary = None
    try:
        status = path.stat() if path.exists() else None
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
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
    table = tomlkit.table()
    for key, value in values.items():
        *tables, last = key.split(".")
        _inner(cast(Table, table), tables)[last] = value
    return table


def _inner(table: Table, names: Sequence[str]) -> Table:
    """The table inside `table` that `names` lead to; what is missing is made, in one line."""
    for name in names:
        if not isinstance(table.get(name), dict):
            table[name] = tomlkit.inline_table()
        table = cast(Table, table[name])
    return table
