"""The nodes of the demo: real `demesh node run` processes with homes of their own, on loopback.

Guarantees: nothing outside the demo's directories is read or written, whatever the environment names; no node outlives the
demo (`demesh.demo.tether`); a signal from the terminal reaches the demo alone, which ends them in good order. (It also reaches
a node that is being started in that very moment, before it has a session of its own: that node ends at once.)
"""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from time import sleep

from demesh import limits
from demesh.clock import Clock
from demesh.demo.serving import free_port
from demesh.demo.targets import Target
from demesh.home import Home
from demesh.identity import SwarmKey, write_secret

_CONFIG = """\
# A node of `demesh demo`. Times are short, so that there is something to see; docs/configuration.md has every key.
[node]
name = "{name}"
flush_interval = "1s"            # at home: 10s

[mesh]
listen = "127.0.0.1:{port}"
peers = [{peers}]
allow_requests = "any"           # so that `demesh check run` works for what is on this machine

[api]
listen = "none"                  # the Unix socket only

[alerts]
alertmanager = "{alertmanager}"  # the phone

[defaults]
interval = "2s"
timeout = "2s"
retry_interval = "1s"
"""
_CHECK = """
[[check]]
name = "{name}"
target = "{target}"
"""
_LOGIN = """\
user = "{user}"                     # so that the server can tell who asks
password = "demo"
"""
_NOT_OURS = ("DEMESH_", "XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY")


class DemoNode:
    """A node called `name` in `directory`, which is at rest."""

    def __init__(self, directory: Path, runtime: Path, name: str, port: int) -> None:
        self.name = name
        self.home = Home(directory / name)
        self.port = port
        self.log = directory / f"{name}.log"
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(_NOT_OURS)},
            "XDG_RUNTIME_DIR": str(runtime),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._meant_to_run = False

    def furnish(self, key: SwarmKey, peers: Sequence[int], alertmanager: str, targets: Sequence[Target]) -> None:
        """Make its home, as `demesh join` would, with the checks of all."""
        self.home.make()
        write_secret(self.home.swarm_key, key.text())
        write_secret(self.home.mesh_id, key.first_mesh_id().hex() + "\n")
        listed = ", ".join(f'"127.0.0.1:{port}"' for port in peers)
        checks = "".join(_check(each, self.name) for each in targets)
        config = _CONFIG.format(name=self.name, port=self.port, peers=listed, alertmanager=alertmanager)
        write_secret(self.home.config, config + checks)

    def start(self) -> None:
        """Begin to run, if it does not; one that is about to stop is waited for."""
        if self.running:
            if self._meant_to_run:
                return
            self._end()
        command = [sys.executable, "-m", "demesh.demo.tether", str(os.getpid())]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "node", "run", "--data-dir", str(self.home.path)],
                cwd=self.home.path,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._meant_to_run = True

    @property
    def gave_up(self) -> bool:
        """Whether it has ended by itself."""
        return self._meant_to_run and not self.running

    @property
    def ending(self) -> str:
        """How it ended: with which exit code, or by which signal."""
        code = self._process.poll() if self._process else None
        return f"by signal {-code}" if code is not None and code < 0 else f"with {code}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def kill(self) -> None:
        """End it as a power cut would."""
        self._meant_to_run = False
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _end(self) -> None:
        """Wait until it has stopped, as it was asked to; for no longer than that may take."""
        assert self._process is not None
        try:
            self._process.wait(limits.DEMO_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()

    def ask_to_stop(self) -> None:
        self._meant_to_run = False
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGTERM)

    def last_words(self) -> str:
        """The end of its diagnostic log."""
        with suppress(OSError):
            return self.log.read_bytes()[-limits.DEMO_LOG_TAIL_BYTES :].decode("utf-8", "replace").strip()
        return ""


def make_nodes(
    directory: Path,
    runtime: Path,
    names: Sequence[str],
    key: SwarmKey,
    alertmanager: str,
    targets: Sequence[Target],
    rng: random.Random,
) -> dict[str, DemoNode]:
    """Nodes at rest; each has the ones before it as peers."""
    nodes: dict[str, DemoNode] = {}
    for name in names:
        node = DemoNode(directory, runtime, name, free_port(rng))
        node.furnish(key, [each.port for each in nodes.values()], alertmanager, targets)
        nodes[name] = node
    return nodes


def end(nodes: Iterable[DemoNode], clock: Clock) -> None:
    """End all of them: in good order, and those that have not gone by then at once."""
    nodes = list(nodes)
    until_ms = clock.monotonic_ms() + limits.DEMO_STOP_SECONDS_MAX * 1_000
    for node in nodes:
        node.ask_to_stop()
    while any(node.running for node in nodes) and clock.monotonic_ms() < until_ms:
        sleep(0.05)
    for node in nodes:
        node.kill()


def _check(target: Target, user: str) -> str:
    login = _LOGIN.format(user=user) if target.knows_askers else ""
    return _CHECK.format(name=target.name, target=target.url) + login
