"""`demesh check test`: one probe, once, explained."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from demesh.cli import options

_F = TypeVar("_F", bound=Callable[..., Any])


def _probe_options(function: _F) -> _F:
    for option in reversed(
        (
            click.option("--timeout", metavar="DURATION", help="Give up after this long [default: 10s]."),
            click.option("--method", metavar="METHOD", help="The HTTP method [default: GET]."),
            click.option("--header", multiple=True, metavar="'NAME: VALUE'", help="A header to send; repeatable."),
            click.option("--body", metavar="TEXT", help="A body to send."),
            click.option(
                "--expect-status",
                multiple=True,
                metavar="STATUS",
                help="An accepted status: 200 or 200-299; repeatable.",
            ),
            click.option("--expect-body", metavar="REGEX", help="What the body must match."),
            click.option("-4", "ipv4", is_flag=True, help="Try IPv4 addresses only."),
            click.option("-6", "ipv6", is_flag=True, help="Try IPv6 addresses only."),
            click.option("--insecure", is_flag=True, help="Believe any certificate."),
            click.option(
                "--ca-file", metavar="FILE", help="Believe the CA certificates in FILE instead of the system's."
            ),
        )
    ):
        function = option(function)
    return function


@click.command()
@click.argument("what", metavar="URL|NAME")
@_probe_options
@click.option("--show-actual", is_flag=True, help="Quote what was found where an expectation failed.")
@click.option("--config", metavar="FILE", help="Where the check NAME is [default: demesh.toml in the data directory].")
@options.data_dir
@options.as_json
def test(what: str, show_actual: bool, config: str | None, data_dir: str | None, as_json: bool, **given: Any) -> None:
    """Run one check once, here and now, and explain what happens.

    With a URL, options say how; with the NAME of a check, the configuration says it all. Nothing is recorded, and no node
    needs to run.

    Exits with 0 if it passes, 2 if it cannot be tried as asked, 1 otherwise.

    \b
    Examples:
      demesh check test https://example.org
      demesh check test https://example.org/health --expect-body '"ok"' -6
      demesh check test blog
    """
    from demesh.cli.trying import try_once

    where = (config, data_dir)
    sys.exit(try_once(what, where, given, show_actual=show_actual, as_json=as_json))
