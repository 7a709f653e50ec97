"""The table `[[check]]`: one model a type of check, with the keys and the expectations that this type knows.

`conflicts` names what no single key can tell: keys that exclude or need each other, as (key, sentence).
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from demesh import limits
from demesh.config.tables import DefaultsTable, Table
from demesh.config.values import (
    Alpn,
    Argument,
    Credential,
    Entry,
    FileName,
    HeaderName,
    HeaderValue,
    HostName,
    HttpUrl,
    JsonPath,
    JsonValue,
    Labels,
    Lifetime,
    Method,
    Name,
    Offset,
    ProxyUrl,
    Rcode,
    RecordType,
    Regex,
    Status,
    Timeout,
    Topic,
    VariableName,
    one_or_many,
)
from demesh.probes.base import TYPE_OF_SCHEME
from demesh.servers.server import is_address
from demesh.target import transport_of

Conflicts = Iterator[tuple[str, str]]


def _sorted(numbers: list[int]) -> list[int]:
    return sorted(set(numbers))


Statuses = Annotated[list[Status], Field(min_length=1), BeforeValidator(one_or_many), AfterValidator(_sorted)]


class ExpectTable(Table):
    response_time: Timeout | None = None


class HttpExpectTable(ExpectTable):
    status: Statuses | None = None
    body: Regex | None = None
    json_: dict[JsonPath, JsonValue] = Field(alias="json", default_factory=dict)
    header: dict[HeaderName, Regex] = Field(max_length=limits.HTTP_HEADERS_MAX, default_factory=dict)
    cert_expires_in: Lifetime | None = None


class TcpExpectTable(ExpectTable):
    answer: Regex | None = None
    cert_expires_in: Lifetime | None = None


class DnsExpectTable(ExpectTable):
    rcode: Rcode | None = None
    records: Annotated[list[str], BeforeValidator(one_or_many)] = Field(default_factory=list)


class TlsExpectTable(ExpectTable):
    """Of what may speak TLS, and says nothing else that could be expected."""

    cert_expires_in: Lifetime | None = None


class NtpExpectTable(ExpectTable):
    offset: Offset | None = None
    stratum: Annotated[int, Field(ge=1, le=15)] | None = None


class CommandExpectTable(ExpectTable):
    output: Regex | None = None


class CheckTable(DefaultsTable):
    """What every check has."""

    name: Name
    type: str | None = None
    enabled: bool = True
    labels: Labels = Field(default_factory=dict)
    runbook: HttpUrl | None = None
    depends_on: Annotated[list[Name], BeforeValidator(one_or_many), Field(max_length=limits.DEPENDENCIES_MAX)] = Field(
        default_factory=list
    )
    notify: bool = True
    anchor: bool = False
    spread: Annotated[int, Field(ge=1, le=limits.LOGS_MAX)] | None = None
    expect: ExpectTable = ExpectTable()

    def conflicts(self) -> Conflicts:
        return iter(())


class TargetTable(CheckTable):
    """A check of something in the network."""

    target: str
    ip: Literal["4", "6"] | None = None
    addresses: Literal["first", "all"] = "first"
    listed: bool = False

    def conflicts(self) -> Conflicts:
        yield from super().conflicts()
        if self.addresses == "all":
            host = urlsplit(self.target).hostname
            if not host:
                yield "addresses", "needs a target with a host name: nobody's addresses are looked up for this one."
            elif is_address(host):
                yield "addresses", "needs a target with a host name: an address is the only one."


class LoginTable(TargetTable):
    user: Credential | None = None
    password: Credential | None = None
    password_file: FileName | None = None

    def conflicts(self) -> Conflicts:
        yield from super().conflicts()
        if self.password is not None and self.password_file is not None:
            yield "password_file", "there is a password already; one of the two is enough."
        if self.user is None and (self.password is not None or self.password_file is not None):
            yield "password" if self.password is not None else "password_file", "a password without a user."
        if self.user is not None and "@" in urlsplit(self.target).netloc:
            yield "user", "the target names a user already; one of the two is enough."


class TlsTrust(Table):
    """Keys of what speaks TLS."""

    verify_tls: bool = True
    ca_file: FileName | None = None


class ActualShown(Table):
    """Keys of what compares texts that a target sent."""

    show_actual: bool = False


class HttpTable(LoginTable, TlsTrust, ActualShown):
    expect: HttpExpectTable = HttpExpectTable()  # pyright: ignore[reportIncompatibleVariableOverride] it is frozen
    method: Method = "GET"
    headers: dict[HeaderName, HeaderValue] = Field(max_length=limits.HTTP_HEADERS_MAX, default_factory=dict)
    body: str | None = None
    body_file: FileName | None = None
    follow_redirects: bool = True
    http_version: Literal["1.1", "2"] | None = None
    proxy: ProxyUrl | None = None
    show_query: bool = False

    def conflicts(self) -> Conflicts:
        yield from super().conflicts()
        if self.addresses == "all" and self.proxy is not None:
            yield "addresses", "with a proxy it is the proxy that looks the name up; one of the two is possible."
        if self.body is not None and self.body_file is not None:
            yield "body_file", "there is a body already; one of the two is enough."
        names = [name.lower() for name in self.headers]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield "headers", f"the header {name!r} is there twice."


class TcpTable(TargetTable, TlsTrust, ActualShown):
    expect: TcpExpectTable = TcpExpectTable()  # pyright: ignore[reportIncompatibleVariableOverride] it is frozen
    send: str | None = None
    starttls: Literal["smtp", "imap", "pop3", "ftp", "xmpp", "postgres"] | None = None
    server_name: HostName | None = None
    alpn: Annotated[list[Alpn], BeforeValidator(one_or_many)] = Field(max_length=16, default_factory=list)

    def conflicts(self) -> Conflicts:
        yield from super().conflicts()
        if self.starttls is None and not isinstance(self, TlsTable):
            of_tls = [key for key in ("server_name", "alpn", "verify_tls", "ca_file") if key in self.model_fields_set]
            if self.expect.cert_expires_in is not None:
                of_tls.append("expect.cert_expires_in")
            for key in of_tls:
                yield key, "needs TLS: a target that begins with tls://, or starttls."


class TlsTable(TcpTable):
    """The same keys; here TLS comes first."""


class DnsTable(TargetTable, TlsTrust):
    expect: DnsExpectTable = DnsExpectTable()  # pyright: ignore[reportIncompatibleVariableOverride] it is frozen
    record: RecordType = "A"
    transport: Literal["udp", "tcp", "tls"] = "udp"
    recursion: bool = True
    server_name: HostName | None = None

    def conflicts(self) -> Conflicts:
        yield from super().conflicts()
        if self.transport != "tls":
            for key in ("server_name", "verify_tls", "ca_file"):
                if key in self.model_fields_set:
                    yield key, 'needs transport = "tls".'


class PingTable(TargetTable):
    packets: Annotated[int, Field(ge=1, le=limits.PING_PACKETS_MAX)] = 1
    payload_bytes: Annotated[int, Field(ge=limits.PING_PAYLOAD_BYTES_MIN, le=limits.PING_PAYLOAD_BYTES_MAX)] = 32


class CommandTable(CheckTable, ActualShown):
    expect: CommandExpectTable = CommandExpectTable()  # pyright: ignore[reportIncompatibleVariableOverride] it is frozen
    command: Annotated[list[Argument], Field(min_length=1)]
    output: Literal["nagios", "json"] = "nagios"
    env: dict[VariableName, Argument] = Field(default_factory=dict)
    directory: FileName | None = None

    def conflicts(self) -> Conflicts:
        yield from super().conflicts()
        if not self.command[0].rpartition("/")[2]:
            yield "command", "names no program."


class PythonTable(CheckTable):
    entry: Entry
    arguments: dict[str, JsonValue] = Field(default_factory=dict)


def _transport_by_itself(content: Any) -> Any:
    """What a target of STUN or TURN says of the transport, as the key of that name: so others are told it, in one definition."""
    if not isinstance(content, dict):
        return content
    table = cast(dict[str, Any], content)
    target = table.get("target")
    try:
        said = transport_of(target) if isinstance(target, str) else ""
    except ValueError:  # `target_problem` says what is wrong
        return table
    if not said or table.get("transport", said) != said:
        return table
    return {**table, "target": str(target).partition("?")[0], "transport": said}


class StunTransportTable(TlsTrust):
    """The keys of STUN and TURN that say how a target is asked."""

    target: str
    transport: Literal["udp", "tcp", "tls"] = "udp"
    server_name: HostName | None = None
    expect: TlsExpectTable = TlsExpectTable()

    transport_by_itself = model_validator(mode="before")(_transport_by_itself)

    def transport_conflicts(self) -> Conflicts:
        """A target that is a proper one, and yet says otherwise than `transport`; and keys that need TLS."""
        if "transport" in self.model_fields_set and self._said() not in ("", self.transport):
            yield "transport", "the target says otherwise; one of the two is enough."
        elif self.transport != "tls":
            of_tls = [key for key in ("server_name", "verify_tls", "ca_file") if key in self.model_fields_set]
            if self.expect.cert_expires_in is not None:
                of_tls.append("expect.cert_expires_in")
            for key in of_tls:
                yield key, 'needs TLS: a target that begins with stuns:// or turns://, or transport = "tls".'

    def _said(self) -> str:
        try:
            return transport_of(self.target)
        except ValueError:
            return ""


class StunTable(StunTransportTable, TargetTable):  # pyright: ignore[reportIncompatibleVariableOverride] it is frozen
    nat_behaviour: bool = False

    def conflicts(self) -> Conflicts:
        yield from super().conflicts()
        yield from self.transport_conflicts()
        if self.nat_behaviour and self.transport != "udp":
            yield "nat_behaviour", "is found out over UDP only."


class TurnTable(StunTransportTable, LoginTable):  # pyright: ignore[reportIncompatibleVariableOverride] it is frozen
    relay: bool = False

    def conflicts(self) -> Conflicts:
        yield from super().conflicts()
        yield from self.transport_conflicts()
        if self.user is not None and self.password is None and self.password_file is None:
            yield "user", "a user without a password."
        if self.relay and self.user is None:
            yield "relay", "needs a user and a password: without a login nothing is relayed."


class MqttTable(LoginTable, TlsTrust):
    expect: TlsExpectTable = TlsExpectTable()  # pyright: ignore[reportIncompatibleVariableOverride] it is frozen
    version: Literal["3.1.1", "5"] = "3.1.1"
    topic: Topic | None = None

    def conflicts(self) -> Conflicts:
        yield from super().conflicts()
        if urlsplit(self.target).scheme in ("mqtts", "mqtt+wss"):
            return
        of_tls = [key for key in ("verify_tls", "ca_file") if key in self.model_fields_set]
        if self.expect.cert_expires_in is not None:
            of_tls.append("expect.cert_expires_in")
        for key in of_tls:
            yield key, "needs TLS: a target that begins with mqtts:// or mqtt+wss://."


class NtpTable(TargetTable):
    expect: NtpExpectTable = NtpExpectTable()  # pyright: ignore[reportIncompatibleVariableOverride] it is frozen


TABLES: dict[str, type[CheckTable]] = {
    "http": HttpTable,
    "tcp": TcpTable,
    "tls": TlsTable,
    "dns": DnsTable,
    "ping": PingTable,
    "command": CommandTable,
    "python": PythonTable,
    "stun": StunTable,
    "turn": TurnTable,
    "mqtt": MqttTable,
    "ntp": NtpTable,
}

SCHEMES = TYPE_OF_SCHEME
"""The type that follows from a target's scheme."""

WITHOUT_TARGET = ("command", "python")
