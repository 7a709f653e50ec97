import random
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

from demesh.address import PeerAddress, parse_peer
from demesh.errors import DialError
from demesh.mesh.dialer import keep_dialling
from demesh.mesh.memory import MemoryNetwork, MemorySwarm
from tests.log.builders import public_key_of

_OWN, _A, _B = (public_key_of(name) for name in ("own", "ann", "bob"))


class _Network(MemoryNetwork):
    """Notes when and whom it dials; `listening` answers, by address."""

    def __init__(self) -> None:
        super().__init__(MemorySwarm(), _OWN)
        self.listening: dict[str, bytes] = {}
        self.dialled: list[tuple[float, str]] = []
        self.expected: list[bytes | None] = []
        self.keeps_connections = True

    async def dial(self, host: str, port: int, expected: bytes | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        self.dialled.append((trio.current_time(), f"{host}:{port}"))
        self.expected.append(expected)
        assert len(self.dialled) < 1_000, "it dials without end"
        found = self.listening.get(host)
        if found is None:
            raise DialError(f"{host}:{port} does not answer.")
        if found == _OWN:
            raise DialError(f"{host}:{port} is this node itself.", ourselves=True)
        if self.keeps_connections:
            self.meet(found)
        return found

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.dialled]


class _Names(trio.abc.HostnameResolver):
    """Names in place of the DNS."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        self.names = names

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        await trio.lowlevel.checkpoint()
        if host.decode() not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in self.names[host.decode()]]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


class _Chance(random.Random):
    """Spreads nothing."""

    def uniform(self, a: float, b: float) -> float:
        return 1.0


@asynccontextmanager
async def _dialling(network: _Network, *peers: PeerAddress, rng: random.Random | None = None) -> AsyncGenerator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_dialling, peers, network, _OWN, rng or _Chance())
        yield
        nursery.cancel_scope.cancel()


@pytest.fixture
def network() -> _Network:
    return _Network()


@pytest.mark.trio
async def test_delay_doubles_from_a_second_to_a_minute(
    network: _Network, autojump_clock: trio.testing.MockClock
) -> None:
    async with _dialling(network, parse_peer("192.0.2.1:8471")):
        await trio.sleep(250)
    assert network.times == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    assert network.dialled[0][1] == "192.0.2.1:8471"


@pytest.mark.trio
async def test_delay_is_spread_by_chance(network: _Network, autojump_clock: trio.testing.MockClock) -> None:
    peers = [parse_peer(f"192.0.2.{i}:8471") for i in range(20)]
    async with _dialling(network, *peers, rng=random.Random(1)):
        await trio.sleep(2)
    second = {at for at in network.times if at}
    assert len(second) >= 20
    assert 0.7 <= min(second) < 0.9
    assert 1.1 < max(at for at in second if at < 1.4) <= 1.3


@pytest.mark.trio
async def test_connected_peer_is_left_alone_and_a_lost_one_dialled_again(
    network: _Network, autojump_clock: trio.testing.MockClock
) -> None:
    network.listening["192.0.2.1"] = _A
    async with _dialling(network, parse_peer("192.0.2.1:8471")):
        await trio.sleep(100)
        assert network.times == [0]
        network.part(_A)
        await trio.sleep(3)
        assert len(network.dialled) == 2
        assert network.peers() == {_A}


@pytest.mark.trio
async def test_peer_that_connects_by_itself_is_not_dialled_again(
    network: _Network, autojump_clock: trio.testing.MockClock
) -> None:
    network.listening["192.0.2.1"] = _A
    async with _dialling(network, parse_peer("192.0.2.1:8471")):
        await trio.sleep(10)
        network.part(_A)
        network.meet(_A)
        await trio.sleep(100)
    assert network.times == [0]


@pytest.mark.trio
async def test_delay_begins_anew_after_a_success(network: _Network, autojump_clock: trio.testing.MockClock) -> None:
    async with _dialling(network, parse_peer("192.0.2.1:8471")):
        await trio.sleep(64)
        network.listening["192.0.2.1"] = _A
        await trio.sleep(70)
        assert network.peers() == {_A}
        del network.listening["192.0.2.1"]
        network.part(_A)
        network.dialled.clear()
        await trio.sleep(10)
    gaps = [later - at for at, later in pairwise(network.times)]
    assert gaps[:2] == [1, 2]


@pytest.mark.trio
async def test_own_address_is_asked_once_a_minute_whose_it_is_now(
    network: _Network, autojump_clock: trio.testing.MockClock
) -> None:
    network.listening["192.0.2.9"] = _OWN
    async with _dialling(network, parse_peer("192.0.2.9:8471")):
        await trio.sleep(299)
        assert [round(at) for at in network.times] == [0, 60, 120, 180, 240]
        network.listening["192.0.2.9"] = _A  # a floating address, which another machine has taken over
        await trio.sleep(61)
        assert network.peers() == {_A}


@pytest.mark.trio
@pytest.mark.parametrize("name", ["mesh.example.net:8471", "dns:mesh.example.net:8471"])
async def test_who_finds_itself_first_behind_a_name_looks_further(
    name: str, network: _Network, autojump_clock: trio.testing.MockClock
) -> None:
    trio.socket.set_custom_hostname_resolver(_Names({"mesh.example.net": ["10.0.1.2", "10.0.1.3"]}))
    network.listening |= {"10.0.1.2": _OWN, "10.0.1.3": _A}
    async with _dialling(network, parse_peer(name)):
        await trio.sleep(1)
        assert network.peers() == {_A}


@pytest.mark.trio
async def test_peer_that_hangs_up_at_once_is_not_dialled_without_a_pause(
    network: _Network, autojump_clock: trio.testing.MockClock
) -> None:
    network.listening["192.0.2.1"] = _A
    network.keeps_connections = False
    async with _dialling(network, parse_peer("192.0.2.1:8471")):
        await trio.sleep(60)
    assert 2 < len(network.dialled) <= 60


@pytest.mark.trio
async def test_one_dead_peer_does_not_hold_up_another(
    network: _Network, autojump_clock: trio.testing.MockClock
) -> None:
    network.listening["192.0.2.2"] = _B
    async with _dialling(network, parse_peer("192.0.2.1:8471"), parse_peer("192.0.2.2:8471")):
        await trio.testing.wait_all_tasks_blocked()
        assert network.peers() == {_B}


@pytest.mark.trio
async def test_name_means_one_of_its_addresses_unless_every_one_is_wanted(
    network: _Network, autojump_clock: trio.testing.MockClock
) -> None:
    trio.socket.set_custom_hostname_resolver(_Names({"mesh.example": ["192.0.2.1", "192.0.2.2", "192.0.2.3"]}))
    network.listening |= {"192.0.2.2": _A, "192.0.2.3": _B}
    async with _dialling(network, parse_peer("mesh.example:8471")):
        await trio.testing.wait_all_tasks_blocked()
        assert network.peers() == {_A}
    async with _dialling(network, parse_peer("dns:mesh.example:8471")):
        await trio.testing.wait_all_tasks_blocked()
        assert network.peers() == {_A, _B}


@pytest.mark.trio
async def test_address_that_answers_later_is_found_while_the_others_are_left_alone(
    network: _Network, autojump_clock: trio.testing.MockClock
) -> None:
    names = _Names({"mesh.example": ["192.0.2.1", "192.0.2.2"]})
    trio.socket.set_custom_hostname_resolver(names)
    network.listening["192.0.2.1"] = _A
    async with _dialling(network, parse_peer("dns:mesh.example:8471")):
        await trio.sleep(10)
        assert network.peers() == {_A}
        names.names["mesh.example"].append("192.0.2.3")
        network.listening["192.0.2.3"] = _B
        await trio.sleep(70)
        assert network.peers() == {_A, _B}
        assert [address for _, address in network.dialled].count("192.0.2.1:8471") == 1


@pytest.mark.trio
@pytest.mark.parametrize("peer", ["dns:tasks.mesh:8471", "tasks.mesh:8471"])
async def test_name_that_leads_here_is_no_problem_and_looked_up_again(
    peer: str, network: _Network, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    names = _Names({"tasks.mesh": ["10.0.1.2"]})
    trio.socket.set_custom_hostname_resolver(names)
    network.listening |= {"10.0.1.2": _OWN, "10.0.1.3": _A}
    async with _dialling(network, parse_peer(peer)):
        await trio.sleep(200)
        assert (_said(caplog), network.peers()) == ([], set())
        assert len(network.dialled) <= 4
        names.names["tasks.mesh"].insert(0, "10.0.1.3")
        await trio.sleep(70)
        assert network.peers() == {_A}
        # It is gone, and comes back at another address.
        del network.listening["10.0.1.3"]
        network.part(_A)
        names.names["tasks.mesh"] = ["10.0.1.2"]
        await trio.sleep(200)
        names.names["tasks.mesh"] = ["10.0.1.7", "10.0.1.2"]
        network.listening["10.0.1.7"] = _A
        await trio.sleep(70)
        assert network.peers() == {_A}


@pytest.mark.trio
async def test_peer_id_in_an_address_is_what_must_answer(
    network: _Network, autojump_clock: trio.testing.MockClock
) -> None:
    expected = PeerAddress("ann", "192.0.2.1", 8471, expected=_A)
    async with _dialling(network, expected):
        await trio.testing.wait_all_tasks_blocked()
    assert network.expected == [_A]


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "demesh.mesh.dialer"]


@pytest.mark.trio
async def test_transitions_are_told_and_attempts_are_not(
    network: _Network, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="demesh")
    async with _dialling(network, parse_peer("192.0.2.1:8471")):
        await trio.sleep(60)
        assert _said(caplog) == ["Cannot connect to 192.0.2.1:8471: 192.0.2.1:8471 does not answer."]
        network.listening["192.0.2.1"] = _A
        await trio.sleep(120)
        assert len(_said(caplog)) == 2
        assert "Connected to 12D3KooW" in _said(caplog)[1]


@pytest.mark.trio
async def test_name_that_cannot_be_found_is_told_and_tried_again(
    network: _Network, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    names = _Names({})
    trio.socket.set_custom_hostname_resolver(names)
    network.listening["192.0.2.1"] = _A
    async with _dialling(network, parse_peer("mesh.example:8471")):
        await trio.sleep(20)
        assert _said(caplog) == ["The peer mesh.example:8471 cannot be found: Name or service not known."]
        names.names["mesh.example"] = ["192.0.2.1"]
        await trio.sleep(60)
        assert network.peers() == {_A}


@pytest.mark.trio
async def test_a_peer_that_is_no_name_ends_nothing(network: _Network, autojump_clock: trio.testing.MockClock) -> None:
    network.listening["192.0.2.1"] = _A
    async with _dialling(network, PeerAddress("foo..bar:1", "foo..bar", 1), parse_peer("192.0.2.1:8471")):
        await trio.sleep(10)
        assert network.peers() == {_A}
