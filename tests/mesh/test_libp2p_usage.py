"""What a network says of what it holds, and of what goes over it: by these figures a leak is seen."""

import pytest
import trio
from prometheus_client import REGISTRY

from demesh.mesh.network import Usage
from tests.mesh.libp2p_harness import eventually, mesh

pytestmark = pytest.mark.trio


def _counted(metric: str, direction: str) -> float:
    return REGISTRY.get_sample_value(metric, {"direction": direction}) or 0.0


async def test_connections_slots_and_streams_are_told_while_they_are_there() -> None:
    async with mesh() as m:
        a, b = await m.start("a"), await m.start("b")
        assert a.network.usage() == b.network.usage() == Usage()
        await b.dial(a)
        await a.meshed(b)
        # One stream of gossip in each direction, as soon as what was negotiated is done with.
        await eventually(lambda: a.network.usage() == Usage(connections=1, inbound_slots=1, streams=2))
        await eventually(lambda: b.network.usage() == Usage(connections=1, inbound_slots=0, streams=2))
        stream = await b.network.open_stream(a.key)
        assert b.network.usage().streams == 3
        await stream.close()
        await eventually(lambda: b.network.usage().streams == a.network.usage().streams == 2)
        await b.stop()
        await eventually(lambda: a.network.usage() == Usage())
        assert b.network.usage() == Usage()


async def test_messages_and_bytes_are_counted_in_both_directions() -> None:
    async with mesh() as m:
        a, b, c = await m.start("a"), await m.start("b"), await m.start("c")
        for one, other in ((a, b), (b, c)):
            await one.dial(other)
            await one.meshed(other)
        names = ("demesh_gossip_messages_total", "demesh_swarm_bytes_total")
        before = {(name, way): _counted(name, way) for name in names for way in ("sent", "received")}

        def counted(name: str, way: str) -> float:
            return _counted(name, way) - before[name, way]

        await a.network.broadcast(bytes(50_000))
        await c.handler.next_message()
        messages, swarm_bytes = names
        with trio.fail_after(10):
            await eventually(lambda: counted(messages, "received") == 2)
        assert counted(messages, "sent") == 2, "from a to b, and from b to c"
        assert 100_000 < counted(swarm_bytes, "sent") < 110_000
        assert 100_000 < counted(swarm_bytes, "received") < 110_000
