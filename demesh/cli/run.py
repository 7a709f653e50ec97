"""What `demesh node run` does: settings, keys, lock and store first, each problem a sentence; then the real edges; then run."""

import gc
import logging
import os
import random
import secrets
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import click
import trio
from nacl.signing import SigningKey

from demesh import __version__
from demesh.api.server import ApiServer
from demesh.clock import SystemClock
from demesh.config.command_line import CommandLine
from demesh.config.load import Settings
from demesh.config.source import ConfigSource
from demesh.config.watch import watch
from demesh.curl import CurlEngine, fetch
from demesh.diagnostics import Format, set_up_logging
from demesh.errors import DemeshError, UsageError
from demesh.home import Home, HomeLock, MarkerFile, Running, find_home, make_runtime_directory, read_mesh_id
from demesh.identity import (
    SwarmKey,
    new_swarm_key,
    peer_id,
    read_or_make_node_key,
    read_swarm_key,
    write_secret,
)
from demesh.interfaces import this_machines_addresses
from demesh.lateness import Lateness
from demesh.limits import ALERT_POST_SECONDS_MAX, SOCKET_PATH_BYTES_MAX
from demesh.log.storage import ThreadStorage
from demesh.log.store import Store
from demesh.mdns import LocalDiscovery, mark_of
from demesh.mesh.gossip import topic
from demesh.mesh.libp2p.host import Libp2pNetwork
from demesh.node import Edges, Node
from demesh.probes.registry import Probes, Tools
from demesh.probes.resolving import Resolver
from demesh.statistics import tell_statistics
from demesh.target import public_target
from demesh.tokens import TokenCheck
from demesh.view.history_storage import ThreadHistoryStorage
from demesh.view.history_store import HistoryStore, open_history

log = logging.getLogger(__name__)
_PORT = 8471
_GC_THRESHOLDS = (20_000, 20, 20)


@dataclass(frozen=True, slots=True)
class Overrides:
    """The options of `demesh node run`; what is empty leaves the configuration as it is."""

    data_dir: str | None = None
    config: str | None = None
    name: str | None = None
    listen: tuple[str, ...] = ()
    advertise: tuple[str, ...] = ()
    api: str | None = None
    peers: tuple[str, ...] = ()
    swarm_key_file: str | None = None
    alertmanagers: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    verbose: int = 0
    log_format: Format = "text"
    statistics: bool = False


def run_node(overrides: Overrides) -> NoReturn:
    """Run a node until SIGTERM or SIGINT, then exit. Raises DemeshError."""
    if sys.platform != "linux":
        raise UsageError("A node runs on Linux only; the other commands work here with --node URL.")
    clock = SystemClock()
    set_up_logging(overrides.verbose, overrides.log_format, clock.monotonic_ms, statistics=overrides.statistics)
    home = find_home(overrides.data_dir)
    source = _source(home, overrides)
    settings = source.load()
    home.make()
    lock = HomeLock(home)
    os.umask(0o077)
    api_socket = make_runtime_directory() / f"{home.runtime_id}.sock"
    if len(os.fsencode(api_socket)) > SOCKET_PATH_BYTES_MAX:
        raise UsageError(f"The path {api_socket} is too long for a socket. Set XDG_RUNTIME_DIR to a shorter directory.")
    tokens = TokenCheck(home.tokens, settings.api_token_file)
    api = ApiServer(settings.api, api_socket, tokens, settings.api_hosts)
    swarm_key = _swarm_key(home, settings)
    key = read_or_make_node_key(home.node_key)
    mesh_id = _mesh_id(home, swarm_key)
    lock.announce(Running(os.getpid(), str(api_socket), _url(settings.api) if settings.api else None))
    with Store(home.log_db, mesh_id=mesh_id) as store:
        heads = {state.log: state.head.seq for state in store.logs()}
        history = open_history(home.view_db, heads)
        try:
            trio.run(
                _run, settings, source, home, key, swarm_key, mesh_id, store, history, api, clock, overrides.statistics
            )
        except* DemeshError as group:
            raise _first(group) from group
    sys.exit(0)


async def _run(
    settings: Settings,
    source: ConfigSource,
    home: Home,
    key: SigningKey,
    swarm_key: SwarmKey,
    mesh_id: bytes,
    store: Store,
    history: HistoryStore,
    api: ApiServer,
    clock: SystemClock,
    statistics: bool,
) -> None:
    curl, lateness = CurlEngine(), Lateness(clock)
    marker = MarkerFile(make_runtime_directory(), home)
    listen = (settings.listen or _default_listen()) if settings.listens else ()

    async def post(url: str, document: bytes) -> tuple[int, int | None]:
        answer = await fetch(curl, url, timeout_ms=ALERT_POST_SECONDS_MAX * 1_000, json=document)
        return answer.status, answer.date_ms

    edges = Edges(
        clock=clock,
        store=store,
        storage=ThreadStorage(store),
        history=history,
        history_storage=ThreadHistoryStorage(history),
        network=Libp2pNetwork(bytes(key), swarm_key, topic(mesh_id), listen),
        probes=Probes(Tools(curl, clock.wall_ms, Resolver())),
        post=post,
        read_marker=marker.read,
        write_marker=marker.write,
        rng=random.Random(secrets.randbits(64)),
        load_settings=partial(trio.to_thread.run_sync, source.load),
        epoch_nonce=secrets.token_bytes(8),
        own_addresses=this_machines_addresses,
    )
    node = Node(settings, key, mesh_id, edges)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(curl.run)
        nursery.start_soon(_obey_signals, node, stop)
        await nursery.start(watch, source.files, partial(_reload, node))
        nursery.start_soon(lateness.run)
        if statistics:
            nursery.start_soon(tell_statistics, clock, lateness, node.store_bytes)
        nursery.start_soon(_greet, node, settings, home, swarm_key)
        local = [LocalDiscovery(mark_of(swarm_key, mesh_id)).run] if settings.mdns else []
        await node.run(stop, [api.run, *local])
        nursery.cancel_scope.cancel()


