"""`demesh servers import`: lists of servers of other forms, cleaned and written in ours."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from demesh import limits
from demesh.cli import options
from demesh.cli.terminal import count, printable
from demesh.config.outside import Files, Unfilled
from demesh.errors import ConfigError, UsageError
from demesh.servers.reading import ServerList, read_list, written
from demesh.servers.server import TRANSPORTS, Server

_NOTHING_ACCEPTED = 1


@dataclass(frozen=True, slots=True)
class _File:
    """A list that was read; `merged` are lines and where the same server stood first."""

    name: str
    read: ServerList
    servers: tuple[Server, ...]
    merged: tuple[tuple[int, str], ...]


@click.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="OUT", help="Write the list here, in place of standard output.")
@click.option(
    "--type", "type_", type=click.Choice(list(TRANSPORTS)), help="Of a list without header whose name tells no type."
)
@click.option(
    "--keep-credentials",
    metavar="DIRECTORY",
    help="Keep users and passwords in files of their own there, mode 0600, and the columns user and password_file. It is beneath "
    "the directory of demesh.toml, where this is to run. Without this they are dropped.",
)
@options.as_json
def import_(
    files: tuple[str, ...], output: str | None, type_: str | None, keep_credentials: str | None, as_json: bool
) -> None:
    """Read lists of servers, say what is wrong with each row, and write what is left as one list.

    Reads our own form and Dogdorm's (`ip,port[,name[,user[,password]]]`, of which the file's name tells type and family, as
    in stun_v4.csv). Rows that mean the same server are merged. What was rejected is told by file, line and reason; with
    --json the report goes to standard output, and the list only to OUT. Exits with 0, with 1 if no row was accepted, with 2 if
    a file cannot be read.

    \b
    Examples:
      demesh servers import stun_v4.csv -o stun.csv
      demesh servers import stun_v4.csv stun_v6.csv --json
    """
    found = _read(files, type_)
    servers = [server for each in found for server in each.servers]
    logins = sum(server.login is not None for server in servers)
    named = sum(bool(server.password_file) for server in servers)
    if keep_credentials is None:
        servers = [replace(server, user="", password_file="", login=None) for server in servers]
    else:
        directory = _beneath_here(keep_credentials)
        servers = [_kept(server, directory) for server in servers]
    if output is not None:
        try:
            Path(output).write_text(written(servers))
        except OSError as error:
            raise UsageError(f"{output} cannot be written: {error.strerror}.") from None
    if as_json:
        click.echo(
            json.dumps(printable(_report(found, servers, logins, named, keep_credentials is not None)), indent=2)
        )
    else:
        if output is None:
            click.echo(written(servers), nl=False)
        _say(found, logins, named, keep_credentials)
    if not servers:
        raise SystemExit(_NOTHING_ACCEPTED)


def _read(names: Sequence[str], type_: str | None) -> list[_File]:
    """Raises ConfigError with everything that keeps a file from being read."""
    first: dict[object, str] = {}
    problems: list[str] = []
    found: list[_File] = []
    for name in names:
        try:
            raw = Files(Path()).content(name, limits.SERVER_LIST_BYTES_MAX)
            read = read_list(raw, Path(name).name, type_)
        except Unfilled as problem:
            problems.append(f"{problem}.")
            continue
        except UsageError as problem:
            problems.append(f"{name}: {problem}")
            continue
        merged = [(each.line, f"{name}:{each.first_line}") for each in read.merged]
        new: list[Server] = []
        for server in read.servers:
            if server.key in first:
                merged.append((server.line, first[server.key]))
            else:
                first[server.key] = f"{name}:{server.line}"
                new.append(server)
        found.append(_File(name, read, tuple(new), tuple(sorted(merged))))
    if problems:
        raise ConfigError(problems)
    return found


def _beneath_here(name: str) -> Path:
    """The directory, relative to the present one: so it is written, and a list's files have no other names. Raises UsageError."""
    here, directory = Path.cwd(), Path(name).resolve()
    if not directory.is_relative_to(here):
        raise UsageError(
            "--keep-credentials must name a directory beneath this one: run the command where demesh.toml is, whose lists "
            "name such files relative to it."
        )
    return directory.relative_to(here)


def _kept(server: Server, directory: Path) -> Server:
    """`server` with its login in a private file, which the list names; the user in the first line, the password in the second."""
    if server.login is None:
        return server
    digest = hashlib.blake2b(repr(server.key).encode(), digest_size=4).hexdigest()
    path = directory / f"{server.type}-{server.host.replace(':', '_')[:100]}-{digest}.login"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(handle, "w") as file:
            file.write(f"{server.login.user}\n{server.login.password}\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from None
    return replace(server, password_file=str(path), login=None)


def _report(found: Sequence[_File], servers: Sequence[Server], logins: int, named: int, kept: bool) -> dict[str, Any]:
    return {
        "files": [
            {
                "file": each.name,
                "accepted": len(each.servers),
                "merged": [{"line": line, "same_as": first} for line, first in each.merged],
                "rejected": [{"line": one.line, "reason": one.reason} for one in each.read.rejected],
            }
            for each in found
        ],
        "credentials": {"found": logins, "files_named": named, "kept": kept},
        "servers": [
            {
                "type": each.type,
                "host": each.host,
                "port": each.port,
                "transport": each.transport,
                "family": each.family or None,
                "check": each.check_name,
                "note": each.note or None,
            }
            for each in servers
        ],
    }


def _say(found: Sequence[_File], logins: int, named: int, kept: str | None) -> None:
    for each in found:
        for line, first in each.merged:
            click.echo(f"{each.name}:{line}: merged: the same server as {first}.", err=True)
        for one in each.read.rejected:
            click.echo(f"{each.name}:{one.line}: rejected: {one.sentence}", err=True)
    for each in found:
        click.echo(
            f"{each.name}: {len(each.servers)} accepted, {len(each.merged)} merged, {len(each.read.rejected)} rejected.",
            err=True,
        )
    if logins and kept is None:
        sentence = f"The logins of {count(logins, 'row')} were dropped; --keep-credentials DIRECTORY keeps them in private files."
        click.echo(sentence, err=True)
    elif logins:
        click.echo(f"{count(logins, 'login')} kept in private files in {kept}.", err=True)
    if named:
        rows = count(named, "row names a file of its login", "rows name files of their logins")
        became = (
            "user and password_file are dropped"
            if kept is None
            else "they are kept; look whether each is meant for its server"
        )
        click.echo(f"{rows}: {became}.", err=True)
