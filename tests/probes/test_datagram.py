"""Datagram sockets: refusals are heard whenever they come, and times hold whatever the wall clock does."""

import socket

import pytest
import trio

from demesh.probes import datagram
from demesh.probes.datagram import DatagramSocket, Refused, socket_address
from tests.ports import free_port

HOUR_NS = 3_600_000_000_000


@pytest.mark.trio
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_refusal_of_one_datagram_does_not_keep_the_next_from_being_sent(host: str):
    family, address = socket_address(host, free_port())
    with socket.socket(family, socket.SOCK_DGRAM) as plain:
        connected = DatagramSocket(plain, address)
        for data in (b"first", b"second", b"third"):
            connected.send(data)
        for data in (b"first", b"second", b"third"):
            with trio.fail_after(10), pytest.raises(Refused, match=f"^port unreachable, says {host}$") as refused:
                await connected.receive(100)
            assert refused.value.quoted == data


@pytest.mark.trio
@pytest.mark.parametrize("set_by_ns", [0, HOUR_NS, -HOUR_NS])
async def test_a_wall_clock_that_is_set_does_not_move_an_arrival(set_by_ns: int, monkeypatch: pytest.MonkeyPatch):
    true_ns = datagram.packet_ns
    monkeypatch.setattr(datagram, "packet_ns", lambda: true_ns() + set_by_ns)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
    ):
        far.bind(("127.0.0.1", 0))
        connected = DatagramSocket(near, far.getsockname())
        sent_s = connected.send(b"x")
        far.sendto(b"y", far.recvfrom(10)[1])
        with trio.fail_after(10):
            heard = await connected.receive(10)
        assert heard.data == b"y"
        assert sent_s <= heard.at_s <= trio.current_time()
