"""A real host of which a part is killed from within comes back where it was, and its peer finds it again."""

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio

from demesh import limits
from demesh.clock import SystemClock
from demesh.errors import DialError, NetworkError
from demesh.mesh.libp2p import health
from demesh.mesh.libp2p.host import Libp2pNetwork
from demesh.mesh.libp2p.listener import Listener
from demesh.mesh.supervisor import Supervisor
from tests.mesh.libp2p_harness import KEY, SECONDS, TOPIC, Mesh, Node, Recorder, eventually, mesh, refused, seed_of


async def _supervised(m: Mesh, name: str, peer: Node | None = None) -> tuple[Node, Supervisor]:
    """A node whose network is kept running, and that dials `peer` whenever it runs."""
    network = Libp2pNetwork(seed_of(name), KEY, TOPIC, [("127.0.0.1", 0)])

    async def dial() -> None:
        while True:
            with suppress(DialError):
                if peer and peer.key not in network.peers():
                    await network.dial("127.0.0.1", peer.port)
            await trio.sleep(0.05)

    supervisor = Supervisor(network, SystemClock(), random.Random(1), dial)
    node = Node(name, network, Recorder())
    await m.nursery.start(supervisor.run, node.handler)
    return node, supervisor


def _kill_router(node: Node) -> None:
    node.parts.router.mesh = None  # pyright: ignore[reportAttributeAccessIssue] its next heartbeat raises


def _kill_pubsub(node: Node) -> None:
    async def fail() -> None:
        raise RuntimeError("a bug of pubsub")

    node.parts.pubsub.manager.run_task(fail)


def _end_pubsub(node: Node) -> None:
    node.parts.pubsub.manager.cancel()


def _end_swarm(node: Node) -> None:
    node.parts.swarm.manager.cancel()


def _close_listening_socket(node: Node) -> None:
    (listener,) = node.parts.swarm.listeners.values()
    assert isinstance(listener, Listener)
    for each in listener._listeners.values():
        each.socket.close()


@pytest.mark.trio
@pytest.mark.parametrize("kill", [_kill_router, _kill_pubsub, _end_pubsub, _end_swarm, _close_listening_socket])
async def test_a_killed_part_costs_seconds(kill: Callable[[Node], None]) -> None:
    async with mesh() as m:
        b = await m.start("b")
        a, supervisor = await _supervised(m, "a", b)
        await eventually(lambda: a.key in b.network.peers())
        await a.meshed(b)
        port, parts = a.port, a.parts
        kill(a)
        await eventually(lambda: supervisor.condition.rebuilds == 1)
        assert a.parts is not parts
        assert a.port == port, "whoever knows its address finds it"
        await eventually(lambda: a.key in b.network.peers())
        await a.meshed(b)
        await b.network.broadcast(b"welcome back")
        assert await a.handler.next_message() == (b.key, b"welcome back")
        await a.network.broadcast(b"thanks")
        assert await b.handler.next_message() == (a.key, b"thanks")
        stream = await b.network.open_stream(a.key)
        await stream.send(b"x")
        with trio.fail_after(SECONDS):
            assert await stream.receive() == b"x"
        assert [event for event, _ in a.handler.events] == ["connected", "lost", "connected"]


@pytest.mark.trio
async def test_why_it_died_is_told_without_the_text_of_an_exception() -> None:
    async with mesh() as m:
        a, supervisor = await _supervised(m, "a")
        _kill_pubsub(a)
        await eventually(lambda: supervisor.condition.rebuilds == 1)
        problem = supervisor.condition.problem
        assert problem.startswith("The peer-to-peer service stopped: RuntimeError at test_libp2p_rebuild.py:")
        assert "bug" not in problem


@pytest.mark.trio
async def test_while_it_is_down_nothing_raises_that_would_end_the_node() -> None:
    network = Libp2pNetwork(seed_of("a"), KEY, TOPIC, [("127.0.0.1", 0)])
    await network.broadcast(b"nobody hears this")
    with pytest.raises(DialError):
        await network.dial("127.0.0.1", 1)
    for call in (network.open_stream, network.seen_at):
        with pytest.raises(NetworkError):
            await call(bytes(32))
    with pytest.raises(NetworkError):
        await network.examine()
    assert (network.peers(), network.links(), network.listen_addresses()) == (frozenset(), [], [])


@pytest.mark.trio
async def test_a_port_that_was_taken_meanwhile_is_waited_for() -> None:
    async with mesh() as m:
        a, supervisor = await _supervised(m, "a")
        port = a.port
        a.network._listen = (("127.0.0.1", port),)
        (listener,) = a.parts.swarm.listeners.values()
        assert isinstance(listener, Listener)
        await listener.close()  # so that the port can be taken before the network is built anew
        with trio.socket.socket() as thief:
            await thief.bind(("127.0.0.1", port))
            thief.listen()
            _kill_router(a)
            await eventually(lambda: f"{port} is taken" in supervisor.condition.problem)
            assert supervisor.condition.rebuilds == 0
        await eventually(lambda: supervisor.condition.rebuilds == 1)
        assert a.port == port


