"""The round trip through a TURN server by two nodes: what another sends to the relayed address comes out of the allocation.

Guaranteed:

- Another node that cannot help (gone, too busy, unwilling) is no fault of the server; without any that can the run is an ERROR.
- The server is to blame (FAIL) if what nodes have sent does not come out, of RELAY_HELPERS_MAX nodes where so many can help:
  what one has sent may have been lost on its own way.
- A datagram counts if it has this run's random token.
- The phase `relay` is the time from asking a node to send until the token is there.

Not guaranteed: that anything reaches a peer from the allocation; this way is not tried.
"""

import secrets
from math import inf

import trio

from demesh.address import Spot
from demesh.limits import RELAY_WAIT_SECONDS_MAX
from demesh.outcome import Outcome
from demesh.probes.dialling import Progress
from demesh.probes.first_answer import BadAnswer
from demesh.probes.relays import Helper, NoHelp, Relays
from demesh.probes.turn_client import TurnClient

TOKEN_BYTES = 32


async def round_trip(client: TurnClient, server: Spot, relays: Relays, progress: Progress) -> str:
    """Which node's datagram came through. `server` is where the server answers STUN over UDP. Raises Failed."""
    if client.relayed is None:
        raise BadAnswer(Outcome.MISMATCH, "the answer to an allocation has no relayed address")
    relayed = Spot(*client.relayed[:2])
    if _family(server.address) != _family(relayed.address):
        server = Spot(
            relayed.address, server.port
        )  # the server itself as a rule; only such a helper can be let through
    lost: list[str] = []
    unhelpful: list[str] = []
    for candidate in relays.candidates():
        progress.doing = f"still waiting for {candidate.name} to send through the relay"
        try:
            async with candidate.ask(server) as helper:
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
    token, began, came_s = secrets.token_bytes(TOKEN_BYTES), trio.current_time(), inf
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            await helper.send(relayed, token)
            await trio.sleep(RELAY_WAIT_SECONDS_MAX)  # for what is still on its way
            nursery.cancel_scope.cancel()

        nursery.start_soon(ask)
        while came_s == inf:
            _, data = await client.receive()
            if data == token:
                came_s = trio.current_time()
        nursery.cancel_scope.cancel()
    if came_s == inf:
        return False
    progress.phases_us["relay"] = round((came_s - began) * 1_000_000)
    return True
