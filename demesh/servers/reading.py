"""Reads lists of servers: our own form, and that of Dogdorm. Pure: text in, rows out.

    type,host,port,transport,family,user,password_file,note         ours: CSV with this line first; # begins a comment

    ip,port[,fqn[,user[,password]]]                                 Dogdorm's: no header, no quotes; the file's name tells the
                                                                    type and the family (stun_v4.csv); `ip` is 0, or empty,
                                                                    where only a name is known

Guarantees: every row is accepted, or merged with an earlier one of the same server, or rejected with its line and the reason; at
most SERVER_LIST_ROWS_MAX are looked at. No reason repeats what stands in a row. Passwords are in `Server.login` alone, which
nothing prints. Not guaranteed: that there is a server.
"""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO

from demesh import limits
from demesh.errors import UsageError
from demesh.servers.server import (
    FAMILIES,
    TRANSPORTS,
    WITH_LOGIN,
    Login,
    Server,
    check_is_server,
    is_address,
    read_address,
    read_name,
    read_port,
)

HEADER = ("type", "host", "port", "transport", "family", "user", "password_file", "note")
_NAMED = re.compile(r"([a-z]+)_v([46])\b", re.IGNORECASE)
_DOGDORM_COLUMNS_MAX = 5
_BLANK_HOSTS = ("", "0")


@dataclass(frozen=True, slots=True)
class Rejected:
    line: int
    reason: str
    """A clause without a full stop."""

    @property
    def sentence(self) -> str:
        return self.reason if self.reason.endswith("?") else f"{self.reason}."


@dataclass(frozen=True, slots=True)
class Merged:
    """A row that means the same server as an earlier one."""

    line: int
    first_line: int


@dataclass(frozen=True, slots=True)
class ServerList:
    servers: tuple[Server, ...]
    merged: tuple[Merged, ...] = ()
    rejected: tuple[Rejected, ...] = ()


def read_list(raw: bytes, name: str, type_: str | None = None) -> ServerList:
    """What stands in the file `name` (without its directory). `type_` is for a list in Dogdorm's form whose name tells none.

    Raises UsageError, a sentence without the file's name, for a list of which no row can be read.
    """
    rows = _lines(raw.removeprefix(b"\xef\xbb\xbf"))
    first = next(rows, None)
    if first is None:
        return ServerList(())
    if isinstance(first, _Line) and tuple(cell.strip().lower() for cell in first.text.split(",")) == HEADER:
        return _gathered(rows, _own_row)
    named = _NAMED.search(name)
    kind = type_ or (named[1].lower() if named else "")
    family = named[2] if named else ""
    if kind not in TRANSPORTS:
        raise UsageError(
            f"It does not begin with the line {','.join(HEADER)}, and its name tells no type as stun_v4.csv does; "
            f"the types are {', '.join(TRANSPORTS)}."
        )
    return _gathered(_again(first, rows), lambda line: _dogdorm_row(line, kind, family))


