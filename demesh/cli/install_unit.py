"""`demesh install-unit`."""

import os
import shlex
from dataclasses import replace
from pathlib import Path

import click

from demesh.errors import UsageError
from demesh.home import SYSTEMS, Home
from demesh.systemd import installing, machine
from demesh.systemd.unit import NOTIFY_RELOAD_VERSION, Unit, data_dir_of, is_untouched, swarm_key_file_of

_USER = "demesh"


@click.command("install-unit")
@click.option("--user", "for_user", is_flag=True, help="A unit of your own service manager, not of the whole machine.")
@click.option("--print", "only_print", is_flag=True, help="Only print what would be written.")
@click.option("--force", is_flag=True, help="Overwrite a unit that somebody has changed.")
@click.option(
    "--swarm-key-file",
    metavar="FILE",
    envvar="DEMESH_SWARM_KEY_FILE",
    help="The mesh's swarm key, which systemd hands to the node [default: that of the unit that is there, or swarm.key in the "
    "data directory].",
)
@click.option(
    "--data-dir",
    metavar="DIR",
    help="The node's data directory [default: $DEMESH_HOME; that of the unit that is there; /var/lib/demesh, or with --user "
    "~/.local/share/demesh].",
)
def install_unit(
    for_user: bool, only_print: bool, force: bool, swarm_key_file: str | None, data_dir: str | None
) -> None:
    """Write a systemd unit that runs this demesh, and say what is to be done then.

    The unit of the whole machine is root's to write; its node runs as the user demesh, or as the user to whom DIR belongs. It has
    the paths of this installation, so write it anew after demesh has moved; what you named before need not be named again
    (--swarm-key-file "" goes back to the one in the data directory). Nothing is started. A unit that somebody has changed is not
    overwritten.

    \b
    Examples:
      demesh install-unit --user --print
      demesh install-unit --user
    """
    directory = installing.users_units() if for_user else installing.SYSTEM_UNITS
    before = installing.read_unit(directory) or ""
    ours = before if is_untouched(before) else ""  # only what demesh wrote is read back for certain
    kept = _kept(ours, data_dir)
    named = data_dir or os.environ.get("DEMESH_HOME")
    place = Path(named).expanduser().absolute() if named else kept or (None if for_user else SYSTEMS)
    if swarm_key_file is None and place == kept:
        swarm_key_file = str(swarm_key_file_of(ours) or "")
    version = machine.systemd_version()
    unit = Unit(
        machine.this_program(),
        None,
        place,
        Path(swarm_key_file).expanduser().absolute() if swarm_key_file else None,
        notify_reload=version is not None and version >= NOTIFY_RELOAD_VERSION,
        installation=machine.installation(),
    )
    if not for_user:
        unit = _of_the_machine(unit)
    if not (named or kept or for_user) and (said := _meant_otherwise()):
        if not only_print:
            raise UsageError(said)
        click.echo(said, err=True)
    if only_print:
        click.echo(unit.text(), nl=False)
        return
    if not for_user and os.geteuid() != 0:
        raise UsageError(
            "The unit of the whole machine is root's to write: run this with sudo, or make one of your own with --user."
        )
    if unit.user and (closed := machine.unreachable(unit.user)):
        raise UsageError(
            f"The user {unit.user} could not run this demesh, for {closed} is closed to others. Install it where everybody may "
            "read it, as in /opt/demesh, or run it as yourself with --user."
        )
    path, written = installing.write_unit(directory, unit.text(), force=force)
    click.echo(f"Wrote {path}." if written else f"{path} is as it should be.")
    if written and before and not ours:
        click.echo(
            "It was changed by somebody, so nothing that it named was taken over: see --data-dir, --swarm-key-file."
        )
    _tell_next(unit, version)


