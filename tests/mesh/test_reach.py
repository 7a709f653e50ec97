"""Whom a node dials of its own accord: few enough, by chance, each for its key, and not again and again."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
import trio
import trio.testing

from demesh import limits
from demesh.errors import DialError
from demesh.mesh.memory import MemoryNetwork, MemorySwarm
from demesh.mesh.reach import Reach, dialled_address, keep_reaching
from tests.log.builders import public_key_of

_OWN = public_key_of("own")
_NONE: frozenset[bytes] = frozenset()


def _keys(count: int) -> list[bytes]:
    return [public_key_of(f"n{number}") for number in range(count)]


def _at(number: int) -> str:
    return f"/ip4/192.0.2.{number + 1}/tcp/8471"


class _Network(MemoryNetwork):
    """Whoever is in `there` answers at its address."""

    def __init__(self) -> None:
        super().__init__(MemorySwarm(), _OWN)
        self.there: dict[str, bytes] = {}
        self.dialled: list[tuple[float, str]] = []

    async def dial(self, host: str, port: int, expected: bytes | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        self.dialled.append((trio.current_time(), host))
        assert len(self.dialled) < 10_000, "it dials without end"
        found = self.there.get(host)
        if found is None or found != expected:
            raise DialError(f"{host} is not who was expected.")
        self.meet(found)
        return found


async def _reaching(network: _Network, told: Mapping[bytes, Sequence[str]], seconds: float) -> None:
    with trio.move_on_after(seconds):
        await keep_reaching(lambda: told, network, random.Random(1))


@pytest.mark.trio
@pytest.mark.parametrize(("members", "connected"), [(3, 3), (8, 8), (200, limits.PEERS_WANTED)])
async def test_all_of_a_small_mesh_and_some_of_a_large_one(
    members: int, connected: int, autojump_clock: trio.testing.MockClock
) -> None:
    network, keys = _Network(), _keys(members)
    told = {key: [_at(number)] for number, key in enumerate(keys)}
    network.there = {f"192.0.2.{number + 1}": key for number, key in enumerate(keys)}
    await _reaching(network, told, 600)
    assert len(network.peers()) == connected
    assert len(network.dialled) == connected


@pytest.mark.trio
async def test_who_has_connected_by_itself_is_not_dialled_and_takes_no_place(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network, keys = _Network(), _keys(30)
    for key in keys[:15]:
        network.meet(key)
    network.there = {f"192.0.2.{number + 1}": key for number, key in enumerate(keys)}
    await _reaching(network, {key: [_at(number)] for number, key in enumerate(keys)}, 600)
    assert len(network.peers() - set(keys[:15])) == limits.PEERS_WANTED


@pytest.mark.trio
async def test_a_lost_member_is_dialled_again(autojump_clock: trio.testing.MockClock) -> None:
    network, (key,) = _Network(), _keys(1)
    network.there["192.0.2.1"] = key
    await _reaching(network, {key: [_at(0)]}, 60)
    network.part(key)
    await _reaching(network, {key: [_at(0)]}, 60)
    assert network.peers() == {key}


@pytest.mark.trio
async def test_only_the_member_itself_will_do_and_each_of_its_addresses_is_tried(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network, (key, other) = _Network(), _keys(2)
    network.there = {"192.0.2.1": other, "192.0.2.2": key}
    await _reaching(network, {key: ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"]}, 10)
    assert [host for _, host in network.dialled] == ["192.0.2.1", "192.0.2.2"]
    assert network.peers() == {key}


@pytest.mark.trio
async def test_who_does_not_answer_is_left_alone_longer_and_longer(autojump_clock: trio.testing.MockClock) -> None:
    network, (dead, alive) = _Network(), _keys(2)
    network.there["192.0.2.2"] = alive
    await _reaching(network, {dead: [_at(0)], alive: [_at(1)]}, 24 * 3_600)
    times = [at for at, host in network.dialled if host == "192.0.2.1"]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[0] < 20
    assert max(gaps) < limits.MEMBER_DIAL_BACKOFF_SECONDS_MAX + 10
    assert 24 * 3_600 / limits.MEMBER_DIAL_BACKOFF_SECONDS_MAX <= len(times) < 160


@pytest.mark.trio
async def test_who_is_alone_tries_once_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    network, (dead,) = _Network(), _keys(1)
    await _reaching(network, {dead: [_at(0)]}, 6 * 3_600)
    late = [at for at, _ in network.dialled if at > 3 * 3_600]
    assert max(later - earlier for earlier, later in pairwise(late)) < 70


@pytest.mark.trio
async def test_who_answers_and_hangs_up_is_not_dialled_without_end(autojump_clock: trio.testing.MockClock) -> None:
    network, (key, other) = _Network(), _keys(2)
    network.meet(other)
    network.there["192.0.2.1"] = key
    real = network.meet
    network.meet = lambda peer: None if peer == key else real(peer)
    await _reaching(network, {key: [_at(0)]}, 24 * 3_600)
    assert 24 <= len(network.dialled) < 160


def test_the_choice_is_by_chance() -> None:
    keys = _keys(40)
    chosen: Counter[bytes] = Counter()
    for seed in range(200):
        reach = Reach(random.Random(seed))
        found = reach.choose(keys, _NONE, 0)
        assert len(found) == limits.MEMBER_DIALS_MAX
        chosen.update(found)
    assert set(chosen) == set(keys)


def test_no_more_at_a_time_than_allowed_and_what_left_is_forgotten() -> None:
    reach, keys = Reach(random.Random(1)), _keys(40)
    first = reach.choose(keys, _NONE, 0)
    assert reach.choose(keys, _NONE, 0) == []
    for key in first:
        reach.done(key, 0, reached=False)
    assert set(reach.choose(keys, _NONE, 0)).isdisjoint(first)
    assert reach.choose([], _NONE, 1) == []
    assert len(reach._tries) <= limits.MEMBER_DIALS_MAX


@pytest.mark.parametrize(
    ("text", "dialled"),
    [
        ("/ip4/192.0.2.1/tcp/8471", True),
        ("/ip6/2001:db8::1/tcp/8471", True),
        ("/dns/vps.example.net/tcp/8471", True),
        ("/ip4/127.0.0.1/tcp/8471", False),
        ("/ip6/::ffff:127.0.0.1/tcp/8471", False),
        ("/ip4/169.254.1.1/tcp/8471", False),
        ("/ip6/fe80::1/tcp/8471", False),
        ("/ip4/0.0.0.0/tcp/8471", False),
        ("/ip4/224.0.0.1/tcp/8471", False),
        ("/ip4/192.0.2.1/udp/8471", False),
        ("vps.example.net:8471", False),
        ("", False),
        ("/", False),
    ],
)
def test_what_others_write_is_dialled_only_where_it_leads_elsewhere(text: str, dialled: bool) -> None:
    assert (dialled_address(text) is not None) is dialled