def written(servers: Sequence[Server]) -> str:
    """A list in our own form; without what is in `login`."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    for each in servers:
        writer.writerow(
            (each.type, each.host, each.port, each.transport, each.family, each.user, each.password_file, each.note)
        )
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str


_Read = Callable[[_Line], Server]
"""Raises UsageError, a clause."""


def _lines(raw: bytes) -> Iterator[_Line | Rejected]:
    """The lines that say something, and those that cannot be read."""
    read = 0
    for number, line in enumerate(raw.split(b"\n"), 1):
        line = line.removesuffix(b"\r")
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        read += 1
        if read > limits.SERVER_LIST_ROWS_MAX:
            yield Rejected(
                number, f"a list has at most {limits.SERVER_LIST_ROWS_MAX} rows; this one and the rest are left out"
            )
            return
        if len(line) > limits.SERVER_LIST_LINE_BYTES_MAX:
            yield Rejected(number, f"the row is longer than {limits.SERVER_LIST_LINE_BYTES_MAX} bytes")
            continue
        try:
            yield _Line(number, line.decode())
        except UnicodeDecodeError:
            yield Rejected(number, "the row is not UTF-8 text")


def _again(first: _Line | Rejected, rest: Iterator[_Line | Rejected]) -> Iterator[_Line | Rejected]:
    yield first
    yield from rest


def _gathered(rows: Iterator[_Line | Rejected], read: _Read) -> ServerList:
    servers: dict[tuple[str, str, str, str, int], Server] = {}
    merged: list[Merged] = []
    rejected: list[Rejected] = []
    for row in rows:
        if isinstance(row, Rejected):
            rejected.append(row)
            continue
        try:
            server = replace(read(row), line=row.number)
        except UsageError as reason:
            rejected.append(Rejected(row.number, str(reason)))
            continue
        if (first := servers.setdefault(server.key, server)) is not server:
            merged.append(Merged(row.number, first.line))
    return ServerList(tuple(servers.values()), tuple(merged), tuple(rejected))


def _own_row(line: _Line) -> Server:
    try:
        (cells,) = csv.reader([line.text], strict=True)
    except (csv.Error, ValueError):
        raise UsageError("the row's quotes do not go together") from None
    if len(cells) != len(HEADER):
        raise UsageError(f"the row has {len(cells)} columns where the header has {len(HEADER)}")
    type_, host, port, transport, family, user, password_file, note = (cell.strip(" ") for cell in cells)
    if type_ not in TRANSPORTS:
        raise UsageError(f"there is no such type; the types are {', '.join(TRANSPORTS)}")
    transport = transport or next(iter(TRANSPORTS[type_]))
    if transport not in TRANSPORTS[type_]:
        raise UsageError(f"a server of type {type_} is asked over {' or '.join(TRANSPORTS[type_])}")
    if family not in FAMILIES:
        raise UsageError("the family must be 4, 6 or empty")
    if host in _BLANK_HOSTS:
        raise UsageError("the host is missing")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    host = read_address(bare, family) if is_address(bare) else read_name(host)
    check_is_server(type_, host)
    _check_login(type_, user, password_file)
    _check_note(note, user, password_file)
    return Server(
        type_, host, read_port(port, TRANSPORTS[type_][transport][1]), transport, family, user, password_file, note
    )


def _dogdorm_row(line: _Line, type_: str, family: str) -> Server:
    cells = [cell.strip(" ") for cell in line.text.split(",")]
    if not 2 <= len(cells) <= _DOGDORM_COLUMNS_MAX:
        raise UsageError(f"the row has {len(cells)} columns; it may have 2 to {_DOGDORM_COLUMNS_MAX}")
    address, port, name, user, password = (*cells, "", "", "")[:_DOGDORM_COLUMNS_MAX]
    if address in _BLANK_HOSTS and name in _BLANK_HOSTS:
        raise UsageError("the host is missing")
    if address not in _BLANK_HOSTS:
        address = read_address(address, family)
    host = address if name in _BLANK_HOSTS else read_name(name)
    number = read_port(port)
    check_is_server(type_, host)
    _check_login(type_, user, password)
    transport = next(iter(TRANSPORTS[type_]))
    return Server(type_, host, number, transport, family, login=Login(user, password) if user else None)


def _check_login(type_: str, user: str, password: str) -> None:
    if (user or password) and type_ not in WITH_LOGIN:
        raise UsageError(f"a server of type {type_} has no login; are the columns shifted?")
    if user and not password:
        raise UsageError("there is a user and no password; are the columns shifted?")


def _check_note(*texts: str) -> None:
    if any(len(text) > limits.TEXT_CHARS_MAX for text in texts):
        raise UsageError(f"a text is longer than {limits.TEXT_CHARS_MAX} characters")
    if not all(text.isprintable() for text in texts):
        raise UsageError("a text has a control character")
