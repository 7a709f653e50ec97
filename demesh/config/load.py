"""From demesh.toml and the command line to `Settings`.

Guarantees: a configuration is taken as a whole or refused as a whole; a refusal names every problem with its file, line
and what is allowed, and repeats no value of a target.
"""

import difflib
import json
import re
import socket
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from demesh import limits
from demesh.address import PeerAddress, parse_host_port, parse_peer
from demesh.checks.check import Check
from demesh.config import lines as where
from demesh.config.tables import CheckTable, ConfigFile, DefaultsTable, ExpectTable, NodeTable
from demesh.errors import ConfigError, UsageError
from demesh.pattern import Pattern
from demesh.probes.base import TYPE_OF_SCHEME, Expect, ProbeSpec
from demesh.target import check_target

_TOML_PLACE = re.compile(r" \(at line (\d+), column \d+\)")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a node is told to be. Addresses are (host, port)."""

    name: str
    tags: tuple[str, ...] = ()
    flush_interval_ms: int = limits.FLUSH_INTERVAL_MS_DEFAULT
    peers: tuple[PeerAddress, ...] = ()
    listen: tuple[tuple[str, int], ...] = ()
    advertise: tuple[tuple[str, int], ...] = ()
    swarm_key_file: Path | None = None
    api: tuple[str, int] | None = ("127.0.0.1", 8470)
    api_token_file: Path | None = None
    api_hosts: tuple[str, ...] = ()
    alertmanagers: tuple[str, ...] = ()
    alert_labels: tuple[tuple[str, str], ...] = ()
    checks: tuple[Check, ...] = field(default=())


def read_config(path: Path) -> ConfigFile:
    """Read and validate one file. Raises ConfigError."""
    try:
        if path.stat().st_size > limits.CONFIG_BYTES_MAX:
            raise ConfigError([f"{path}: larger than {limits.CONFIG_BYTES_MAX} bytes."])
        text = path.read_text("utf-8")
        content = tomllib.loads(text)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}."]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 text (byte {error.start})."]) from None
    except tomllib.TOMLDecodeError as error:
        said, line = str(error), 1
        if place := _TOML_PLACE.search(said):
            said, line = said[: place.start()], int(place[1])
        raise ConfigError([f"{path}:{line}: not TOML: {said[:1].lower()}{said[1:]}."]) from None
    places = where.key_lines(text)
    try:
        config = ConfigFile.model_validate(content)
    except ValidationError as error:
        found = sorted(
            (where.line_of(places, each["loc"]), _problem(cast(dict[str, Any], each))) for each in error.errors()
        )
        raise ConfigError([f"{path}:{line}: {problem}" for line, problem in found]) from None
    problems = [
        f"{path}:{where.line_of(places, ('check', index, key))}: {problem}"
        for index, key, problem in _check_problems(config.check)
    ]
    if problems:
        raise ConfigError(problems)
    return config


def build_checks(config: ConfigFile, targets: Sequence[str] = (), base: Path = Path()) -> tuple[Check, ...]:
    """The checks of a file and those for targets given on the command line. Raises UsageError for a bad target."""
    checks = [_check(table, config.defaults, base) for table in config.check]
    names = {check.name for check in checks}
    for target in targets:
        check_target(target, tuple(TYPE_OF_SCHEME))
        name = _name_for(target)
        if name in names:
            raise UsageError(f"Two checks would be named {name!r}; name them in the configuration file.")
        names.add(name)
        checks.append(_check(CheckTable(name=name, target=target), config.defaults, base))
    return tuple(checks)


def settings_of(config: ConfigFile, base: Path, targets: Sequence[str] = ()) -> Settings:
    """Settings from a file's content; relative file names in it are relative to `base`. Raises UsageError."""
    key_file = config.mesh.swarm_key_file
    return Settings(
        name=config.node.name or default_name(),
        tags=tuple(config.node.tags),
        flush_interval_ms=config.node.flush_interval,
        peers=tuple(parse_peer(each) for each in config.mesh.peers),
        listen=tuple(parse_host_port(each) for each in config.mesh.listen),
        advertise=tuple(parse_host_port(each) for each in config.mesh.advertise),
        swarm_key_file=base / key_file if key_file else None,
        api=parse_api(config.api.listen),
        api_token_file=base / config.api.token_file if config.api.token_file else None,
        api_hosts=tuple(config.api.hosts),
        alertmanagers=tuple(url.rstrip("/") for url in config.alerts.alertmanager),
        alert_labels=tuple(sorted(config.alerts.labels.items())),
        checks=build_checks(config, targets, base),
    )


