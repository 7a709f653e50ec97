"""`demesh alerts`: what is wrong, who agrees, and why somebody was or was not notified of it."""

import json
from datetime import datetime
from typing import Any

import click

from demesh.cli.client import ask
from demesh.cli.deciding import left, now, who
from demesh.cli.table import say
from demesh.cli.terminal import ago, printable

_MUTED = {"silence": "silenced", "maintenance": "in maintenance", "depends_on": "depends on"}
_NAMING = ("alertname", "check", "node", "mesh", "severity")


def show(as_json: bool, node_url: str | None, data_dir: str | None) -> None:
    """Print it, as `demesh alerts` does."""
    told = ask("/api/v1/incidents", data_dir, node_url, dict)
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    _print(printable(told), now())


def _print(told: dict[str, Any], at: datetime) -> None:
    if not told["incidents"]:
        say(("Nothing is wrong.", "green"))
    for each in told["incidents"]:
        _print_incident(each, at)
    if told["from_alertmanager"]:
        say(("\nfrom Alertmanager", "dim"))
    for each in told["from_alertmanager"]:
        labels = each["labels"]
        rest = " ".join(f"{name}={value}" for name, value in labels.items() if name != "alertname")
        say(
            (f"! {labels.get('alertname', each['fingerprint'])}", "red"),
            (f"  {rest}, since {ago(each['since'], at)}", ""),
        )
    if told["closed"]:
        say(("\nclosed lately", "dim"))
    for each in told["closed"]:
        say((f"✔ {each['name']} {each['subject']}", "green"), (f", {ago(each['closed_at'], at)} ago", "dim"))
    for each in told["alert_paths"]:
        state, style = (
            ("works", "") if each["works"] else ("is broken", "bold red") if each["stopped"] else ("unknown", "dim")
        )
        back = f"came back to {', '.join(each['to'])} {ago(each['came_back_at'], at)} ago"
        say((f"\nalerts of {each['node']}: {state}", style), (f", its watchdog {back}", "dim"))


def _print_incident(each: dict[str, Any], at: datetime) -> None:
    style = "dim" if each["muted"] else "bold red"
    say((f"! {each['name']} {each['subject']}", style), (f", since {ago(each['since'], at)}", ""))
    if summary := each["annotations"].get("summary"):
        say((f"    {summary}", ""))
    if more := " ".join(f"{name}={value}" for name, value in each["labels"].items() if name not in _NAMING):
        say((f"    {more}", "dim"))
    if mute := each["muted"]:
        until = f", for {left(mute['until'], at)} more" if mute["until"] else ""
        comment = f": {mute['comment']}" if mute["comment"] else ""
        by = mute["by"] if mute["kind"] != "silence" else f"by {mute['by']}"
        say((f"    {_MUTED.get(mute['kind'], mute['kind'])} {by}{until}{comment}", "yellow"))
    if said := each["acknowledged"]:
        comment = f": {said['comment']}" if said["comment"] else ""
        say((f"    acknowledged by {who(said)}, {ago(said['at'], at)} ago{comment}", "yellow"))
