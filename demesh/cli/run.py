"""What `demesh node run` does: settings, keys, lock and store, each problem a sentence; then `demesh.cli.running`."""

import faulthandler
import logging
import os
import resource
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import trio

from demesh import limits
from demesh.api.public_server import PublicServer
from demesh.api.server import ApiServer
from demesh.cli.first_start import mesh_id_of, swarm_key_files
from demesh.cli.running import Start, run, url
from demesh.cli.signals import heed_no_more
from demesh.clock import SystemClock
from demesh.config.command_line import CommandLine
from demesh.config.source import ConfigSource
from demesh.config.watch import load_first
from demesh.diagnostics import Format, set_up_logging
from demesh.errors import DemeshError, UsageError, leaves
from demesh.home import HomeLock, Running, bytes_on_disk, find_home, make_runtime_directory
from demesh.identity import read_or_make_node_key, remove_leftovers
from demesh.log.store import Store
from demesh.systemd.notify import take_notifying
from demesh.systemd.telling import Telling
from demesh.tokens import TokenCheck
from demesh.view.history_store import open_history

log = logging.getLogger(__name__)


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
    remove_leftovers(home.path, clock.wall_ms())
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
    running = Running(os.getpid(), str(api_socket), url(settings.api) if settings.api else None, key_file)
    try:
        mesh_id = mesh_id_of(home, settings, key, swarm_keys, telling.starting)
        lock.announce(replace(running, starting=True))
        telling.starting("opening the store", bytes_on_disk(home.log_db) + bytes_on_disk(home.view_db))
        with Store(home.log_db, mesh_id=mesh_id) as store:
            heads = {state.log: state.head.seq for state in store.logs()}
            history = open_history(home.view_db, heads)
            start = Start(
                settings=settings,
                source=source,
                files=files,
                home=home,
                key=key,
                key_files=key_files,
                swarm_keys=swarm_keys,
                mesh_id=mesh_id,
                store=store,
                history=history,
                api=api,
                public=public,
                clock=clock,
                statistics=statistics,
                telling=telling,
                announce=partial(lock.announce, running),
            )
            trio.run(run, start)
    except BaseExceptionGroup as group:
        raise _why_it_ended(group) from group
    heed_no_more()
    sys.exit(0)


def _allow_descriptors() -> None:
    """Every target that hangs takes a descriptor or more, and the usual 1,024 are meant for programs that wait with select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, limits.DESCRIPTORS_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _why_it_ended(group: BaseExceptionGroup) -> BaseException:
    """What to raise of all that ended a node: a bug if there is one, for its traceback. What else there was is logged. A Ctrl-C
    in a moment in which nobody listened to signals is no bug."""
    if interrupt := next((each for each in leaves(group) if isinstance(each, KeyboardInterrupt)), None):
        return interrupt
    ours, bugs = group.split(DemeshError)
    errors = leaves(ours) if ours else []
    for each in errors if bugs else errors[1:]:
        log.error("%s", each)
    return bugs or errors[0]