def parse_api(text: str) -> tuple[str, int] | None:
    """Where the API listens besides its Unix socket: `host:port`, or `none`. Raises UsageError."""
    return None if text == "none" else parse_host_port(text)


def check_name(name: str) -> str:
    """The name of a node as given on the command line. Raises UsageError."""
    try:
        return NodeTable(name=name).name or name
    except ValidationError as error:
        raise UsageError(f"--name: {error.errors()[0]['msg'].removeprefix('Value error, ')}.") from None


def default_name() -> str:
    """The machine's short host name, made fit to be a node's."""
    short = socket.gethostname().partition(".")[0]
    return re.sub(r"[^\w.-]", "-", short)[: limits.NAME_CHARS_MAX] or "node"


def _check(table: CheckTable, defaults: DefaultsTable, base: Path) -> Check:
    def setting(key: str, otherwise: Any) -> Any:
        own = getattr(table, key)
        return own if own is not None else getattr(defaults, key) if getattr(defaults, key) is not None else otherwise

    timeout_ms = setting("timeout", 10_000)
    return Check(
        name=table.name,
        probe=ProbeSpec(
            type=table.type or TYPE_OF_SCHEME[urlsplit(table.target).scheme],
            target=table.target,
            timeout_ms=timeout_ms,
            expect=_expect(table.expect),
            verify_tls=table.verify_tls,
            ca_file=str(base / table.ca_file) if table.ca_file else None,
        ),
        interval_ms=setting("interval", 60_000),
        retry_interval_ms=setting("retry_interval", 10_000),
        fail_after=setting("fail_after", 2),
        recover_after=setting("recover_after", 2),
        quorum=setting("quorum", 0),
        severity=setting("severity", "critical"),
        nodes=tuple(setting("nodes", ["*"])),
        labels=tuple(sorted(table.labels.items())),
        expectations=tuple(
            (key, json.dumps(value)) for key, value in sorted(table.expect.model_dump(exclude_none=True).items())
        ),
    )


def _expect(table: ExpectTable) -> Expect:
    return Expect(
        status=frozenset(table.status) if table.status is not None else None,
        body=Pattern.compile(table.body) if table.body is not None else None,
        response_time_ms=table.response_time,
        cert_expires_in_ms=table.cert_expires_in,
    )


def _name_for(target: str) -> str:
    """A check's name from its target: host, port if it is unusual, and path, with what no name may hold as a dash."""
    parts = urlsplit(target)
    host = re.sub(r"^:", "0:", parts.hostname or "")  # ::1 is 0::1
    port = f":{parts.port}" if parts.port else ""
    return re.sub(r"[^\w.:@+ /-]", "-", f"{host}{port}{parts.path.rstrip('/')}")[: limits.NAME_CHARS_MAX]


def _check_problems(tables: Sequence[CheckTable]) -> Iterator[tuple[int, str, str]]:
    """What the models cannot see: (index, key, sentence)."""
    first: dict[str, int] = {}
    for index, table in enumerate(tables):
        if first.setdefault(table.name, index) != index:
            yield index, "name", f"there is another check named {table.name!r}; names must differ."
        try:
            check_target(table.target, tuple(TYPE_OF_SCHEME))
        except UsageError as error:
            yield index, "target", str(error)
        else:
            implied = TYPE_OF_SCHEME[urlsplit(table.target).scheme]
            if table.type not in (None, implied):
                yield index, "type", f"a target of this scheme is of type {implied!r}."


def _problem(error: dict[str, Any]) -> str:
    """One pydantic error as a sentence."""
    path = cast(tuple[str | int, ...], error["loc"])
    named = [each for each in path if each != "[key]"]  # pydantic's mark for the key itself
    place = "".join(f"[{each + 1}]" if isinstance(each, int) else f".{each}" for each in named).lstrip(".")
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(path[-1]), _known_keys(path[:-1]), 1)
        return f"{place}: there is no such key{f'; did you mean {near[0]!r}?' if near else '.'}"
    if error["type"] == "missing":
        return f"{place}: is missing."
    said = str(error["msg"]).removeprefix("Value error, ")
    return f"{place}: {said[:1].lower()}{said[1:].rstrip('.')}."


def _known_keys(path: tuple[str | int, ...]) -> list[str]:
    """The keys of the table at `path`."""
    model: type[BaseModel] = ConfigFile
    tables: dict[str, type[BaseModel]] = {
        name: cast(type[BaseModel], table)
        for name, table in (
            *((name, each.annotation) for name, each in ConfigFile.model_fields.items() if name != "check"),
            ("check", CheckTable),
            ("expect", ExpectTable),
        )
    }
    for each in path:
        if isinstance(each, str) and each in tables:
            model = tables[each]
    return list(model.model_fields)