async def _obey_signals(node: Node, stop: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for received in signals:
            if received == signal.SIGHUP:
                await _reload(node)
            elif stop.is_set():
                os._exit(130)  # asked twice: the log is durable as it is, only the farewell is lost
            else:
                stop.set()


async def _reload(node: Node) -> None:
    """Take up the configuration anew, as a changed file or SIGHUP asks; a bad one changes nothing."""
    try:
        await node.reload()
    except UsageError as error:
        log.error("The configuration is bad; the last good one stays in force. %s", error)


async def _greet(node: Node, settings: Settings, home: Home, swarm_key: SwarmKey) -> None:
    await node.ready.wait()
    # What is loaded now stays. Left to itself, the collector looks through all of it again and again, 100 ms at a time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    with suppress(BrokenPipeError):  # whoever read our output may be gone; the node is not
        _tell(node, settings, home, swarm_key)


def _tell(node: Node, settings: Settings, home: Home, swarm_key: SwarmKey) -> None:
    click.echo(f"demesh {__version__}: node {settings.name} ({peer_id(node.key)}) in mesh {node.mesh}")
    click.echo(f"  home       {home.path} (swarm key {swarm_key.fingerprint})")
    click.echo(f"  swarm      {', '.join(node.listening()) or 'does not listen, only dials'}")
    click.echo(f"  API        {_url(settings.api) if settings.api else 'on the Unix socket only'}")
    click.echo(f"  checks     {len(settings.checks)}; ask with: demesh status")
    told = ", ".join(map(public_target, settings.alertmanagers))
    click.echo(
        f"  tells      {told}"
        if told
        else "  tells      nobody: name an --alertmanager to be told when something fails"
    )
    for sentence in settings.not_yet:
        click.echo(f"  not yet    {sentence}")


def _source(home: Home, overrides: Overrides) -> ConfigSource:
    """The configuration, with the command line's options over it."""
    return ConfigSource(
        Path(overrides.config) if overrides.config else home.config,
        CommandLine(
            name=overrides.name,
            listen=overrides.listen,
            advertise=overrides.advertise,
            api=overrides.api,
            peers=overrides.peers,
            swarm_key_file=overrides.swarm_key_file,
            alertmanagers=overrides.alertmanagers,
            targets=overrides.targets,
        ),
        needed=bool(overrides.config),
    )


def _swarm_key(home: Home, settings: Settings) -> SwarmKey:
    """The mesh's swarm key; made if this node founds a mesh. Raises UsageError."""
    path = settings.swarm_key_file or home.swarm_key
    if settings.swarm_key_file is None and not path.exists():
        if settings.peers:
            raise UsageError(
                f"There is no swarm key at {path}, and without the mesh's own nobody answers. Copy swarm.key there from a "
                "node of the mesh, or name it with --swarm-key-file."
            )
        if home.mesh_id.exists():
            raise UsageError(
                f"The swarm key {path} of this node is missing. Restore it, or name it with --swarm-key-file."
            )
        write_secret(path, new_swarm_key().text())
    return read_swarm_key(path)


def _mesh_id(home: Home, swarm_key: SwarmKey) -> bytes:
    """The mesh id in the data directory, put there from the swarm key on the first start. Raises UsageError."""
    if not home.mesh_id.exists():
        write_secret(home.mesh_id, swarm_key.first_mesh_id().hex() + "\n")
    mesh_id = read_mesh_id(home)
    if mesh_id != swarm_key.first_mesh_id():
        raise UsageError(
            f"The data directory {home.path} belongs to mesh {mesh_id.hex()[:8]}, but this swarm key (fingerprint "
            f"{swarm_key.fingerprint}) is of mesh {swarm_key.first_mesh_id().hex()[:8]}. Use that mesh's key, or give this "
            f"node another --data-dir. To leave the old mesh for good, move {home.mesh_id} and {home.log_db} away."
        )
    return mesh_id


def _default_listen() -> tuple[tuple[str, int], ...]:
    """Every address of this machine; one socket takes IPv4 too where there is IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return (("0.0.0.0", _PORT),)
    return (("0.0.0.0", _PORT), ("::", _PORT))


def _url(address: tuple[str, int]) -> str:
    host, port = address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _first(group: BaseExceptionGroup[DemeshError]) -> DemeshError:
    """One of the errors in a group, however deep."""
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an empty group")
