"""`demesh token new|list|revoke`."""

import json
from pathlib import Path

import click

from demesh.cli import options
from demesh.cli.terminal import printable
from demesh.config.load import check_name
from demesh.errors import NodeNotRunning
from demesh.home import Home, find_home
from demesh.tokens import Scope, Tokens, read_token_file


@click.group()
def token() -> None:
    """Who may ask this node from another machine, and who may change it."""


@token.command()
@click.option("--read", "read_only", is_flag=True, help="The token may read, not change anything.")
@click.option("--name", metavar="NAME", help="What to call it [default: token-1, token-2 …].")
@click.option(
    "--file", metavar="FILE", help="Take the token in FILE instead of making one, so that several nodes know it."
)
@options.as_json
@options.data_dir
def new(read_only: bool, name: str | None, file: str | None, as_json: bool, data_dir: str | None) -> None:
    """Make a token and print it, once: only its hash is kept.

    A running node knows it at once. Without --read the token may also change things. Where there is no data directory yet,
    it is made: a node that is to be asked from elsewhere wants a token before its first start. A token that --file gives is not
    printed.

    \b
    Examples:
      demesh token new --read --name grafana
      demesh token new
      demesh token new --read --name prometheus --file prometheus.token
    """
    from demesh.clock import SystemClock

    name = check_name(name) if name else None
    tokens = Tokens(find_home(data_dir).tokens)
    scope = Scope.READ if read_only else Scope.WRITE
    given = read_token_file(Path(file)) if file else None
    with tokens.changing():
        known = {each.name for each in tokens.all()}
        name = name or next(free for i in range(1, 2**31) if (free := f"token-{i}") not in known)
        text = tokens.make(name, scope, SystemClock().wall_ms(), given)
    if as_json:
        click.echo(json.dumps({"name": name, "scope": scope.name.lower(), "token": None if given else text}))
        return
    if not given:
        click.echo(text)
    may = "read" if read_only else "read and change things"
    shown = "" if given else " It is shown this once; keep it secret."
    click.echo(f"Token {name!r} may {may}.{shown}", err=True)


@token.command("list")
@options.as_json
@options.data_dir
def list_(as_json: bool, data_dir: str | None) -> None:
    """The tokens there are: name, scope and when they were made.

    \b
    Example:
      demesh token list
    """
    told = [each.told() for each in Tokens(_existing(data_dir).tokens).all()]
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for each in printable(told):
        click.echo(f"{each['name']:<24} {each['scope']:<6} {each['made_at']}")
    if not told:
        click.echo("There are no tokens; `demesh token new` makes one.", err=True)


@token.command()
@click.argument("name")
@options.data_dir
def revoke(name: str, data_dir: str | None) -> None:
    """Make the token NAME worthless, at once.

    \b
    Example:
      demesh token revoke grafana
    """
    Tokens(_existing(data_dir).tokens).revoke(name)
    click.echo(f"Revoked {name!r}.")


def _existing(data_dir: str | None) -> Home:
    home = find_home(data_dir)
    if not home.exists and not home.tokens.exists():
        raise NodeNotRunning(f"There is no node at {home.path}. `demesh init` or `demesh node run` makes one.")
    return home
