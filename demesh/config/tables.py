"""The tables of demesh.toml but for the checks, as pydantic models: types, ranges and defaults, nothing else.

Everything that can be set is a field here or in `demesh.config.check_tables`; a key that is none is refused
(`demesh.config.problems` says which one is meant).
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from demesh import limits
from demesh.config.values import (
    AllowRequests,
    ApiListen,
    BackWithin,
    Count,
    Days,
    FileName,
    Flush,
    HostPort,
    HttpUrl,
    Interval,
    LabelMatcher,
    Labels,
    Name,
    NotifyUrl,
    Peer,
    PeerId,
    PublicCheck,
    Quorum,
    RepeatEvery,
    Selector,
    Size,
    SwarmListen,
    TemplateText,
    Timeout,
    WebUrl,
    When,
    none_alone,
    one_or_many,
)


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class NodeTable(Table):
    name: Name | None = None
    tags: Annotated[list[Name], Field(max_length=limits.TAGS_MAX)] = []
    flush_interval: Flush = limits.FLUSH_INTERVAL_MS_DEFAULT
    presence: Literal["always", "roaming"] = "always"
    back_within: BackWithin = limits.AWAY_MS_DEFAULT


class MeshTable(Table):
    peers: list[Peer] = []
    listen: Annotated[list[SwarmListen], BeforeValidator(one_or_many), AfterValidator(none_alone)] = []
    advertise: Annotated[list[HostPort], BeforeValidator(one_or_many)] = []
    swarm_key_file: FileName | None = None
    trust: Literal["swarm", "listed"] = "swarm"
    members: Annotated[dict[Name, PeerId], Field(max_length=limits.LOGS_MAX)] = {}
    mdns: bool = False
    deny: Annotated[list[PeerId], Field(max_length=limits.DENIED_MAX)] = []
    adopt_checks: Annotated[list[Name], BeforeValidator(one_or_many)] = []
    allow_requests: AllowRequests = "public"
    operators: Annotated[list[Name], BeforeValidator(one_or_many), Field(min_length=1)] | None = None


class AlertsTable(Table):
    alertmanager: Annotated[list[HttpUrl], BeforeValidator(one_or_many)] = []
    token_file: FileName | None = None
    labels: Labels = {}
    watchdog: bool = False
    heartbeat_url: WebUrl | None = None
    heartbeat_url_file: FileName | None = None


Severity = Annotated[str, Field(min_length=1, max_length=limits.NAME_CHARS_MAX)]


class NotifyTable(Table):
    url: NotifyUrl | None = None
    url_file: FileName | None = None
    name: Name | None = None
    severity: Annotated[list[Severity], Field(max_length=limits.LABELS_MAX), BeforeValidator(one_or_many)] = []
    send_resolved: bool = True
    repeat_every: RepeatEvery | None = None
    title: TemplateText | None = None
    body: TemplateText | None = None
    token_file: FileName | None = None


class ApiTable(Table):
    listen: ApiListen = "127.0.0.1:8470"
    token_file: FileName | None = None
    read_token_file: FileName | None = None
    public_listen: HostPort | None = None
    public_checks: Annotated[list[PublicCheck], Field(max_length=limits.CHECKS_MAX), BeforeValidator(one_or_many)] = []
    hosts: list[str] = []


class StoreTable(Table):
    raw_days: Days = limits.STORE_RAW_DAYS_DEFAULT
    hour_days: Days = limits.STORE_HOUR_DAYS_DEFAULT
    size_max: Size = limits.STORE_BYTES_DEFAULT


class MaintenanceTable(Table):
    name: Name
    when: When
    checks: Annotated[list[Name], Field(min_length=1)] | None = None
    nodes: Annotated[list[Name], Field(min_length=1), BeforeValidator(one_or_many)] | None = None
    matchers: Annotated[list[LabelMatcher], BeforeValidator(one_or_many)] = []


Selectors = Annotated[list[Selector], Field(min_length=1, max_length=limits.LOGS_MAX), BeforeValidator(one_or_many)]


class ServerListTable(Table):
    file: FileName
    interval: Interval = limits.SERVER_LIST_INTERVAL_MS_DEFAULT
    timeout: Timeout | None = None
    severity: Severity | None = None
    nodes: Selectors | None = None
    spread: Annotated[int, Field(ge=1, le=limits.LOGS_MAX)] | None = None
    addresses: Literal["first", "all"] = "all"
    notify: bool = False
    nat_behaviour: bool = False


class DefaultsTable(Table):
    interval: Interval | None = None
    timeout: Timeout | None = None
    retry_interval: Interval | None = None
    fail_after: Count | None = None
    recover_after: Count | None = None
    quorum: Quorum | None = None
    severity: Severity | None = None
    nodes: Selectors | None = None


Tables = Annotated[list[dict[str, Any]], Field(max_length=limits.CHECKS_MAX)]


class ConfigFile(Table):
    """demesh.toml. The tables of `check` are validated one by one, each by the model of its type."""

    node: NodeTable = NodeTable()
    mesh: MeshTable = MeshTable()
    alerts: AlertsTable = AlertsTable()
    notify: Annotated[list[NotifyTable], Field(max_length=limits.NOTIFY_SINKS_MAX)] = []
    api: ApiTable = ApiTable()
    store: StoreTable = StoreTable()
    defaults: DefaultsTable = DefaultsTable()
    maintenance: Annotated[list[MaintenanceTable], Field(max_length=limits.MAINTENANCE_MAX)] = []
    server_list: Annotated[list[ServerListTable], Field(max_length=limits.SERVER_LISTS_MAX)] = []
    check: Tables = []


class ChecksFile(Table):
    """A file in `checks/`."""

    check: Tables = []