def _kept(unit: str, data_dir: str | None) -> Path | None:
    """The data directory of the unit that is there, which need not be named again. Raises UsageError where it must be."""
    kept = data_dir_of(unit)
    if kept is None or data_dir:
        return kept
    told = os.environ.get("DEMESH_HOME")
    if told and Path(told).expanduser().absolute() != kept:
        raise UsageError(
            f"DEMESH_HOME is {told}, and the unit that is there names {kept}. Say which it is to be: --data-dir DIR."
        )
    if kept != SYSTEMS and not kept.exists():
        raise UsageError(
            f"The unit that is there names the data directory {kept}, which is gone. Say where the node is now: --data-dir DIR, "
            f"which may be {SYSTEMS}."
        )
    return kept


def _meant_otherwise() -> str:
    """What to do about a user's node, if the machine has none, so that its unit would begin another one; else nothing."""
    if Home(SYSTEMS).exists:
        return ""
    said: list[str] = []
    for user, home in machine.nodes_of_users().items():
        path = shlex.quote(str(home.path))
        said += [f"{user} has a node in {home.path}, and {SYSTEMS} holds none: this unit would begin a new one there."]
        if user != "root":
            said += [
                "To run it where it is, as the user to whom it belongs:",
                f"  demesh install-unit --data-dir {path}    # as root; or, as {user}: demesh install-unit --user",
            ]
        said += ["To move it to where a service keeps its own, stop it; then, as root:"]
        said += [] if machine.user_exists(_USER) else [f"  {_useradd(_USER, SYSTEMS)}"]
        said += [
            f"  mv -T {path} {shlex.quote(str(SYSTEMS))}",
            f"  {_give(_USER, SYSTEMS)}",
            f"  demesh install-unit --data-dir {shlex.quote(str(SYSTEMS))}",
        ]
    return (
        "\n".join([*said, "A new one it is to be:", f"  demesh install-unit --data-dir {shlex.quote(str(SYSTEMS))}"])
        if said
        else ""
    )


def _useradd(user: str, home: Path) -> str:
    return f"useradd --system --user-group --home-dir {shlex.quote(str(home))} --shell /usr/sbin/nologin {user}"


def _give(user: str, home: Path) -> str:
    return f"chown -R {user}:{user} {shlex.quote(str(home))}"


def _of_the_machine(unit: Unit) -> Unit:
    """`unit` as one of the whole machine. Raises UsageError."""
    assert unit.data_dir
    user = _USER if unit.state_directory else machine.user_of(unit.data_dir)
    return replace(unit, user=user, raw_ping=machine.needs_raw_ping(user))


def _tell_next(unit: Unit, version: int | None) -> None:
    home = Home(unit.data_dir) if unit.data_dir else None
    systemctl = "systemctl" if unit.user else "systemctl --user"
    click.echo(f"  runs       {shlex.join(unit.program)} node run, as {unit.user or 'you'}")
    if home:
        click.echo(f"  home       {home.path}")
    if unit.swarm_key_file:
        click.echo(f"  swarm key  {unit.swarm_key_file}")
    if version is None:
        click.echo("  systemd    none was found here; the unit is of a form that all versions since 250 know")
    if unit.raw_ping:
        click.echo("  ping       by CAP_NET_RAW, as net.ipv4.ping_group_range lets the node not ping otherwise")
    click.echo("Next:")
    if unit.user and not machine.user_exists(unit.user):
        click.echo(f"  {_useradd(unit.user, unit.data_dir or SYSTEMS)}")
    if home and not home.exists:
        join = f"demesh join --data-dir {shlex.quote(str(home.path))}"
        click.echo(f"  # to join a mesh rather than found one: {join}, with an invitation")
    elif home and unit.state_directory and machine.owner(home.path) != unit.user:
        click.echo(f"  {_give(_USER, home.path)}")
    click.echo(f"  {systemctl} daemon-reload")
    click.echo(f"  {systemctl} enable --now demesh")
    if not unit.user:
        click.echo("  loginctl enable-linger  # so that it runs while you are not logged in")
