"""From the configuration's files to `Settings`.

Guarantees: a configuration is taken as a whole or refused as a whole; a refusal names every problem with its file, line and
what is allowed; no secret is in it, nor in the repr of `Settings`.
"""

import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from demesh import limits
from demesh.address import PeerAddress, parse_host_port, parse_peer
from demesh.alerts.sink import Sink
from demesh.checks.check import Check
from demesh.config.build import build
from demesh.config.lists import Lists, read_lists
from demesh.config.outside import Files, Unfilled
from demesh.config.read import Configuration, Document, ReadCheck, read
from demesh.config.sinks import look_at_sinks, secret_url, sink_of
from demesh.config.tables import ConfigFile, DefaultsTable, MaintenanceTable, MeshTable
from demesh.config.values import AllowRequests, Name
from demesh.errors import ConfigError, UsageError
from demesh.identity import public_key_of
from demesh.log.admission import Policy
from demesh.log.decision import Maintenance, maintenance_event
from demesh.log.matcher import parse_matcher

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What a node is told to be. Addresses are (host, port). `warnings` name what is left out of lists of servers."""

    name: str
    tags: tuple[str, ...] = ()
    flush_interval_ms: int = limits.FLUSH_INTERVAL_MS_DEFAULT
    roaming: bool = False
    """Whether this node comes and goes, so that its silence is no fault."""
    back_within_ms: int = limits.AWAY_MS_DEFAULT
    """So long after it was stopped it is away, not silent."""
    peers: tuple[PeerAddress, ...] = ()
    listen: tuple[tuple[str, int], ...] = ()
    listens: bool = True
    """False: this node only dials."""
    advertise: tuple[tuple[str, int], ...] = ()
    mdns: bool = False
    policy: Policy = field(default_factory=Policy)
    swarm_key_file: Path | None = None
    api: tuple[str, int] | None = ("127.0.0.1", 8470)
    api_token_file: Path | None = None
    api_read_token_file: Path | None = None
    api_hosts: tuple[str, ...] = ()
    public_listen: tuple[str, int] | None = None
    public_checks: frozenset[str] = frozenset()
    """Names of the checks, besides those of lists, whose state strangers may know; `*`: all."""
    alertmanagers: tuple[str, ...] = field(default=(), repr=False)
    alert_labels: tuple[tuple[str, str], ...] = ()
    alert_token_file: Path | None = None
    sinks: tuple[Sink, ...] = ()
    heartbeat_url: str | None = field(default=None, repr=False)
    raw_ms: int = limits.STORE_RAW_DAYS_DEFAULT * _DAY_MS
    hour_ms: int = limits.STORE_HOUR_DAYS_DEFAULT * _DAY_MS
    size_max_bytes: int = limits.STORE_BYTES_DEFAULT
    checks: tuple[Check, ...] = ()
    adopt_checks: tuple[str, ...] = ()
    allow_requests: AllowRequests = "public"
    operators: frozenset[str] | None = None
    """The members, by name or peer id, whose decisions about alerts count here; None: everybody's."""
    maintenance: tuple[Maintenance, ...] = ()
    watchdog: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """All that can be said of a configuration: `settings` is None exactly if there are `problems`.

    `checks` are all that there are; the second of each is None if it is not valid.
    """

    configuration: Configuration
    settings: Settings | None
    checks: tuple[tuple[ReadCheck, Check | None], ...]

    @property
    def problems(self) -> list[str]:
        return self.configuration.problems


def load(path: Path, environment: Mapping[str, str] | None = None, texts: Mapping[Path, str] | None = None) -> Loaded:
    """The configuration whose main file is `path`.

    `environment` is the process's if it is None; `texts` are taken for the content of files.
    """
    configuration = read(path, os.environ if environment is None else environment, texts)
    config, files, main = configuration.config, configuration.files, configuration.documents[0]
    defaults = config.defaults if config else DefaultsTable()
    checks: tuple[tuple[ReadCheck, Check | None], ...] = tuple(
        (each, build(each, defaults, files)) for each in configuration.checks
    )
    lists = Lists()
    if config:
        _look_at_files(config, files, main)
        lists = read_lists(config, main, {each.name for each in configuration.checks if each.name is not None}, files)
        checks += lists.checks
    if config is None or configuration.problems:
        return Loaded(configuration, None, checks)
    settings = _settings(config, files, tuple(check for _, check in checks if check))
    return Loaded(configuration, replace(settings, warnings=lists.warnings), checks)


def read_settings(path: Path) -> Settings:
    """Raises ConfigError with every problem."""
    loaded = load(path)
    if loaded.settings is None:
        raise ConfigError(loaded.problems)
    return loaded.settings


