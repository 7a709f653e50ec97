"""What `demesh node run` does: settings, keys, lock and store first, each problem a sentence; then the real edges; then run."""

import faulthandler
import gc
import logging
import os
import random
import resource
import secrets
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import click
import trio
from nacl.signing import SigningKey

from demesh import __version__, limits
from demesh.alerts.delivery import curl_fetch, delivery
from demesh.alerts.post import curl_post
from demesh.api.public_server import PublicServer
from demesh.api.server import ApiServer
from demesh.cli.first_start import listening, mesh_id_of, swarm_key_files
from demesh.cli.signals import obey
from demesh.clock import SystemClock
from demesh.config.command_line import CommandLine
from demesh.config.load import Settings
from demesh.config.source import ConfigSource
from demesh.config.watch import Fingerprint, load_first, load_whole, watch
from demesh.curl import CurlEngine
from demesh.diagnostics import Format, set_up_logging
from demesh.edges import Edges
from demesh.errors import DemeshError, UsageError, leaves
from demesh.home import (
    Home,
    HomeLock,
    MarkerFile,
    Running,
    bytes_on_disk,
    find_home,
    machine_id,
    make_runtime_directory,
)
from demesh.identity import peer_id, read_or_make_node_key
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
from demesh.systemd.notify import take_notifying
from demesh.systemd.status import Glance
from demesh.systemd.telling import Telling
from demesh.target import public_target
from demesh.tokens import TokenCheck
from demesh.view.history_storage import ThreadHistoryStorage
from demesh.view.history_store import HistoryStore, open_history

log = logging.getLogger(__name__)
_GC_THRESHOLDS = (20_000, 20, 20)


def run_node(
    command_line: CommandLine,
    *,
    data_dir: str | None = None,
    config: str | None = None,
    verbose: int = 0,
    log_format: Format = "text",
    statistics: bool = False,
) -> NoReturn:
    """Run a node until SIGTERM or SIGINT, then exit. Raises DemeshError."""
    if sys.platform != "linux":
        raise UsageError("A node runs on Linux only; the other commands work here with --node URL.")
    clock = SystemClock()
    notifying = take_notifying(os.environ, os.getpid())
    telling = Telling(notifying, clock)
    if notifying.watchdog_us is not None:
        faulthandler.enable(2)  # it is ended by SIGABRT when it hangs; then the journal says where
    set_up_logging(verbose, log_format, clock.monotonic_ms, statistics=statistics)
    home = find_home(data_dir)
    source = ConfigSource(Path(config) if config else home.config, command_line, needed=bool(config))
    settings, files = load_first(source)
    home.make()
    lock = HomeLock(home)
    os.umask(0o077)
    _allow_descriptors()
    api_socket = make_runtime_directory() / f"{home.runtime_id}.sock"
    if len(os.fsencode(api_socket)) > limits.SOCKET_PATH_BYTES_MAX:
        raise UsageError(f"The path {api_socket} is too long for a socket. Set XDG_RUNTIME_DIR to a shorter directory.")
    tokens = TokenCheck(home.tokens, settings.api_token_file, settings.api_read_token_file)
    api = ApiServer(settings.api, api_socket, tokens, settings.api_hosts)
    public = PublicServer(*settings.public_listen) if settings.public_listen else None
    key_files = swarm_key_files(home, settings)
    swarm_keys = key_files.open()
    key = read_or_make_node_key(home.node_key)
    key_file = str(key_files.path.absolute()) if key_files.elsewhere else None
    running = Running(os.getpid(), str(api_socket), _url(settings.api) if settings.api else None, key_file)
    try:
        mesh_id = mesh_id_of(home, settings, key, swarm_keys, telling.starting)
        lock.announce(replace(running, starting=True))
        telling.starting("opening the store", bytes_on_disk(home.log_db) + bytes_on_disk(home.view_db))
        with Store(home.log_db, mesh_id=mesh_id) as store:
            heads = {state.log: state.head.seq for state in store.logs()}
            history = open_history(home.view_db, heads)
            trio.run(
                _run,
                settings,
                source,
                files,
                home,
                key,
                key_files,
                swarm_keys,
                mesh_id,
                store,
                history,
                api,
                public,
                clock,
                statistics,
                telling,
                partial(lock.announce, running),
            )
    except BaseExceptionGroup as group:
        raise _why_it_ended(group) from group
    sys.exit(0)


