"""Who has no swarm key, or another one, takes nothing from a node: not its place in the mesh, not its descriptors, no entry."""

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from random import Random

import pytest

from demesh.errors import DialError
from demesh.identity import new_swarm_key
from tests.e2e.harness import NodeProcess, eventually
from tests.e2e.local_network import Machine
from tests.e2e.swarm import PORT, SECONDS, SwarmNode, heads, know_each_other, own_head, presences, settled
from tests.e2e.ten.conftest import MESH, Ten
from tests.e2e.ten.insider import Guest, visit
from tests.interop.swarm import assert_verifies, connections, refused

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
_GARBAGE = (
    b"\x2a" * 24,
    Random(1).randbytes(4_096),
    b"\x13/multistream/1.0.0\n\x07/noise\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    bytes.fromhex("16030100050100000100") + bytes(64),
    Random(2).randbytes(500_000),
)
_HALF_OPEN, _HANDSHAKE = "network/half_open", "network/handshake"
_ADDRESSES = 10
_CONNECTIONS = 400


@pytest.fixture(scope="module")
def stranger(ten: Ten) -> Machine:
    """A machine with many addresses, as a flood has that means it."""
    machine = ten.network.add()
    for number in range(_ADDRESSES):
        machine.add_address(f"10.79.9.{number + 1}")
    return machine


@contextmanager
def _unharmed(ten: Ten, victim: SwarmNode, *counted: tuple[set[str], int]) -> Generator[None]:
    """What is done to the victim inside the block costs it nothing but counts: so many, at least, for one of these reasons."""
    logs, descriptors, before = settled(ten.nodes), _own_descriptors(victim), refused(victim)
    yield

    def grown() -> list[float]:
        now = refused(victim)
        return [sum(now.get(each, 0) - before.get(each, 0) for each in reasons) for reasons, _ in counted]

    def enough(found: list[float]) -> bool:
        return all(count >= least for count, (_, least) in zip(found, counted, strict=True))

    eventually(grown, enough, SECONDS, f"{counted} are counted")
    eventually(lambda: _own_descriptors(victim), lambda now: now <= descriptors, SECONDS, f"{descriptors} are open")
    know_each_other(ten.nodes)
    assert settled(ten.nodes) == logs, "nobody else has a log"
    ten.ledger.look(ten.nodes)
    ten.ledger.wait_held(ten.nodes)


def _own_descriptors(node: NodeProcess) -> int:
    """Without those of members, who may come to be connected once more."""
    return len(os.listdir(f"/proc/{node.pid}/fd")) - connections(node)


def _assert_delivers(ten: Ten, victim: SwarmNode) -> None:
    """Others go on hearing of the victim, and it of them."""
    other = ten.nodes[4]
    _hears(victim, other)
    _hears(other, victim)
    assert presences(victim) == {node.name: "alive" for node in ten.nodes}


def _hears(node: SwarmNode, of: SwarmNode) -> None:
    log, before, _ = own_head(of)
    eventually(lambda: heads(node)[log][0], lambda seq: seq >= before + 2, SECONDS, f"news of {of.name} at {node.name}")


def test_a_flood_of_connections_that_never_speak_costs_a_node_nothing(ten: Ten, stranger: Machine) -> None:
    victim = ten.nodes[1]
    all_of_them, at_the_door = ({_HALF_OPEN, _HANDSHAKE}, _CONNECTIONS), ({_HALF_OPEN}, _CONNECTIONS // 2)
    with _unharmed(ten, victim, all_of_them, at_the_door):
        flood = stranger.call(lambda: [_connected(victim, number) for number in range(_CONNECTIONS)])
        try:
            _assert_delivers(ten, victim)
        finally:
            for each in flood:
                each.close()


def _connected(victim: SwarmNode, number: int) -> socket.socket:
    source = f"10.79.9.{number % _ADDRESSES + 1}"
    return socket.create_connection((victim.machine.address, PORT), 10, (source, 0))


def test_garbage_costs_a_node_nothing(ten: Ten, stranger: Machine) -> None:
    victim = ten.nodes[1]
    with _unharmed(ten, victim, ({_HANDSHAKE}, len(_GARBAGE))):
        talks = stranger.call(lambda: [_connected(victim, number) for number in range(len(_GARBAGE))])
        try:
            for talk, said in zip(talks, _GARBAGE, strict=True):
                talk.settimeout(2)
                with suppress(OSError):  # it may be cut short
                    talk.sendall(said)
            _assert_delivers(ten, victim)
        finally:
            for talk in talks:
                talk.close()


def test_another_swarm_key_is_a_strangers(ten: Ten, stranger: Machine) -> None:
    victim = ten.nodes[1]

    async def act(guest: Guest) -> list[bytes]:
        for _ in range(3):
            with pytest.raises(DialError, match="not with our swarm key"):
                await guest.network.dial(victim.machine.address, PORT)
        return guest.heard

    with _unharmed(ten, victim, ({_HANDSHAKE}, 3)):
        heard = visit(stranger, new_swarm_key(), bytes.fromhex(MESH), b"stranger".ljust(32, b"\0"), act)
        assert heard == []
        _assert_delivers(ten, victim)
    assert_verifies(victim)