@pytest.mark.trio
async def test_messages_after_a_rebuild_are_new_even_if_the_wall_clock_went_back() -> None:
    class Backwards(SystemClock):
        def wall_ms(self) -> int:
            self.said = getattr(self, "said", 2_000_000_000_000) - 10_000_000
            return self.said

    async with mesh() as m:
        reader = await m.start("reader")
        network = Libp2pNetwork(seed_of("writer"), KEY, TOPIC, [], clock=Backwards())
        for life in range(3):
            writer = await m.run("writer", network)
            await writer.dial(reader)
            await writer.meshed(reader)
            await network.broadcast(b"%d" % life)
            assert (await reader.handler.next_message())[1] == b"%d" % life
            await writer.stop()
            await eventually(lambda: not reader.network.peers())


# Examinations


@pytest.mark.trio
async def test_a_living_network_passes_and_counts_nothing_as_refused() -> None:
    def counted() -> float:
        return refused("half_open") + refused("handshake") + refused("ourselves")

    before = counted()
    async with mesh() as m:
        for host in ("127.0.0.1", "0.0.0.0", "::"):
            a = await m.start(f"a at {host}", host=host)
            for _ in range(2):
                with trio.fail_after(SECONDS):
                    await a.network.examine()
            assert a.network.usage().inbound_slots == a.parts.transport.door.waiting == 0
            assert a.handler.events == []
    assert counted() == before


@pytest.mark.trio
async def test_a_network_that_is_full_is_not_dead() -> None:
    async with mesh() as m:
        a = await m.start("a", connections_max=2)
        for name in ("b", "c"):
            await (await m.start(name, host=None)).dial(a)
        await eventually(lambda: a.network.usage().inbound_slots == 2)
        flood = [await trio.open_tcp_stream("127.0.0.1", a.port) for _ in range(limits.PEER_HALF_OPEN_MAX)]
        with trio.fail_after(SECONDS):
            await a.network.examine()
        for each in flood:
            await each.aclose()


@pytest.mark.trio
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_crowded_door_is_not_a_dead_one(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    async with mesh() as m:
        a = await m.start("a", host=host)

        async def come_too_late(host: str, port: int) -> None:
            if comes_another:
                await (await trio.open_tcp_stream(host, port)).aclose()
                (listener,) = a.parts.swarm.listeners.values()
                assert isinstance(listener, Listener)
                await eventually(lambda: listener.accepted.total() > 0)
            raise trio.TooSlowError

        monkeypatch.setattr(a.parts.transport, "reach_itself", come_too_late)
        comes_another = True
        await a.network.examine()
        comes_another = False
        with pytest.raises(NetworkError, match="accepts no connections"):
            await a.network.examine()


async def _stop_heartbeat(a: Node) -> None:
    """Let the router's heartbeat wait for ever, without a word."""
    stuck = trio.Event()

    async def wait(*_: object) -> None:
        stuck.set()
        await trio.sleep_forever()

    a.parts.router._emit_control_msgs = wait  # pyright: ignore[reportAttributeAccessIssue]
    await stuck.wait()


async def _stop_accepting(a: Node) -> None:
    (listener,) = a.parts.swarm.listeners.values()
    assert isinstance(listener, Listener)
    listener._scope.cancel()
    await trio.testing.wait_all_tasks_blocked()


async def _leak_places(a: Node) -> None:
    await trio.lowlevel.checkpoint()
    limiter = a.parts.swarm._inbound_limiter
    for number in range(int(limiter.total_tokens)):
        limiter.acquire_on_behalf_of_nowait(number)


@pytest.mark.trio
@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (_stop_heartbeat, "gossip router has not moved"),
        (_stop_accepting, "accepts no connections at 127.0.0.1:"),
        (_leak_places, "places for accepted connections are taken, by 0 connections"),
    ],
)
async def test_what_is_dead_without_a_word_is_found(
    harm: Callable[[Node], Awaitable[None]], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mesh() as m:
        a = await m.start("a", connections_max=8)
        await a.network.examine()
        with trio.fail_after(SECONDS):
            await harm(a)
            monkeypatch.setattr(health, "ACCEPT_SECONDS_MAX", 0.3)
            if harm is _stop_heartbeat:
                monkeypatch.setattr(health, "HEARTBEAT_SECONDS_MAX", 1.5)
            with pytest.raises(NetworkError, match=told):
                await a.network.examine()
