"""A node that has what it needs, at work: the real edges, the node on them, and what goes on beside it."""

import gc
import logging
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

import click
import trio
from nacl.signing import SigningKey

from demesh import __version__, limits
from demesh.alerts.delivery import curl_fetch, delivery
from demesh.alerts.post import curl_post
from demesh.api.public_server import PublicServer
from demesh.api.server import ApiServer
from demesh.cli import leave_unread
from demesh.cli.first_start import listening
from demesh.cli.signals import obey
from demesh.clock import SystemClock
from demesh.config.load import Settings
from demesh.config.source import ConfigSource
from demesh.config.watch import Fingerprint, load_whole, watch
from demesh.curl import CurlEngine
from demesh.edges import Edges
from demesh.errors import UsageError
from demesh.home import Home, MarkerFile, machine_id, make_runtime_directory
from demesh.identity import peer_id
from demesh.interfaces import this_machines_addresses
from demesh.lateness import Lateness
from demesh.log.storage import ThreadStorage
from demesh.log.store import Store
from demesh.mdns import LocalDiscovery, mark_of
from demesh.mesh import mesh_id as mesh_ids
from demesh.mesh import rotation as rotations
from demesh.mesh.gossip import topic
from demesh.mesh.key_storage import ThreadKeyStorage
from demesh.mesh.libp2p.host import Libp2pNetwork
from demesh.metrics import CONFIG_GOOD, NETWORK_UP, total
from demesh.node import Node
from demesh.probes.public import admits_listed, admits_public
from demesh.probes.registry import Probes, Tools
from demesh.probes.relays import Relays
from demesh.probes.resolving import Resolver
from demesh.pulse import Pulse
from demesh.statistics import tell_statistics
from demesh.swarm_key_files import SwarmKeyFiles, SwarmKeys
from demesh.systemd.status import Glance
from demesh.systemd.telling import Telling
from demesh.target import public_target
from demesh.view.history_storage import ThreadHistoryStorage
from demesh.view.history_store import HistoryStore

log = logging.getLogger(__name__)
_GC_THRESHOLDS = (20_000, 20, 20)


@dataclass(frozen=True, slots=True)
class Start:
    """What a start has settled."""

    settings: Settings
    source: ConfigSource
    files: Fingerprint
    """What those of `source` were when `settings` were read from them."""
    home: Home
    key: SigningKey
    key_files: SwarmKeyFiles
    swarm_keys: SwarmKeys
    mesh_id: bytes
    store: Store
    history: HistoryStore
    api: ApiServer
    public: PublicServer | None
    clock: SystemClock
    statistics: bool
    telling: Telling
    announce: Callable[[], None]
    """Tells other commands that the node answers."""


async def run(start: Start) -> None:
    """Run the node that was started until it is asked to stop. Raises DemeshError, perhaps in a group."""
    settings, home, swarm_keys = start.settings, start.home, start.swarm_keys
    clock, telling = start.clock, start.telling
    curl, lateness, relays = CurlEngine(), Lateness(clock), Relays()
    tools = Tools(curl, clock.wall_ms, Resolver(), relays)
    marker = MarkerFile(make_runtime_directory(), home)
    pulse = Pulse()
    waiting = pulse.disk(clock.monotonic_ms)
    network = Libp2pNetwork(
        bytes(start.key), swarm_keys.accepted, topic(start.mesh_id), listening(settings), clock=clock
    )
    edges = Edges(
        clock=clock,
        store=start.store,
        storage=ThreadStorage(start.store, waiting),
        history=start.history,
        history_storage=ThreadHistoryStorage(start.history, waiting),
        network=network,
        probes=Probes(tools),
        relays=relays,
        public_probes=Probes(replace(tools, resolver=Resolver(admits=admits_public), relays=Relays())),
        listed_probes=Probes(replace(tools, resolver=Resolver(admits=admits_listed, discreet=False), relays=Relays())),
        post=curl_post(curl, lambda: node.settings.alert_token_file),
        notify=delivery(curl),
        fetch=curl_fetch(curl),
        read_marker=marker.read,
        write_marker=marker.write,
        rng=random.Random(secrets.randbits(64)),
        load_settings=partial(_load, start.source, trio.CapacityLimiter(1)),
        epoch_nonce=partial(secrets.token_bytes, 8),
        machine=machine_id(),
        own_addresses=this_machines_addresses,
        late_ms=lateness.p99_ms,
        starting=telling.starting,
        pulse=pulse,
    )
    node = Node(settings, start.key, start.mesh_id, edges)
    rotation = rotations.Rotation(
        ThreadKeyStorage(start.key_files), swarm_keys, network, node.key, partial(_trusted, node)
    )
    network.serve(mesh_ids.PROTOCOL, mesh_ids.teller(start.mesh_id))
    network.serve(rotations.PROTOCOL, rotation.answer)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(curl.run)
        nursery.start_soon(lateness.run)
        nursery.start_soon(telling.run, node, partial(_glance, node), stop)
        ask_reload, reloads_asked = trio.open_memory_channel[None](1)
        nursery.start_soon(obey, ask_reload, stop)
        nursery.start_soon(_reload_when_asked, reloads_asked, node, telling)
        nursery.start_soon(watch, start.source.files, partial(_reload, node, telling), start.files)
        if start.statistics:
            nursery.start_soon(tell_statistics, clock, lateness, node.store_bytes)
        nursery.start_soon(_greet, node, settings, home, rotation)
        nursery.start_soon(rotation.run)
        services: list[Callable[[Node], Awaitable[None]]] = [
            partial(start.api.run, rotation=rotation),
            partial(_announce, start.announce),
        ]
        if start.public is not None:
            services.append(start.public.run)
        if settings.mdns:
            services.append(LocalDiscovery(partial(_marks, start.mesh_id, rotation)).run)
        await node.run(stop, services)
        nursery.cancel_scope.cancel()


