"""The TURN probe (RFC 8656): that a server asks for a login, or with one, that it relays.

Guaranteed:

- `turn://HOST[:PORT]` is asked over UDP, or as `?transport=` or the option says, `turns://HOST[:PORT]` over TLS. The ports are
  3478 and, for TLS, 5349.
- Without a user it passes if the server wants a login: the error 401 with REALM and NONCE is a sign of life. (A server that gives
  an allocation to anybody passes, too.)
- With a user and a password it passes if the server makes an allocation, permits a peer and takes the allocation back. A login
  that is refused is a FAIL that says so. No peer is sent anything.
- If the server was asked at a public address, the relayed one must be public, too.
- With `relay` another node must reach this one through the allocation (`demesh.probes.turn_relay`).
- Whatever was allocated is given back, also when the run fails or is cancelled (`demesh.probes.turn_client`).
- The latency is the sum of the phases: `dns`, `connect`, `tls`, and `answer`, or with a login `challenge`, `allocate`,
  `permission`, `relay` and `release`.

Not guaranteed, without `relay`: that anything gets through. A permission only says that the server would let it.
"""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import trio

from demesh.address import Spot, address_text
from demesh.errors import UsageError
from demesh.failure import Failed
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec, TurnOptions
from demesh.probes.dialling import Progress
from demesh.probes.expectations import limits_broken
from demesh.probes.public import is_public
from demesh.probes.relays import Relays
from demesh.probes.resolving import Resolver
from demesh.probes.stun_target import parse_target, stun_port
from demesh.probes.tls import TlsContexts
from demesh.probes.turn_client import TurnClient, with_allocation, with_client
from demesh.probes.turn_relay import round_trip

_SOMEBODY = {4: "1.1.1.1", 6: "2606:4700:4700::1111"}  # a server may well refuse addresses that are not public


class TurnProbe:
    """A `Probe` for turn:// and turns:// targets. `wall_ms` (Unix time) only serves to judge a certificate's expiry."""

    def __init__(
        self, wall_ms: Callable[[], int], resolver: Resolver, contexts: TlsContexts, relays: Relays | None = None
    ) -> None:
        self._wall_ms = wall_ms
        self._resolver = resolver
        self._contexts = contexts
        self._relays = relays or Relays()

    async def __call__(self, spec: ProbeSpec) -> ProbeResult:
        options = spec.options if isinstance(spec.options, TurnOptions) else TurnOptions()
        deadline = spec.deadline_s(trio.current_time())
        progress = Progress()
        facts: dict[str, str] = {}

        async def challenged(client: TurnClient) -> None:
            await client.challenge()
            facts.update(_facts(client))

        async def relaying(client: TurnClient) -> None:
            facts.update(_facts(client))
            if options.relay:
                place, transport = parse_target(spec.target, options.transport)
                server = Spot(progress.address or place.host, stun_port(place.port, transport))
                facts["relayed_for"] = await round_trip(
                    client, server, self._relays, self._resolver, deadline, progress
                )
            else:
                await client.permit(_peer_of(client))
            await client.release()

        ways = (spec, options, self._resolver, self._contexts, deadline, progress)
        try:
            await (with_allocation(*ways, relaying) if options.user else with_client(*ways, challenged))
        except UsageError as error:
            return progress.failed(Outcome.ERROR, str(error))
        except Failed as failed:
            return progress.failed(failed.outcome, str(failed))
        broken = limits_broken(spec, progress.latency_us, progress.certificate_expires_s, self._wall_ms)
        return replace(progress.judged(broken), facts=facts)


def _peer_of(client: TurnClient) -> str:
    """Whom to permit: this node itself as the server sees it, if it is of the family that is relayed and public."""
    version = ip_address(client.relayed[0]).version if client.relayed else 4
    if client.mapped and ip_address(client.mapped[0]).version == version and is_public(client.mapped[0]):
        return client.mapped[0]
    return _SOMEBODY[version]


def _facts(client: TurnClient) -> dict[str, str]:
    told = {"realm": client.realm, "software": client.software}
    for name, endpoint in (("relayed_address", client.relayed), ("mapped_address", client.mapped)):
        told[name] = address_text(*endpoint) if endpoint else ""
    return {name: value for name, value in told.items() if value}
