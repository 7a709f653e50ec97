"""`demesh demo`: three nodes and what they watch on this machine, and the story of what can go wrong."""

import sys

import click


@click.command()
@click.option(
    "--dir", "directory", metavar="DIR", help="Keep all in DIR, which must be empty [default: nothing is kept]."
)
@click.option(
    "--wait/--no-wait",
    default=None,
    help="Go on after the story, for you to try things, or end [default: go on if this is a terminal].",
)
def demo(directory: str | None, wait: bool | None) -> None:
    """See what demesh does: three nodes on this machine, and things that break.

    Takes about two minutes. It needs no internet and no rights, and touches nothing of yours: no configuration, no node that runs
    here. Then it goes on running and shows commands to try. Enter or Ctrl-C ends it, and nothing is left of it.

    Exits 0 when all happened as told, or you ended it; 1 when something did not.

    \b
    Examples:
      demesh demo
      demesh demo --no-wait
    """
    from demesh.cli.demo_show import show

    goes_on = sys.stdin.isatty() and sys.stdout.isatty() if wait is None else wait
    sys.exit(show(directory, wait=goes_on))