def _allow_descriptors() -> None:
    """Every target that hangs takes a descriptor or more, and the usual 1,024 are meant for programs that wait with select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, limits.DESCRIPTORS_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _run(
    settings: Settings,
    source: ConfigSource,
    files: Fingerprint,
    home: Home,
    key: SigningKey,
    key_files: SwarmKeyFiles,
    swarm_keys: SwarmKeys,
    mesh_id: bytes,
    store: Store,
    history: HistoryStore,
    api: ApiServer,
    public: PublicServer | None,
    clock: SystemClock,
    statistics: bool,
    telling: Telling,
    announce: Callable[[], None],
) -> None:
    curl, lateness, relays = CurlEngine(), Lateness(clock), Relays()
    tools = Tools(curl, clock.wall_ms, Resolver(), relays)
    marker = MarkerFile(make_runtime_directory(), home)
    pulse = Pulse()
    waiting = pulse.disk(clock.monotonic_ms)
    network = Libp2pNetwork(bytes(key), swarm_keys.accepted, topic(mesh_id), listening(settings), clock=clock)
    edges = Edges(
        clock=clock,
        store=store,
        storage=ThreadStorage(store, waiting),
        history=history,
        history_storage=ThreadHistoryStorage(history, waiting),
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
        load_settings=partial(_load, source, trio.CapacityLimiter(1)),
        epoch_nonce=partial(secrets.token_bytes, 8),
        machine=machine_id(),
        own_addresses=this_machines_addresses,
        late_ms=lateness.p99_ms,
        starting=telling.starting,
        pulse=pulse,
    )
    node = Node(settings, key, mesh_id, edges)
    rotation = rotations.Rotation(ThreadKeyStorage(key_files), swarm_keys, network, node.key, partial(_trusted, node))
    network.serve(mesh_ids.PROTOCOL, mesh_ids.teller(mesh_id))
    network.serve(rotations.PROTOCOL, rotation.answer)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(curl.run)
        nursery.start_soon(lateness.run)
        nursery.start_soon(telling.run, node, partial(_glance, node), stop)
        ask_reload, reloads_asked = trio.open_memory_channel[None](1)
        nursery.start_soon(obey, ask_reload, stop)
        nursery.start_soon(_reload_when_asked, reloads_asked, node, telling)
        nursery.start_soon(watch, source.files, partial(_reload, node, telling), files)
        if statistics:
            nursery.start_soon(tell_statistics, clock, lateness, node.store_bytes)
        nursery.start_soon(_greet, node, settings, home, rotation)
        nursery.start_soon(rotation.run)
        services: list[Callable[[Node], Awaitable[None]]] = [
            partial(api.run, rotation=rotation),
            partial(_announce, announce),
        ]
        if public is not None:
            services.append(public.run)
        if settings.mdns:
            services.append(LocalDiscovery(lambda: [mark_of(each, mesh_id) for each in rotation.keys.accepted]).run)
        await node.run(stop, services)
        nursery.cancel_scope.cancel()


async def _announce(
    announce: Callable[[], None], _node: Node, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Tell other commands that the node answers from now on."""
    announce()
    task_status.started()


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
    with suppress(BrokenPipeError):  # whoever read our output may be gone; the node is not
        _tell(node, settings, home, rotation.keys)


def _tell(node: Node, settings: Settings, home: Home, swarm_keys: SwarmKeys) -> None:
    click.echo(f"demesh {__version__}: node {settings.name} ({peer_id(node.key)}) in mesh {node.mesh}")
    click.echo(f"  home       {home.path} (swarm key {swarm_keys.newest.fingerprint})")
    click.echo(f"  swarm      {', '.join(node.listening()) or 'does not listen, only dials'}")
    click.echo(f"  API        {_url(settings.api) if settings.api else 'on the Unix socket only'}")
    if settings.public_listen:
        click.echo(f"  everybody  {_url(settings.public_listen)}, read only")
    click.echo(f"  checks     {len(settings.checks)}; ask with: demesh status")
    told = ", ".join((*map(public_target, settings.alertmanagers), *(sink.name for sink in settings.sinks)))
    click.echo(
        f"  tells      {told}"
        if told
        else "  tells      nobody: name an --alertmanager, or a [[notify]] in the configuration, to be told when something fails"
    )
    for sentence in settings.warnings:
        click.echo(f"  left out   {sentence}")


def _why_it_ended(group: BaseExceptionGroup) -> BaseException:
    """What to raise of all that ended a node: a bug if there is one, for its traceback. What else there was is logged."""
    ours, bugs = group.split(DemeshError)
    errors = leaves(ours) if ours else []
    for each in errors if bugs else errors[1:]:
        log.error("%s", each)
    return bugs or errors[0]


def _url(address: tuple[str, int]) -> str:
    host, port = address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
