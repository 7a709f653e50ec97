"""Options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

TOKEN = "demesh.token"
"""Where the context keeps the value of --token."""

_F = TypeVar("_F", bound=Callable[..., Any])


def data_dir(function: _F) -> _F:
    return click.option(
        "--data-dir",
        metavar="DIR",
        help="The node's data directory [default: $DEMESH_HOME, ~/.local/share/demesh or /var/lib/demesh].",
    )(function)


def config(function: _F) -> _F:
    return click.option(
        "--config", metavar="FILE", help="The configuration [default: demesh.toml in the data directory]."
    )(function)


def swarm_key_file(function: _F) -> _F:
    return click.option(
        "--swarm-key-file",
        metavar="FILE",
        envvar="DEMESH_SWARM_KEY_FILE",
        help="The mesh's swarm key, if the node has it from elsewhere and does not run.",
    )(function)


def node_url(function: _F) -> _F:
    """`--node`, and `--token` with it; the token waits in the context for `demesh.cli.client`."""
    token = click.option(
        "--token",
        metavar="TOKEN",
        envvar="DEMESH_TOKEN",
        expose_value=False,
        callback=_keep_token,
        help="What to show the node at URL. Better in DEMESH_TOKEN: a command line can be seen by others.",
    )
    return click.option("--node", "node_url", metavar="URL", help="Ask the node whose API is at URL.")(token(function))


def _keep_token(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    context.meta[TOKEN] = value


def as_json(function: _F) -> _F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)
