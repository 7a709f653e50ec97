"""`[[server_list]]`: the checks that a configuration's lists of servers make.

Guarantees: a list that cannot be read is a mistake of the configuration; a row that is none is a warning with file and line, and
the other rows go on. A check of the configuration's own, or of an earlier list, wins over one of the same name. Passwords come
from the files that the rows name, which lie beneath the directory of the configuration, and stand in no sentence. Not guaranteed:
that such a file was meant for the server of its row.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from pydantic import ValidationError

from demesh import limits
from demesh.checks.check import Check
from demesh.config.build import build
from demesh.config.check_tables import TABLES
from demesh.config.lines import Path as Place
from demesh.config.outside import Files, Unfilled
from demesh.config.read import Document, ReadCheck
from demesh.config.tables import ConfigFile, DefaultsTable, ServerListTable
from demesh.errors import UsageError
from demesh.metrics import REFUSED
from demesh.servers.reading import read_list
from demesh.servers.server import Server, is_address
from demesh.target import target_problem

_NO_NAT_BEHAVIOUR = "With nat_behaviour = true, only servers of type stun over udp are checked."


@dataclass
class ListDocument(Document):
    """A list as a file of checks: check `n` stands on line `rows[n]`."""

    rows: list[int] = field(default_factory=list[int])

    def line(self, place: Place) -> int:
        return self.rows[place[1]] if len(place) > 1 and isinstance(place[1], int) else 1


@dataclass(frozen=True)
class Lists:
    checks: tuple[tuple[ReadCheck, Check], ...] = ()
    warnings: tuple[str, ...] = ()


def read_lists(config: ConfigFile, main: Document, names: Set[str], files: Files) -> Lists:
    """What `config` makes of its lists, besides checks of these `names`. What is wrong with `config` is noted in `main`."""
    taken = dict.fromkeys(names, "a check of the configuration")
    checks: list[tuple[ReadCheck, Check]] = []
    warnings: list[str] = []
    for index, table in enumerate(config.server_list):
        path = files.path(table.file)
        try:
            found = read_list(files.content(table.file, limits.SERVER_LIST_BYTES_MAX), PurePath(table.file).name)
        except (Unfilled, UsageError) as problem:
            sentence = f"{path}: {problem}" if isinstance(problem, UsageError) else f"{problem}."
            main.add(("server_list", index, "file"), sentence)
            continue
        document = ListDocument(path, written={"check": []}, content={"check": []})
        said = [(each.line, f"{each.sentence} The row is left out.") for each in found.rejected]
        for server in found.servers:
            if table.nat_behaviour and (server.type, server.transport) != ("stun", "udp"):
                said.append((server.line, f"{_NO_NAT_BEHAVIOUR} The row is left out."))
                continue
            if (name := _name(server, table)) in taken:
                said.append((server.line, f"{taken[name]} has the name {name!r} already. The row is left out."))
                continue
            try:
                checks.append(_check(server, table, document, config.defaults, files))
                taken[name] = f"{path}:{server.line}"
            except UsageError as problem:
                said.append((server.line, f"{problem} The row is left out."))
        warnings += _told(str(path), said)
    if checks and (many := len(names) + len(checks)) > limits.CHECKS_MAX:
        main.add(("server_list",), f"makes {many} checks with all others; at most {limits.CHECKS_MAX} are allowed.")
    return Lists(tuple(checks), tuple(warnings))


def _name(server: Server, table: ServerListTable) -> str:
    """Of a check of its NAT behaviour one of its own, so that two tables may name the same list."""
    return server.named("stun-nat") if table.nat_behaviour else server.check_name


def _told(path: str, said: list[tuple[int, str]]) -> Iterator[str]:
    REFUSED.labels("config", "server_list").inc(len(said))
    said.sort()
    most = limits.SERVER_LIST_REFUSALS_TOLD_MAX
    yield from (f"{path}:{line}: {sentence}" for line, sentence in said[:most])
    if len(said) > most:
        yield f"{path}: {len(said) - most} more rows are left out; `demesh servers import` names each."


def _check(
    server: Server, table: ServerListTable, document: ListDocument, defaults: DefaultsTable, files: Files
) -> tuple[ReadCheck, Check]:
    """Raises UsageError, a sentence."""
    content = _content(server, table, files)
    index = len(document.rows)
    document.rows.append(server.line)
    document.written["check"].append(content)
    document.content["check"].append(content)
    if said := target_problem(server.type, server.target):
        raise UsageError(f"The target of this version's checks of type {server.type!r} cannot be that: it {said}")
    try:
        model = TABLES[server.type].model_validate(content)
    except ValidationError as error:
        raise UsageError(f"The check cannot be made: {error.errors()[0]['loc'][0]} does not fit.") from None
    read = ReadCheck(document, index, server.type, model)
    noted = len(document.problems)
    check = build(read, defaults, files)
    if check is None:
        raise UsageError(document.problems[noted].sentence)
    return read, check


def _content(server: Server, table: ServerListTable, files: Files) -> dict[str, Any]:
    """The table `[[check]]` of a server. Raises UsageError."""
    content: dict[str, Any] = {
        "name": _name(server, table),
        "target": server.target,
        "interval": f"{table.interval}ms",
        "notify": table.notify,
        "listed": True,
    }
    if not is_address(server.host):
        content["addresses"] = table.addresses
    if table.nat_behaviour:
        content["nat_behaviour"] = True
    if server.type == "dns":
        content["record"] = "NS"  # of the root: whoever answers questions knows it
    optional = {
        "spread": table.spread,
        "nodes": table.nodes,
        "severity": table.severity,
        "timeout": f"{table.timeout}ms" if table.timeout is not None else None,
        "ip": server.family or None,
    }
    content |= {key: value for key, value in optional.items() if value is not None}
    if server.password_file:
        content["user"], content["password"] = _login(server, files)
    return content


def _login(server: Server, files: Files) -> tuple[str, str]:
    """Of a row without a user, its file has that in the first line. Raises UsageError, a sentence that repeats nothing of it."""
    if not _is_beneath(server.password_file, files):
        raise UsageError(
            "The password_file must be relative, and lead to a file beneath the directory of the configuration."
        )
    try:
        text = files.content(server.password_file, limits.SECRET_FILE_BYTES_MAX).decode()
    except Unfilled as problem:
        raise UsageError(f"{problem}.") from None
    except UnicodeDecodeError:
        raise UsageError("The password_file is not UTF-8 text.") from None
    lines = text.removesuffix("\n").split("\n")
    if server.user:
        lines = [server.user, *lines]
    if len(lines) != 2 or not all(lines):
        lacks = "one line, the password" if server.user else "two lines: the user, and the password"
        raise UsageError(f"The password_file must hold {lacks}.")
    return lines[0], lines[1]


def _is_beneath(name: str, files: Files) -> bool:
    """Whether a file's name leads out of the configuration's directory in no way: a list may be a stranger's."""
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts:
        return False
    try:
        return files.path(name).resolve().is_relative_to(files.path("").resolve())
    except (OSError, RuntimeError, ValueError):  # links that go round, a zero character
        return False
