"""The command line. One module a command, loaded when it is called; none but `node run` imports libp2p.

Guarantees: an error that a person can act on is a sentence and an exit code, never a traceback. A command whose reader has gone
away, as in `demesh log export | head`, ends without a word and with 141, as a shell says it of what SIGPIPE ended.
"""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import click

from demesh import __version__
from demesh.errors import DemeshError

_UNREAD = 141
_INTERRUPTED = 130


class Unread(Exception):
    """Nobody reads any more what a command writes."""


@contextmanager
def _noticing_unread() -> Generator[None]:
    """click ends for an EPIPE by itself, with 1, which a command may say of what it was asked."""
    try:
        yield
    except BrokenPipeError:
        raise Unread from None


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed: `lazy` maps a name to `module:attribute`."""

    def __init__(self, *args: object, lazy: dict[str, str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # pyright: ignore[reportArgumentType] click's own signature, passed through
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._lazy:
            module, attribute = self._lazy[cmd_name].split(":")
            return getattr(import_module(module), attribute)
        return super().get_command(ctx, cmd_name)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with _noticing_unread():  # of a help, too
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _noticing_unread():
            return super().invoke(ctx)


@click.group(
    cls=LazyGroup,
    lazy={
        "ack": "demesh.cli.ack:ack",
        "backup": "demesh.cli.backup:backup",
        "demo": "demesh.cli.demo:demo",
        "init": "demesh.cli.init:init",
        "install-unit": "demesh.cli.install_unit:install_unit",
        "invite": "demesh.cli.invite:invite",
        "join": "demesh.cli.join:join",
        "restore": "demesh.cli.backup:restore",
        "node": "demesh.cli.node:node",
        "status": "demesh.cli.status:status",
        "maintenance": "demesh.cli.maintenance:maintenance",
        "alerts": "demesh.cli.alerts:alerts",
        "members": "demesh.cli.members:members",
        "silence": "demesh.cli.silence:silence",
        "check": "demesh.cli.check:check",
        "log": "demesh.cli.log:log",
        "swarm-key": "demesh.cli.swarm_key:swarm_key",
        "token": "demesh.cli.token:token",
        "doctor": "demesh.cli.doctor:doctor",
        "explain": "demesh.cli.explain:explain",
        "servers": "demesh.cli.servers:servers",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="demesh")
def root() -> None:
    """demesh watches your services from every machine you have, and any of them answers for all."""


def main() -> None:
    """The entry point."""
    try:
        code = _run()
        _flush()
    except (Unread, BrokenPipeError):
        code = _UNREAD
        leave_unread()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    sys.exit(code)


def _run() -> Any:
    """Run the command; returns with what to exit."""
    try:
        code = root.main(standalone_mode=False)
    except SystemExit as ended:
        return ended.code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return _INTERRUPTED
    except DemeshError as error:
        click.echo(str(error), err=True)
        return error.exit_code
    except PermissionError as error:
        where = error.filename or "what this needs"
        click.echo(
            f"No permission to use {where}; run this as the user that it belongs to, or use --node URL.", err=True
        )
        return 2
    return code if isinstance(code, int) else 0


def _flush() -> None:
    """Write what is still to be written while it can be noticed that nobody reads it. Raises BrokenPipeError."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError):
        pass  # Python says so when it ends


def leave_unread() -> None:
    """Python tries to write it once more when it ends, and would complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream:
                stream.flush()
        except BrokenPipeError:
            with suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
        except (OSError, ValueError):
            pass
