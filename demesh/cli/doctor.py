"""`demesh doctor`: what is wrong with this node and its machine, and what to do about it."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from demesh import __version__
from demesh.cli import options
from demesh.cli.terminal import printable
from demesh.doctor.finding import Examination, Finding, Level, bad, examine, good

_GLYPHS = {Level.GOOD: ("✔", "green"), Level.WARNING: ("!", "yellow"), Level.BAD: ("✘", "red")}
_SWARM_PORT = 8471


@click.command()
@options.as_json
@options.swarm_key_file
@options.data_dir
def doctor(as_json: bool, swarm_key_file: str | None, data_dir: str | None) -> None:
    """Look at this node and its machine, running or not: one line for each finding, and a remedy where one is needed.

    Exits 0 when all is good, 1 with something to look at (!), 2 with something that must be mended (✘).

    \b
    Examples:
      demesh doctor
      demesh doctor --json
    """
    from demesh.clock import SystemClock

    found = list(examine(_examinations(data_dir, swarm_key_file), SystemClock().monotonic_ms, _tell_waiting))
    worst = max(finding.level for finding in found)
    if as_json:
        click.echo(json.dumps([{**asdict(each), "level": each.level.name.lower()} for each in found], indent=2))
    else:
        for each in found:
            _print(each)
    sys.exit(int(worst))


def _examinations(data_dir: str | None, swarm_key_file: str | None) -> dict[str, Examination]:
    from demesh.doctor import machine
    from demesh.doctor import node as its
    from demesh.errors import UsageError
    from demesh.home import bytes_on_disk, find_home, is_held, running_node

    home = find_home(data_dir)
    try:
        running = running_node(home)
        held = running is None and is_held(home)
        settings, config = its.configuration(home)
        store_bytes = bytes_on_disk(home.log_db)
    except (UsageError, PermissionError) as error:
        said = str(error) if isinstance(error, UsageError) else f"No permission to look into {home.path}."
        refused = [bad("home", said, "Run this as the user that runs the node.")]
        return {"version": _version, "home": lambda: refused, "clock": machine.clock, "ping": machine.ping}
    examinations: dict[str, Examination] = {
        "version": _version,
        "home": partial(its.files, home),
        "config": lambda: config,
        "node": lambda: list(its.running(home, running, _ask(data_dir) if running else None, held=held)),
        "clock": machine.clock,
        "ping": machine.ping,
        "routes": machine.families,
        "disk": partial(machine.disk, home.path, store_bytes),
    }
    if settings is None:
        return examinations
    elsewhere = swarm_key_file or (running.swarm_key_file if running else None)
    key_file = Path(elsewhere) if elsewhere else settings.swarm_key_file
    examinations["swarm key"] = partial(its.swarm_key, home, replace(settings, swarm_key_file=key_file), running)
    if running is None:
        if settings.listens:
            listen = settings.listen or (("0.0.0.0", _SWARM_PORT),)
            examinations["swarm port"] = partial(machine.port, "swarm port", listen, "--listen")
        if settings.api:
            examinations["API port"] = partial(machine.port, "API port", [settings.api], "--api")
    examinations["names"] = partial(machine.names, its.hosts(settings))
    if any(check.probe.type == "stun" for check in settings.checks):
        examinations["NAT"] = partial(its.nat, settings)
    examinations["peers"] = partial(its.peers, settings)
    examinations["alerts"] = partial(its.sinks, settings)
    return examinations


def _ask(data_dir: str | None) -> Any:
    """The running node's status, or the error that says why there is none."""
    from demesh.cli.client import ask
    from demesh.errors import DemeshError

    try:
        return ask("/api/v1/status", data_dir, None, dict)
    except DemeshError as error:
        return error


def _version() -> Sequence[Finding]:
    import apsw

    python = ".".join(map(str, sys.version_info[:3]))
    return [good("version", f"demesh {__version__}, SQLite {apsw.sqlite_lib_version()}, Python {python}.")]


def _tell_waiting(topics: Sequence[str]) -> None:
    if sys.stderr.isatty():
        click.echo(f"Still looking at: {', '.join(topics)} …", err=True)


def _print(finding: Finding) -> None:
    glyph, colour = _GLYPHS[finding.level]
    click.secho(printable(f"{glyph} {finding.topic:<10} {finding.sentence}"), fg=colour if finding.level else None)
    if finding.remedy:
        click.echo(printable(f"             {finding.remedy}"))
