"""The tables of demesh.toml, as pydantic models: types, ranges and defaults, nothing else.

Everything that can be set is a field here; a key that is none is refused (`demesh.config.load` says which one is meant).
"""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from demesh import limits
from demesh.address import parse_host_port, parse_peer
from demesh.config.duration import parse_duration
from demesh.errors import UsageError
from demesh.log.plan import QUORUM_ALL, QUORUM_MAJORITY


def _duration(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError('a duration is text with its unit, such as "30s"')
    return parse_duration(value)


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
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return value


def _name(value: str) -> str:
    if not re.fullmatch(r"[\w][\w.:@+ /-]*", value) or len(value) > limits.NAME_CHARS_MAX:
        raise ValueError(f"a name has 1 to {limits.NAME_CHARS_MAX} letters, digits, spaces or . : @ + / - _")
    return value


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str | int) else value


Milliseconds = Annotated[int, BeforeValidator(_duration)]
Interval = Annotated[Milliseconds, Field(ge=limits.INTERVAL_MS_MIN, le=limits.INTERVAL_MS_MAX)]
Timeout = Annotated[Milliseconds, Field(ge=limits.TIMEOUT_MS_MIN, le=limits.TIMEOUT_MS_MAX)]
Quorum = Annotated[int, BeforeValidator(_quorum)]
Name = Annotated[str, AfterValidator(_name)]
LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=limits.NAME_CHARS_MAX)]
Labels = Annotated[dict[LabelName, str], Field(max_length=limits.LABELS_MAX // 2)]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s/]+")]
Texts = Annotated[list[str], BeforeValidator(_one_or_many)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NodeTable(Table):
    name: Name | None = None
    tags: Annotated[list[Name], Field(max_length=limits.TAGS_MAX)] = []
    flush_interval: Annotated[Milliseconds, Field(ge=limits.FLUSH_INTERVAL_MS_MIN, le=limits.FLUSH_INTERVAL_MS_MAX)] = (
        limits.FLUSH_INTERVAL_MS_DEFAULT
    )


class MeshTable(Table):
    peers: list[Annotated[str, _sentence(parse_peer)]] = []
    listen: Annotated[list[Annotated[str, _sentence(parse_host_port)]], BeforeValidator(_one_or_many)] = []
    advertise: Annotated[list[Annotated[str, _sentence(parse_host_port)]], BeforeValidator(_one_or_many)] = []
    swarm_key_file: str | None = None


class AlertsTable(Table):
    alertmanager: Annotated[list[HttpUrl], BeforeValidator(_one_or_many)] = []
    labels: Labels = {}


class ApiTable(Table):
    listen: Annotated[str, _sentence(parse_host_port)] = "127.0.0.1:8470"


class ExpectTable(Table):
    status: Annotated[list[Annotated[int, Field(ge=100, le=599)]] | None, BeforeValidator(_one_or_many)] = None
    body: Annotated[str, AfterValidator(_pattern)] | None = None
    response_time: Milliseconds | None = None
    cert_expires_in: Milliseconds | None = None


class DefaultsTable(Table):
    interval: Interval | None = None
    timeout: Timeout | None = None
    retry_interval: Interval | None = None
    fail_after: Annotated[int, Field(ge=1, le=100)] | None = None
    recover_after: Annotated[int, Field(ge=1, le=100)] | None = None
    quorum: Quorum | None = None
    severity: Annotated[str, Field(min_length=1, max_length=limits.NAME_CHARS_MAX)] | None = None
    nodes: Annotated[list[str], Field(min_length=1)] | None = None


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
