"""The command line. One module a command, loaded when it is called; none but `node run` imports libp2p."""

import sys
from importlib import import_module

import click

from demesh import __version__
from demesh.errors import DemeshError


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
    """The entry point: errors that a person can act on come as a sentence and an exit code, never as a traceback."""
    try:
        code = root.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        code = 130
    except DemeshError as error:
        click.echo(str(error), err=True)
        code = error.exit_code
    except BrokenPipeError:
        code = 141
    except PermissionError as error:
        where = error.filename or "what this needs"
        click.echo(
            f"No permission to use {where}; run this as the user that it belongs to, or use --node URL.", err=True
        )
        code = 2
    sys.exit(code if isinstance(code, int) else 0)
