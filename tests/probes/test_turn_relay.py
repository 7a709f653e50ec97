"""The round trip through a real TURN server with helpers that do their part, do not, or lose what they send."""

import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from demesh.address import Spot
from demesh.mesh import relay
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec, TurnOptions
from demesh.probes.relays import Candidate, NoHelp, Relays
from demesh.probes.resolving import Resolver
from demesh.probes.tls import TlsContexts
from demesh.probes.turn import TurnProbe
from tests.certificates import Authority
from tests.probes.stun_servers import PASSWORD, USER, Coturn, coturn

pytestmark = [pytest.mark.trio, pytest.mark.e2e]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Generator[Coturn]:
    with coturn(tmp_path_factory.mktemp("relay") / "coturn", authority) as running:
        yield running


class _Helper:
    """Sends from this machine what it should, something else, or nothing."""

    address = "127.0.0.1"

    def __init__(self, lost: bool = False, forged: bool = False, refuses: bool = False) -> None:
        self.lost, self.forged, self.refuses = lost, forged, refuses
        self.sent_to: list[Spot] = []

    def datagram(self, token: bytes) -> bytes:
        return relay.datagram(token)

    async def send(self, relayed: Spot, token: bytes) -> None:
        self.sent_to.append(relayed)
        if self.refuses:
            raise NoHelp("ben does not help: this node sends to public addresses only")
        if self.lost:
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.sendto(token if self.forged else self.datagram(token), (relayed.address, relayed.port))


def _candidate(name: str, helper: _Helper | None) -> Candidate:
    @asynccontextmanager
    async def ask(server: Spot, by: float) -> AsyncGenerator[_Helper]:
        assert server.address == "127.0.0.1", "it can be seen there at an address of the family that is relayed"
        if helper is None:
            raise NoHelp(f"{name} broke off")
        yield helper

    return Candidate(name, ask)


async def _run(
    server: Coturn, host: str = "127.0.0.1", resolver: Resolver | None = None, **helpers: _Helper | None
) -> ProbeResult:
    relays = Relays()
    relays.offer(lambda: [_candidate(name, helper) for name, helper in helpers.items()])
    spec = ProbeSpec("turn", server.target("turn", host), 5_000)
    spec = replace(spec, options=TurnOptions(user=USER, password=PASSWORD, relay=True))
    return await TurnProbe(lambda: 0, resolver or Resolver(), TlsContexts(), relays)(spec)


async def test_a_server_that_relays_passes_and_says_who_helped(server: Coturn) -> None:
    result = await _run(server, ben=_Helper())
    assert (result.outcome, result.detail, result.facts["relayed_for"]) == (Outcome.PASS, "", "ben")
    assert list(result.phases_us) == ["challenge", "allocate", "permission", "relay", "release"]


async def test_a_server_that_is_asked_by_another_family_than_it_relays_passes_too(server: Coturn) -> None:
    assert (await _run(server, "[::1]", ben=_Helper())).outcome == Outcome.PASS


async def test_who_has_no_address_of_the_relayed_family_cannot_help(server: Coturn) -> None:
    helper = _Helper()
    helper.address = "::1"
    result = await _run(server, ben=helper)
    assert result.outcome == Outcome.ERROR
    assert result.detail.endswith("ben has no address of the family that is relayed")


async def test_nobody_is_asked_to_send_where_this_node_may_ask_nobody(server: Coturn) -> None:
    helper = _Helper()
    result = await _run(server, "[::1]", Resolver(admits=lambda address: address == "::1"), ben=helper)
    assert (result.outcome, helper.sent_to) == (Outcome.ERROR, [])
    assert result.detail == "this node asks public addresses only, and this is none"
    assert server.allocations() == 0


async def test_the_server_is_blamed_for_what_does_not_come_out(server: Coturn) -> None:
    result = await _run(server, ben=_Helper(lost=True), cat=_Helper(forged=True))
    assert result.outcome == Outcome.FAIL
    assert result.detail == "what ben and cat sent to the relayed address does not come out of the relay"


async def test_another_is_asked_before_anybody_is_blamed(server: Coturn) -> None:
    result = await _run(server, ben=None, cat=_Helper(lost=True), dan=_Helper())
    assert (result.outcome, result.facts["relayed_for"]) == (Outcome.PASS, "dan")


async def test_that_nobody_helps_is_no_fault_of_the_server(server: Coturn) -> None:
    alone, left = await _run(server), await _run(server, ben=None)
    assert (alone.outcome, left.outcome) == (Outcome.ERROR, Outcome.ERROR)
    assert alone.detail == "no other node sends through the relay: none is connected that helps"
    assert left.detail == "no other node sends through the relay: ben broke off"
    assert server.allocations() == 0


async def test_who_refuses_to_send_once_it_knows_where_to_is_no_fault_of_the_server(server: Coturn) -> None:
    result = await _run(server, ben=_Helper(refuses=True))
    assert result.outcome == Outcome.ERROR
    assert result.detail.endswith("ben does not help: this node sends to public addresses only")
    assert (await _run(server, ben=_Helper(refuses=True), cat=_Helper())).outcome == Outcome.PASS
