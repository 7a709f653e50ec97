"""`demesh check list|add|set|remove|pause|resume|validate`: the checks in the configuration, seen and changed."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from demesh.cli import LazyGroup, options
from demesh.errors import ConfigError, UsageError
from demesh.home import find_home, running_node

if TYPE_CHECKING:
    from demesh.config.edit import Edited


@click.group(cls=LazyGroup, lazy={"run": "demesh.cli.check_run:run", "test": "demesh.cli.check_test:test"})
def check() -> None:
    """The checks in the configuration: list them, change them, see whether they are sound.

    What is changed here is changed in the file: a node takes it up when it reads its configuration anew.
    """


@check.command("list")
@options.as_json
@options.config
@options.data_dir
def list_(as_json: bool, config: str | None, data_dir: str | None) -> None:
    """The checks in the configuration, this version's and those it cannot run yet.

    If the node runs, also those that it took over from other members (mesh.adopt_checks), and from whom.

    \b
    Examples:
      demesh check list
      demesh check list --json
    """
    from demesh.cli import check_report
    from demesh.config.load import load

    loaded = load(_config(config, data_dir))
    rows = check_report.rows(loaded)
    if not config and loaded.settings and loaded.settings.adopt_checks and running_node(find_home(data_dir)):
        from demesh.cli.client import ask

        rows += check_report.adopted_rows(ask("/api/v1/checks", data_dir, None, list))
    if loaded.problems and not rows:
        raise ConfigError(loaded.problems)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        check_report.print_rows(rows)
    if loaded.problems:
        click.echo("\n".join(loaded.problems), err=True)
        sys.exit(UsageError.exit_code)


@check.command()
@click.argument("name")
@click.argument("target", required=False)
@click.option("--interval", metavar="TIME", help="How often, such as 30s.")
@click.option("--nodes", metavar="NODE", multiple=True, help="Where: a node's name, tag:TAG or *. May be repeated.")
@click.option(
    "--expect-status", metavar="CODE", multiple=True, type=int, help="HTTP status that passes. May be repeated."
)
@click.option(
    "--option", "settings", metavar="KEY=VALUE", multiple=True, help="Any other key of a check. May be repeated."
)
@options.config
@options.data_dir
def add(
    name: str,
    target: str | None,
    interval: str | None,
    nodes: tuple[str, ...],
    expect_status: tuple[int, ...],
    settings: tuple[str, ...],
    config: str | None,
    data_dir: str | None,
) -> None:
    """Add a check of TARGET, a URL; a command or a plug-in has none.

    A KEY may be dotted; a VALUE is TOML, or else plain text.

    \b
    Examples:
      demesh check add blog https://blog.example.net --expect-status 200 --option expect.body=Welcome
      demesh check add disk --option type=command --option 'command=["check_disk", "-w", "10%"]'
    """
    from demesh.config.edit import add_check

    table: dict[str, Any] = {"name": name}
    if target is not None:
        table["target"] = target
    if interval is not None:
        table["interval"] = interval
    if nodes:
        table["nodes"] = list(nodes)
    if expect_status:
        table["expect.status"] = list(expect_status)
    path = _config(config, data_dir, needed=False)
    if not path.parent.is_dir():
        raise UsageError(f"There is no directory {path.parent}; `demesh init` makes a home with a configuration.")
    _tell("Added", name, add_check(path, {**table, **_values(settings)}))


@check.command("set")
@click.argument("name")
@click.argument("settings", metavar="KEY=VALUE...", nargs=-1, required=True)
@options.config
@options.data_dir
def set_(name: str, settings: tuple[str, ...], config: str | None, data_dir: str | None) -> None:
    """Set keys of the check NAME. A KEY may be dotted; a VALUE is TOML, or else plain text.

    \b
    Examples:
      demesh check set blog interval=30s expect.status='[200, 204]'
      demesh check set blog 'nodes=["tag:eu"]' severity=warning
    """
    from demesh.config.edit import set_keys

    _tell("Changed", name, set_keys(_config(config, data_dir), name, _values(settings)))


@check.command()
@click.argument("name")
@options.config
@options.data_dir
def remove(name: str, config: str | None, data_dir: str | None) -> None:
    """Take the check NAME out of the configuration.

    \b
    Example:
      demesh check remove blog
    """
    from demesh.config.edit import remove_check

    _tell("Removed", name, remove_check(_config(config, data_dir), name))


@check.command()
@click.argument("name")
@options.config
@options.data_dir
def pause(name: str, config: str | None, data_dir: str | None) -> None:
    """Keep the check NAME, but do not run it on this node.

    \b
    Example:
      demesh check pause blog
    """
    _enable(name, False, config, data_dir)


@check.command()
@click.argument("name")
@options.config
@options.data_dir
def resume(name: str, config: str | None, data_dir: str | None) -> None:
    """Run the check NAME again.

    \b
    Example:
      demesh check resume blog
    """
    _enable(name, True, config, data_dir)


@check.command()
@options.as_json
@options.config
@options.data_dir
def validate(as_json: bool, config: str | None, data_dir: str | None) -> None:
    """Say what is wrong with the configuration, all of it; or what it will do, and what it will cost.

    DEADLINE is the longest that an outage can last before this node's vote says so. What the configuration asks for and this
    version does not do yet is named. Exits with 2 if anything is wrong.

    \b
    Examples:
      demesh check validate
      demesh check validate --config demesh.toml --json
    """
    from demesh.cli import check_report
    from demesh.config.load import load

    loaded = load(_config(config, data_dir))
    if as_json:
        click.echo(json.dumps(check_report.report(loaded), indent=2))
    elif loaded.settings:
        check_report.print_report(check_report.report(loaded))
    else:
        raise ConfigError(loaded.problems)
    if loaded.problems:
        sys.exit(UsageError.exit_code)


def _config(config: str | None, data_dir: str | None, *, needed: bool = True) -> Path:
    if config:
        return Path(config)
    path = find_home(data_dir).config
    if needed and not _is_there(path):
        raise UsageError(f"There is no {path}. `demesh init` makes one; --config names another.")
    return path


def _is_there(path: Path) -> bool:
    """A link to nothing is there: what is wrong with it is said by who reads it. Raises PermissionError."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _values(settings: tuple[str, ...]) -> dict[str, Any]:
    """`key=value` texts as keys and TOML values. Raises UsageError, which repeats no value."""
    from demesh.config.edit import parse_value

    found: dict[str, Any] = {}
    for setting in settings:
        key, sign, text = setting.partition("=")
        if not sign or not all(key.split(".")):
            raise UsageError(
                f"{key if sign else setting!r} is not KEY=VALUE; write, say, interval=30s or expect.status=200."
            )
        found[key] = parse_value(text)
    return found


def _enable(name: str, enabled: bool, config: str | None, data_dir: str | None) -> None:
    from demesh.config.edit import set_keys

    _tell("Resumed" if enabled else "Paused", name, set_keys(_config(config, data_dir), name, {"enabled": enabled}))


def _tell(what: str, name: str, edited: "Edited") -> None:
    click.echo(f"{what} {name!r} in {edited.path}.")
    if edited.problems:
        click.echo("The configuration had problems before and still has them:", err=True)
        click.echo("\n".join(edited.problems), err=True)
