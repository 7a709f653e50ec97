"""`python -m tests.soak [--minutes N]`: a thousand checks on a machine whose cores are all busy; does anybody get a false alarm?

Two real nodes that know each other run the same checks of a real web server that is always up, a third one runs none of them. As
many processes as there are cores do nothing but compute. Whatever incident any node opens is false, and so is every alert.
"""

import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from demesh.identity import new_swarm_key, write_secret
from tests.bench.servers import Nginx
from tests.certificates import make_authority
from tests.e2e.harness import NodeProcess, WebServer

_CONFIG = """
[mesh]
peers = [{peers}]
[alerts]
alertmanager = "{alertmanager}"
[defaults]
interval = "{interval}s"
"""
_CHECK = '[[check]]\nname = "c{number}"\ntarget = "{target}?{number}"\n'
_LOOK_SECONDS = 1


def _compute() -> None:
    number = 1
    while True:
        number = number * 1_103_515_245 % 2_147_483_647


@contextmanager
def _busy(cores: int) -> Generator[None]:
    hogs = [multiprocessing.Process(target=_compute, daemon=True) for _ in range(cores)]
    for each in hogs:
        each.start()
    try:
        yield
    finally:
        for each in hogs:
            each.kill()
            each.join()


def _nodes(running: ExitStack, place: Path, checks: str, interval: int, alertmanager: str) -> list[NodeProcess]:
    swarm_key = place / "swarm.key"
    write_secret(swarm_key, new_swarm_key().text())
    nodes = [NodeProcess(place / name, name, swarm_key=swarm_key) for name in ("fra", "nyc", "lab")]
    for each in nodes:
        peers = ", ".join(f'"{other.swarm}"' for other in nodes if other is not each)
        config = _CONFIG.format(peers=peers, alertmanager=alertmanager, interval=interval)
        (each.home / "demesh.toml").write_text(config + (checks if each.name != "lab" else ""))
        running.enter_context(each)
        each.start()
    for each in nodes:
        each.wait_ready(120)
    return nodes


def _watch(nodes: Sequence[NodeProcess], hook: WebServer, seconds: float) -> set[str]:
    """Every incident that any of them has told of, and every alert."""
    found: set[str] = set()
    until, told = time.monotonic() + seconds, 0.0
    worst: dict[str, int] = {}
    while time.monotonic() < until:
        for node in nodes:
            try:
                status = json.loads(urllib.request.urlopen(f"http://{node.api}/api/v1/status", timeout=60).read())
            except OSError as error:
                found.add(f"{node.name} does not answer: {error}")
                continue
            found |= {
                f"{node.name}: {each['name']} {each['subject']}: {each['annotations']}" for each in status["incidents"]
            }
            for check in status["checks"]:
                worst[check["state"]] = max(
                    worst.get(check["state"], 0), sum(each["state"] == check["state"] for each in status["checks"])
                )
        for post in hook.posted:
            found |= {f"alert {each['labels']}" for each in post}
        if time.monotonic() - told > 60:
            told = time.monotonic()
            load, _, _ = os.getloadavg()
            click.echo(
                f"{until - told:6.0f} s to go, load {load:.1f}, {len(found)} false, most at once: {worst}", err=True
            )
        time.sleep(_LOOK_SECONDS)
    return found


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0.1), default=30, show_default=True)
@click.option("--checks", type=int, default=1_000, show_default=True)
@click.option("--interval", type=int, default=30, show_default=True, help="Seconds between two runs of a check.")
def main(minutes: float, checks: int, interval: int) -> None:
    """Print every false incident. Exits 1 if there is one."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the nodes end, too
    with tempfile.TemporaryDirectory(prefix="demesh-soak-") as name, ExitStack() as running:
        place = Path(name)
        hook = running.enter_context(WebServer())
        web = running.enter_context(Nginx(place, make_authority(place)).running())
        text = "".join(_CHECK.format(number=number, target=web.http_url) for number in range(checks))
        nodes = _nodes(running, place, text, interval, hook.url)
        cores = os.cpu_count() or 1
        running.enter_context(_busy(cores))
        found = _watch(nodes, hook, 60 * minutes)
        lateness = [each.output().count("stood still") for each in nodes]
    for each in sorted(found):
        click.echo(each)
    click.echo(
        f"{len(found)} false incidents or alerts in {minutes:g} minutes of 2 x {checks} checks every {interval} s, with {cores} "
        f"cores of {cores} kept busy by others; a node told {max(lateness)} times that it stood still"
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
