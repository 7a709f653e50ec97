"""A local network of its own: machines that are network namespaces, on two switches with a cable between them.

    machine 0 ─┐            ┌─ machine 1
    machine 2 ─┤ left ══ right ─ machine 3           pulling the cable parts the even machines from the odd ones

Pulled, the cable loses what is sent over it without a word, as a broken switch does: no machine sees its own link go down.
Everything is made with names of this process and removed by them, whatever happens. It needs root, and iproute2.
"""

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeVar

from tests.e2e.harness import cannot_run, require

_T = TypeVar("_T")
_CLONE_NEWNET = 0x40000000
_serial = count()

_SWITCHES = """\
link add left type bridge
link add right type bridge
link add cable type veth peer name far
link set cable master left
link set far master right
link set left up
link set right up
link set cable up
link set far up
"""
_PLUG = """\
link add port{number} type veth peer name eth0 netns {namespace}
link set port{number} master {switch}
link set port{number} up
"""
_MACHINE = """\
link set lo up
link set eth0 up
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """A network namespace with one network card. `address` is an IP address."""

    namespace: str
    address: str

    @property
    def inside(self) -> tuple[str, ...]:
        """What a command is run by to run there."""
        return ("ip", "netns", "exec", self.namespace)

    def call(self, work: Callable[[], _T]) -> _T:
        """Call `work` in a thread that is there. Sockets that it makes stay there, wherever they are used later."""

        def enter() -> None:
            with Path("/run/netns", self.namespace).open("rb") as file:
                if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

        with ThreadPoolExecutor(1, initializer=enter) as thread:
            return thread.submit(work).result()

    def connect(self, address: tuple[str, int], source: str | None = None) -> socket.socket:
        return self.call(lambda: socket.create_connection(address, 5, (source, 0) if source else None))

    def add_address(self, address: str) -> None:
        _ip(self.namespace, f"addr add {address}/16 dev eth0\n")


@dataclass(slots=True)
class LocalNetwork:
    """`prefix` is what the addresses begin with, `10.79.0.` or `fd79::`."""

    name: str
    prefix: str
    machines: list[Machine] = field(default_factory=list[Machine])

    def add(self) -> Machine:
        """One more machine."""
        number = len(self.machines)
        machine = Machine(f"{self.name}-{number}", f"{self.prefix}{number + 1}")
        _run("ip", "netns", "add", machine.namespace)
        self.machines.append(machine)
        switch = "right" if number % 2 else "left"
        _ip(self._hub, _PLUG.format(number=number, namespace=machine.namespace, switch=switch))
        address = f"{machine.address}/64 dev eth0 nodad" if ":" in self.prefix else f"{machine.address}/16 dev eth0"
        _ip(machine.namespace, _MACHINE + f"addr add {address}\n")
        return machine

    def pull_cable(self) -> None:
        _ip(self._hub, "link set cable down\n")

    def plug_cable(self) -> None:
        _ip(self._hub, "link set cable up\n")

    @property
    def _hub(self) -> str:
        return f"{self.name}-hub"

    def _make(self) -> None:
        _run("ip", "netns", "add", self._hub)
        _ip(self._hub, _SWITCHES)

    def _remove(self) -> None:
        for namespace in (*(machine.namespace for machine in self.machines), self._hub):
            subprocess.run(["ip", "netns", "del", namespace], check=False, stderr=subprocess.DEVNULL)


@contextmanager
def local_network(prefix: str) -> Generator[LocalNetwork]:
    """A network without machines yet, until the end of the block. What runs there has ended by then."""
    require("ip")
    if os.geteuid() != 0:
        cannot_run("network namespaces need root")
    network = LocalNetwork(f"demesh-{os.getpid()}-{next(_serial)}", prefix)
    try:
        network._make()
        yield network
    finally:
        network._remove()


def _ip(namespace: str, lines: str) -> None:
    _run("ip", "-n", namespace, "-batch", "-", said=lines)


def _run(*command: str, said: str = "") -> None:
    done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
