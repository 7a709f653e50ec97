"""The round trip through a TURN server by two nodes: what another sends to the relayed address comes out of the allocation.

Guaranteed:

- Another node that cannot help (gone, hanging, busy, unwilling) is no fault of the server; without any the run is an ERROR.
- The server is to blame (FAIL) if what nodes have sent does not come out, of RELAY_HELPERS_MAX nodes where so many can help:
  what one has sent may have been lost on its own way.
- No node is asked to send to a relayed address at which this node may ask nobody itself.
- A datagram counts if it is the one of this run's random token.
- The phase `relay` is the time from asking a node to send until the datagram is there.

Not guaranteed: that anything reaches a peer from the allocation; this way is not tried.
"""

import secrets

import trio

from demesh.address import Spot
from demesh.failure import Failed
from demesh.limits import RELAY_WAIT_SECONDS_MAX
from demesh.outcome import Outcome
from demesh.probes.dialling import Progress
from demesh.probes.first_answer import BadAnswer
from demesh.probes.relays import Helper, NoHelp, Relays
from demesh.probes.resolving import Resolver
from demesh.probes.turn_client import TurnClient

TOKEN_BYTES = 32


async def round_trip(
    client: TurnClient, server: Spot, relays: Relays, resolver: Resolver, deadline: float, progress: Progress
) -> str:
    """Which node's datagram came through, by `deadline` (trio's time), of which a node that does not answer gets a share only.
    `server` is where the server answers STUN over UDP. Raises Failed.
    """
    if client.relayed is None:
        raise BadAnswer(Outcome.MISMATCH, "the answer to an allocation has no relayed address")
    relayed = Spot(*client.relayed[:2])
    resolver.admit(relayed.address)
    if _family(server.address) != _family(relayed.address):
        # The server itself, as a rule: only who is seen at an address of that family can be let through.
        server = Spot(relayed.address, server.port)
    lost: list[str] = []
    unhelpful: list[str] = []
    candidates = relays.candidates()
    for left, candidate in zip(range(len(candidates), 0, -1), candidates, strict=True):
        progress.doing = f"still waiting for {candidate.name} to send through the relay"
        by = trio.current_time() + (deadline - trio.current_time()) / (left + 1)
        try:
            async with candidate.ask(server, by) as helper:
                if _family(helper.address) != _family(relayed.address):
                    raise NoHelp(f"{candidate.name} has no address of the family that is relayed")
                await client.permit(helper.address)
                if await _comes_through(client, helper, relayed, progress):
                    return candidate.name
                lost.append(candidate.name)
        except NoHelp as why:
            unhelpful.append(str(why))
    if lost:
        raise BadAnswer(
            Outcome.FAIL, f"what {' and '.join(lost)} sent to the relayed address does not come out of the relay"
        )
    reasons = "; ".join(unhelpful) or "none is connected that helps"
    raise BadAnswer(Outcome.ERROR, f"no other node sends through the relay: {reasons}")


def _family(address: str) -> int:
    return 6 if ":" in address else 4


async def _comes_through(client: TurnClient, helper: Helper, relayed: Spot, progress: Progress) -> bool:
    """Raises NoHelp, Failed."""
    token, began = secrets.token_bytes(TOKEN_BYTES), trio.current_time()
    expected = helper.datagram(token)
    came_s: float | None = None
    failed: NoHelp | Failed | None = None  # by itself, not in the group that a nursery makes of it
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            nonlocal came_s, failed
            try:
                while came_s is None:
                    _, data = await client.receive()
                    if data == expected:
                        came_s = trio.current_time()
            except Failed as error:
                failed = error
            nursery.cancel_scope.cancel()

        nursery.start_soon(listen)
        try:
            await helper.send(relayed, token)
            await trio.sleep(RELAY_WAIT_SECONDS_MAX)  # for what is still on its way
        except NoHelp as why:
            failed = why
        nursery.cancel_scope.cancel()
    if came_s is not None:
        progress.phases_us["relay"] = round((came_s - began) * 1_000_000)
        return True
    if failed is not None:
        raise failed
    return False
