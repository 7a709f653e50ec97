"""The tables of demesh.toml, as pydantic models: types, ranges and defaults, nothing else.

Everything that can be set is a field here; a key that is none is refused (`demesh.config.load` says which one is meant).
"""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from demesh import limits
from demesh.address import parse_host_port, parse_peer
from demesh.config.duration import format_duration, parse_duration
from demesh.errors import UsageError
from demesh.log.plan import QUORUM_ALL, QUORUM_MAJORITY
from demesh.pattern import Pattern


def _duration_between(least_ms: int, most_ms: int) -> BeforeValidator:
    def validate(value: object) -> int:
        if not isinstance(value, str):
            raise ValueError('a duration is text with its unit, such as "30s"')
        ms = parse_duration(value)
        if not least_ms <= ms <= most_ms:
            raise ValueError(f"{value!r} must lie between {format_duration(least_ms)} and {format_duration(most_ms)}")
        return ms

    return BeforeValidator(validate)


def _sentence(check: Any) -> Any:
    """A validator from a function that raises UsageError."""

    def validate(value: str) -> str:
        try:
            check(value)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return value

    return AfterValidator(validate)


def _quorum(value: object) -> int:
    words = {"any": 1, "majority": QUORUM_MAJORITY, "all": QUORUM_ALL}
    if isinstance(value, str) and value in words:
        return words[value]
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= limits.LOGS_MAX:
        return value
    raise ValueError('a quorum is "any", "majority", "all" or a number of nodes')


def _pattern(value: str) -> str:
    try:
        Pattern.compile(value)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return value


def check_http_url(url: str) -> None:
    """Raises UsageError, which does not repeat `url`: it may hold a password."""
    try:
        parts = urlsplit(url)
        fits = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and not re.search(r"[\s?#]", url)
        )
    except ValueError:
        fits = False
    if not fits:
        raise UsageError("not the URL of an HTTP server; one looks like http://127.0.0.1:9093, without a query")


def _name(value: str) -> str:
    if not re.fullmatch(r"[\w][\w.:@+ /-]*", value) or len(value) > limits.NAME_CHARS_MAX:
        raise ValueError(f"a name has 1 to {limits.NAME_CHARS_MAX} letters, digits, spaces or . : @ + / - _")
    return value


def _label_name(value: str) -> str:
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", value) or len(value) > limits.NAME_CHARS_MAX:
        raise ValueError(f"a label's name has 1 to {limits.NAME_CHARS_MAX} letters, digits or _, no digit first")
    return value


def _api_listen(value: str) -> None:
    if value != "none":
        parse_host_port(value)


def _selector(value: str) -> str:
    if not value.removeprefix("tag:").strip():
        raise ValueError('a selector is "*", the name of a node, or "tag:" and a tag')
    return value


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str | int) else value


Interval = Annotated[int, _duration_between(limits.INTERVAL_MS_MIN, limits.INTERVAL_MS_MAX)]
Timeout = Annotated[int, _duration_between(limits.TIMEOUT_MS_MIN, limits.TIMEOUT_MS_MAX)]
Flush = Annotated[int, _duration_between(limits.FLUSH_INTERVAL_MS_MIN, limits.FLUSH_INTERVAL_MS_MAX)]
Lifetime = Annotated[int, _duration_between(1_000, 3_650 * 86_400_000)]
Quorum = Annotated[int, BeforeValidator(_quorum)]
Name = Annotated[str, AfterValidator(_name)]
LabelName = Annotated[str, AfterValidator(_label_name)]
Labels = Annotated[dict[LabelName, str], Field(max_length=limits.LABELS_MAX // 2)]
HttpUrl = Annotated[str, _sentence(check_http_url)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NodeTable(Table):
    name: Name | None = None
    tags: Annotated[list[Name], Field(max_length=limits.TAGS_MAX)] = []
    flush_interval: Flush = limits.FLUSH_INTERVAL_MS_DEFAULT


class MeshTable(Table):
    peers: list[Annotated[str, _sentence(parse_peer)]] = []
    listen: Annotated[list[Annotated[str, _sentence(parse_host_port)]], BeforeValidator(_one_or_many)] = []
    advertise: Annotated[list[Annotated[str, _sentence(parse_host_port)]], BeforeValidator(_one_or_many)] = []
    swarm_key_file: str | None = None


class AlertsTable(Table):
    alertmanager: Annotated[list[HttpUrl], BeforeValidator(_one_or_many)] = []
    labels: Labels = {}


class ApiTable(Table):
    listen: Annotated[str, _sentence(_api_listen)] = "127.0.0.1:8470"
    token_file: str | None = None
    hosts: list[str] = []


class ExpectTable(Table):
    status: Annotated[list[Annotated[int, Field(ge=100, le=599)]] | None, BeforeValidator(_one_or_many)] = None
    body: Annotated[str, AfterValidator(_pattern)] | None = None
    response_time: Timeout | None = None
    cert_expires_in: Lifetime | None = None


class DefaultsTable(Table):
    interval: Interval | None = None
    timeout: Timeout | None = None
    retry_interval: Interval | None = None
    fail_after: Annotated[int, Field(ge=1, le=100)] | None = None
    recover_after: Annotated[int, Field(ge=1, le=100)] | None = None
    quorum: Quorum | None = None
    severity: Annotated[str, Field(min_length=1, max_length=limits.NAME_CHARS_MAX)] | None = None
    nodes: Annotated[list[Annotated[str, AfterValidator(_selector)]], Field(min_length=1)] | None = None


class CheckTable(DefaultsTable):
    name: Name
    target: str
    type: str | None = None
    expect: ExpectTable = ExpectTable()
    labels: Labels = {}
    verify_tls: bool = True
    ca_file: str | None = None


class ConfigFile(Table):
    node: NodeTable = NodeTable()
    mesh: MeshTable = MeshTable()
    alerts: AlertsTable = AlertsTable()
    api: ApiTable = ApiTable()
    defaults: DefaultsTable = DefaultsTable()
    check: Annotated[list[CheckTable], Field(max_length=limits.CHECKS_MAX)] = []
