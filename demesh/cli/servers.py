"""`demesh servers`: public servers, and lists of them."""

import click

from demesh.cli import LazyGroup


@click.group(cls=LazyGroup, lazy={"import": "demesh.cli.servers_import:import_"})
def servers() -> None:
    """Public servers (STUN, TURN, MQTT, NTP) and lists of them."""