def _settings(config: ConfigFile, files: Files, checks: tuple[Check, ...]) -> Settings:
    def path(name: str | None) -> Path | None:
        return files.path(name) if name is not None else None

    return Settings(
        name=config.node.name or default_name(),
        tags=tuple(config.node.tags),
        flush_interval_ms=config.node.flush_interval,
        roaming=config.node.presence == "roaming",
        back_within_ms=config.node.back_within,
        peers=tuple(map(parse_peer, config.mesh.peers)),
        listen=parse_listen(config.mesh.listen),
        listens=config.mesh.listen != ["none"],
        mdns=config.mesh.mdns,
        policy=_policy(config.mesh),
        advertise=tuple(map(parse_host_port, config.mesh.advertise)),
        swarm_key_file=path(config.mesh.swarm_key_file),
        api=parse_api(config.api.listen),
        api_token_file=path(config.api.token_file),
        api_read_token_file=path(config.api.read_token_file),
        api_hosts=tuple(config.api.hosts),
        public_listen=parse_host_port(config.api.public_listen) if config.api.public_listen else None,
        public_checks=frozenset(config.api.public_checks),
        alertmanagers=tuple(url.rstrip("/") for url in config.alerts.alertmanager),
        alert_labels=tuple(sorted(config.alerts.labels.items())),
        alert_token_file=path(config.alerts.token_file),
        sinks=tuple(sink_of(table, files) for table in config.notify),
        heartbeat_url=secret_url(config.alerts.heartbeat_url, config.alerts.heartbeat_url_file, files),
        raw_ms=config.store.raw_days * _DAY_MS,
        hour_ms=config.store.hour_days * _DAY_MS,
        size_max_bytes=config.store.size_max,
        checks=checks,
        adopt_checks=tuple(config.mesh.adopt_checks),
        allow_requests=config.mesh.allow_requests,
        operators=None if config.mesh.operators is None else frozenset(config.mesh.operators),
        maintenance=tuple(map(_maintenance, config.maintenance)),
        watchdog=config.alerts.watchdog,
    )


def _look_at_files(config: ConfigFile, files: Files, main: Document) -> None:
    """Note what is wrong with the secrets that stand in files of their own, and with what needs something else."""
    for place, name in _secret_files(config):
        try:
            if place[0] in ("alerts", "notify"):
                files.token(name)
            else:
                files.secret(name, limits.SECRET_FILE_BYTES_MAX)
        except Unfilled as problem:
            main.add(place, f"{problem}.")
    look_at_sinks(config, files, main)
    for index, table in enumerate(config.maintenance):
        try:
            maintenance_event(_maintenance(table))
        except UsageError as problem:
            main.add(("maintenance", index), str(problem))
    for name, member in config.mesh.members.items():
        if member in config.mesh.deny:
            main.add(("mesh", "members", name), "is in mesh.deny too; it cannot be both.")
    if config.mesh.trust == "listed" and not config.mesh.members:
        main.add(("mesh", "trust"), '"listed" lets in whom mesh.members names, and it names nobody.')
    if config.store.hour_days < config.store.raw_days:
        main.add(("store", "hour_days"), f"must be at least raw_days, which is {config.store.raw_days}.")


def _secret_files(config: ConfigFile) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if config.alerts.token_file is not None:
        yield ("alerts", "token_file"), config.alerts.token_file
    if config.api.token_file is not None:
        yield ("api", "token_file"), config.api.token_file
    if config.api.read_token_file is not None:
        yield ("api", "read_token_file"), config.api.read_token_file
    for index, table in enumerate(config.notify):
        if table.token_file is not None:
            yield ("notify", index, "token_file"), table.token_file


def _maintenance(table: MaintenanceTable) -> Maintenance:
    return Maintenance(
        table.name,
        table.when,
        matchers=tuple(map(parse_matcher, table.matchers)),
        checks=tuple(table.checks or ()),
        nodes=tuple(table.nodes or ()),
        configured=True,
    )


def _policy(mesh: MeshTable) -> Policy:
    return Policy(
        frozenset(map(public_key_of, mesh.members.values())),
        mesh.trust == "listed",
        frozenset(map(public_key_of, mesh.deny)),
    )


def parse_listen(texts: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Where peers connect: `host:port` each, or only `none`. Raises UsageError."""
    return () if list(texts) == ["none"] else tuple(map(parse_host_port, texts))


def parse_api(text: str) -> tuple[str, int] | None:
    """Where the API listens besides its Unix socket: `host:port`, or `none`. Raises UsageError."""
    return None if text == "none" else parse_host_port(text)


def check_name(name: str) -> str:
    """The name of a node as given on the command line. Raises UsageError."""
    try:
        return TypeAdapter[str](Name).validate_python(name)
    except ValidationError as error:
        raise UsageError(f"--name: {error.errors()[0]['msg'].removeprefix('Value error, ')}.") from None


def default_name() -> str:
    """The machine's short host name, made fit to be a node's."""
    short = socket.gethostname().partition(".")[0]
    return re.sub(r"[^\w.-]", "-", short)[: limits.NAME_CHARS_MAX] or "node"
