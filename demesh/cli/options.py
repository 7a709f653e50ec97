"""Options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

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


def node_url(function: _F) -> _F:
    return click.option("--node", "node_url", metavar="URL", help="Ask the node whose API is at URL.")(function)


def as_json(function: _F) -> _F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)
