"""From a table to what a probe is given: the options of its type, and what a passing answer looks like.

Secrets and bodies are read from their files here; a file that cannot be read is Unfilled, with the key that names it.
"""

from collections.abc import Iterator
from functools import singledispatch
from typing import Any, cast

from demesh import limits
from demesh.config.check_tables import (
    CheckTable,
    CommandExpectTable,
    CommandTable,
    DnsExpectTable,
    DnsTable,
    ExpectTable,
    HttpExpectTable,
    HttpTable,
    LoginTable,
    MqttTable,
    NtpExpectTable,
    PingTable,
    PythonTable,
    StunTable,
    TcpExpectTable,
    TcpTable,
    TlsExpectTable,
    TurnTable,
)
from demesh.config.definition import as_written
from demesh.config.outside import Files, Unfilled
from demesh.config.values import one_or_many
from demesh.pattern import Pattern
from demesh.probes.base import (
    CommandOptions,
    DnsOptions,
    Expect,
    HttpOptions,
    MqttOptions,
    Options,
    PingOptions,
    PythonOptions,
    StunOptions,
    TcpOptions,
    TurnOptions,
)


class UnfilledKey(Exception):
    """A key whose file cannot be read. `problem` is a clause without a full stop."""

    def __init__(self, key: str, problem: Unfilled) -> None:
        super().__init__(key)
        self.key = key
        self.problem = str(problem)


@singledispatch
def options_of(table: CheckTable, files: Files) -> Options | None:
    """The options of the table's type; None for a type that has none. Raises UnfilledKey."""
    if isinstance(table, LoginTable):
        _password(table, files)
    return None


@options_of.register
def _(table: HttpTable, files: Files) -> Options:
    body = table.body.encode() if table.body is not None else None
    if table.body_file is not None:
        try:
            body = files.content(table.body_file, limits.HTTP_BODY_BYTES_MAX)
        except Unfilled as problem:
            raise UnfilledKey("body_file", problem) from None
    return HttpOptions(
        method=table.method,
        headers=tuple(table.headers.items()),
        body=body,
        user=table.user or "",
        password=_password(table, files),
        follow_redirects=table.follow_redirects,
        http_version=table.http_version or "",
        proxy=table.proxy,
    )


@options_of.register
def _(table: TcpTable, files: Files) -> Options:
    return TcpOptions(
        send=table.send.encode() if table.send is not None else None,
        starttls=table.starttls or "",
        server_name=table.server_name or "",
        alpn=tuple(table.alpn),
    )


@options_of.register
def _(table: DnsTable, files: Files) -> Options:
    return DnsOptions(
        record=table.record,
        transport=table.transport,
        recursion=table.recursion,
        server_name=table.server_name or "",
    )


@options_of.register
def _(table: PingTable, files: Files) -> Options:
    return PingOptions(table.packets, table.payload_bytes)


@options_of.register
def _(table: StunTable, files: Files) -> Options:
    return StunOptions(table.transport, table.server_name or "", table.nat_behaviour)


@options_of.register
def _(table: TurnTable, files: Files) -> Options:
    return TurnOptions(table.transport, table.server_name or "", table.user or "", _password(table, files), table.relay)


@options_of.register
def _(table: MqttTable, files: Files) -> Options:
    return MqttOptions(
        version=table.version,
        user=table.user or "",
        password=_password(table, files),
        topic=table.topic or "",
    )


@options_of.register
def _(table: CommandTable, files: Files) -> Options:
    return CommandOptions(
        argv=tuple(table.command),
        output=table.output,
        env=tuple(sorted(table.env.items())),
        directory=str(files.path(table.directory)) if table.directory is not None else None,
    )


@options_of.register
def _(table: PythonTable, files: Files) -> Options:
    return PythonOptions(table.entry, tuple(sorted(table.arguments.items())))


def expect_of(table: ExpectTable, written: dict[str, Any]) -> Expect:
    """What a passing answer looks like; `written` is the table before any `${…}` in it was filled."""
    http = table if isinstance(table, HttpExpectTable) else HttpExpectTable()
    tcp = table if isinstance(table, TcpExpectTable) else TcpExpectTable()
    dns = table if isinstance(table, DnsExpectTable) else DnsExpectTable()
    tls = table if isinstance(table, TlsExpectTable) else TlsExpectTable()
    ntp = table if isinstance(table, NtpExpectTable) else NtpExpectTable()
    command = table if isinstance(table, CommandExpectTable) else CommandExpectTable()
    return Expect(
        response_time_ms=table.response_time,
        cert_expires_in_ms=http.cert_expires_in or tcp.cert_expires_in or tls.cert_expires_in,
        status=frozenset(http.status) if http.status is not None else None,
        body=_pattern(http.body),
        json=tuple(http.json_.items()),
        header=tuple((name, Pattern.compile(text)) for name, text in http.header.items()),
        answer=_pattern(tcp.answer),
        rcode=dns.rcode,
        records=tuple(map(_record, dns.records)),
        offset_ms=ntp.offset,
        stratum=ntp.stratum,
        output=_pattern(command.output),
        written=tuple(_written(table.model_dump(exclude_defaults=True, by_alias=True), written)),
    )


def _written(said: dict[str, Any], written: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What of the expectations `said` is written otherwise, for it came from the environment; see `Expect.written`."""
    for key, value in said.items():
        shown = as_written(value, written.get(key))
        if isinstance(value, dict):
            names = cast(dict[str, Any], value)
            yield from ((f"{key}.{name}", shown[name]) for name in names if shown[name] != names[name])
        elif key == "records":
            pairs = zip(cast(list[str], value), cast(list[str], one_or_many(shown)), strict=True)
            yield from ((f"{key}.{_record(each)}", text) for each, text in pairs if text != each)
        elif shown != value:
            yield key, shown


def _record(text: str) -> str:
    return text.removesuffix(".") or "."


def _pattern(text: str | None) -> Pattern | None:
    return Pattern.compile(text) if text is not None else None


def _password(table: LoginTable, files: Files) -> str:
    if table.password_file is None:
        return table.password or ""
    try:
        return files.secret(table.password_file, limits.SECRET_FILE_BYTES_MAX)
    except Unfilled as problem:
        raise UnfilledKey("password_file", problem) from None