async def _announce(
    announce: Callable[[], None], _node: Node, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Tell other commands that the node answers from now on."""
    announce()
    task_status.started()


def _marks(mesh_id: bytes, rotation: rotations.Rotation) -> list[str]:
    return [mark_of(each, mesh_id) for each in rotation.keys.accepted]


def _trusted(node: Node) -> frozenset[bytes]:
    """The members that may have the mesh's secrets: all that are known from their logs, are let in here and have not left."""
    return frozenset(member.public_key for member in node.view.members())


async def _load(source: ConfigSource, one_at_a_time: trio.CapacityLimiter) -> Settings:
    """Read the configuration anew. Raises UsageError, also for a file system that does not answer, and for files that are written
    all the time: nobody waits for them.

    A thread that is given up stays for as long as that takes; with a limiter of its own it takes no place of others'.
    """
    try:
        with trio.fail_after(limits.CONFIG_READ_SECONDS_MAX):
            return await load_whole(source, one_at_a_time)
    except trio.TooSlowError:
        raise UsageError(f"It could not be read within {limits.CONFIG_READ_SECONDS_MAX} s.") from None


async def _reload_when_asked(asked: trio.MemoryReceiveChannel[None], node: Node, telling: Telling) -> None:
    async for _ in asked:
        await _reload(node, telling)


async def _reload(node: Node, telling: Telling) -> None:
    """Take up the configuration anew, as a changed file or SIGHUP asks; a bad one changes nothing."""
    async with telling.reloading():
        try:
            await node.reload()
        except UsageError as error:
            log.error("The configuration is bad; the last good one stays in force. %s", error)


def _glance(node: Node) -> Glance:
    peers, connected = node.peers()
    verdicts = [check.verdict for check in node.view.checks(node.clock.monotonic_ms())]
    return Glance(connected, peers, verdicts, total(NETWORK_UP) == 1, total(CONFIG_GOOD) == 1)


async def _greet(node: Node, settings: Settings, home: Home, rotation: rotations.Rotation) -> None:
    await node.ready.wait()
    # What is loaded now stays. Left to itself, the collector looks through all of it again and again, 100 ms at a time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    try:
        _tell(node, settings, home, rotation.keys)
    except BrokenPipeError:  # whoever read our output is gone; the node is not
        leave_unread()


def _tell(node: Node, settings: Settings, home: Home, swarm_keys: SwarmKeys) -> None:
    click.echo(f"demesh {__version__}: node {settings.name} ({peer_id(node.key)}) in mesh {node.mesh}")
    click.echo(f"  home       {home.path} (swarm key {swarm_keys.newest.fingerprint})")
    click.echo(f"  swarm      {', '.join(node.listening()) or 'does not listen, only dials'}")
    click.echo(f"  API        {url(settings.api) if settings.api else 'on the Unix socket only'}")
    if settings.public_listen:
        click.echo(f"  everybody  {url(settings.public_listen)}, read only")
    click.echo(f"  checks     {len(settings.checks)}; ask with: demesh status")
    told = ", ".join((*map(public_target, settings.alertmanagers), *(sink.name for sink in settings.sinks)))
    click.echo(
        f"  tells      {told}"
        if told
        else "  tells      nobody: name an --alertmanager, or a [[notify]] in the configuration, to be told when something fails"
    )
    for sentence in settings.warnings:
        click.echo(f"  left out   {sentence}")


def url(address: tuple[str, int]) -> str:
    host, port = address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
