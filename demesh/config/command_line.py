"""What the command line of `demesh node run` sets over the files: options, and targets that become checks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from demesh import limits
from demesh.address import parse_host_port, parse_peer
from demesh.checks.check import Check
from demesh.config.build import build
from demesh.config.check_tables import TABLES
from demesh.config.load import Settings, check_name, parse_api, parse_listen
from demesh.config.outside import Files
from demesh.config.read import Document, ReadCheck
from demesh.config.tables import DefaultsTable
from demesh.config.targets import find_type
from demesh.config.values import check_http_url
from demesh.errors import UsageError
from demesh.target import target_problem


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What is empty leaves the files' settings as they are; `peers` and `targets` are added to theirs."""

    name: str | None = None
    listen: tuple[str, ...] = ()
    advertise: tuple[str, ...] = ()
    api: str | None = None
    peers: tuple[str, ...] = ()
    swarm_key_file: str | None = None
    alertmanagers: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    def over(self, settings: Settings, defaults: DefaultsTable) -> Settings:
        """`settings` with these over them; `defaults` are for the checks of `targets`. Raises UsageError."""
        return replace(
            settings,
            name=check_name(self.name) if self.name else settings.name,
            listen=parse_listen(self.listen) if self.listen else settings.listen,
            listens=self.listen != ("none",) if self.listen else settings.listens,
            advertise=tuple(map(parse_host_port, self.advertise)) or settings.advertise,
            api=parse_api(self.api) if self.api else settings.api,
            peers=settings.peers + tuple(map(parse_peer, self.peers)),
            swarm_key_file=Path(self.swarm_key_file) if self.swarm_key_file else settings.swarm_key_file,
            alertmanagers=tuple(map(_alertmanager, self.alertmanagers)) or settings.alertmanagers,
            checks=(*settings.checks, *_checks_of(self.targets, settings.checks, defaults)),
        )


def name_for(target: str) -> str:
    """A check's name from its target: host, port if it is unusual, and path, with what no name may hold as a dash."""
    parts = urlsplit(target)
    host = re.sub(r"^:", "0:", parts.hostname or "")  # ::1 is 0::1
    port = f":{parts.port}" if parts.port else ""
    name = re.sub(r"[^\w.:@+ /-]", "-", f"{host}{port}{parts.path.rstrip('/')}")
    return re.sub(r"^\W+", "", name)[: limits.NAME_CHARS_MAX] or parts.scheme


def _checks_of(targets: Sequence[str], others: Sequence[Check], defaults: DefaultsTable) -> list[Check]:
    names = {check.name for check in others}
    checks: list[Check] = []
    for target in targets:
        type_, wrong = find_type({"target": target})
        if type_ is None or wrong:
            raise UsageError(wrong[1] if wrong else "This is no target.")
        if said := target_problem(type_, target):
            raise UsageError(f"The target is refused: {said}")
        name = name_for(target)
        if name in names:  # one host, asked in two ways
            name = f"{urlsplit(target).scheme}://{name}"[: limits.NAME_CHARS_MAX]
        if name in names:
            raise UsageError(f"Two checks would be named {name!r}; name them in the configuration file.")
        names.add(name)
        content = {"name": name, "target": target}
        table = TABLES[type_].model_validate(content)
        document = Document(Path(), written={"check": [content]}, content={"check": [content]})
        check = build(ReadCheck(document, 0, type_, table), defaults, Files(Path()))
        if check is None:
            raise UsageError(f"The target of the check {name!r} is refused: {document.problems[0].sentence}")
        checks.append(check)
    return checks


def _alertmanager(url: str) -> str:
    try:
        check_http_url(url)
    except UsageError as error:
        raise UsageError(f"--alertmanager: {error}.") from None
    return url.rstrip("/")
