"""The four endpoints of NAT behaviour discovery: which one fails is told, and how."""

import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from aioice import stun

from demesh.outcome import Outcome
from demesh.probes import stun_behaviour
from demesh.probes.resolving import Resolver
from tests.ports import free_port
from tests.probes.stun_servers import ask, reply

PASS, FAIL, MISMATCH, TIMEOUT, ERROR = (
    Outcome.PASS,
    Outcome.FAIL,
    Outcome.MISMATCH,
    Outcome.TIMEOUT,
    Outcome.ERROR,
)
pytestmark = pytest.mark.trio
Endpoint = tuple[str, int]
Answers = Callable[[Endpoint, Endpoint, int], tuple[Endpoint | None, dict]]
"""From who was asked, who asked, and what shall change (4: address, 2: port), to who answers (None: nobody), and attributes."""


_OOPS = {"ERROR_CODE": (500, "Oops")}


@asynccontextmanager
async def four_endpoints(answers: Answers | None = None) -> AsyncGenerator[Endpoint]:
    """Yields the primary endpoint of a server that does as it should, but for what `answers` says."""
    ports = (free_port(), free_port())
    primary, other = ("127.0.0.1", ports[0]), ("127.0.0.2", ports[1])
    sockets: dict[Endpoint, trio.socket.SocketType] = {}

    def rightly(asked: Endpoint, change: int) -> Endpoint:
        hosts, numbers = (primary[0], other[0]), ports
        return hosts[(asked[0] == hosts[1]) ^ (change & 4 > 0)], numbers[(asked[1] == numbers[1]) ^ (change & 2 > 0)]

    async def serve(endpoint: Endpoint, sock: trio.socket.SocketType) -> None:
        while True:
            request, source = await sock.recvfrom(2048)
            change = stun.parse_message(request).attributes.get("CHANGE-REQUEST", 0)
            answerer, attributes = rightly(endpoint, change), {}
            if answers is not None:
                answerer, attributes = answers(endpoint, answerer, change)
            told: dict[str, Any] = {"XOR_MAPPED_ADDRESS": source[:2], "OTHER_ADDRESS": other} | attributes
            told = {name: value for name, value in told.items() if value is not None}
            if answerer is not None:
                await sockets[answerer].sendto(reply(request, error="ERROR_CODE" in told, **told), source)

    async with trio.open_nursery() as nursery:
        for endpoint in [(host, port) for host in ("127.0.0.1", "127.0.0.2") for port in ports]:
            sockets[endpoint] = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            await sockets[endpoint].bind(endpoint)
            nursery.start_soon(serve, endpoint, sockets[endpoint])
        yield primary
        nursery.cancel_scope.cancel()
    for each in sockets.values():
        each.close()


def behind_nat(by_port: bool, dead: int | None = None, also: Callable[[Endpoint], dict] = lambda asked: {}) -> Answers:
    """A NAT that gives each address another port, `by_port` each port of it too, and lets in only what comes from where that port
    sent to. The server does not change as is asked with `dead`."""

    def answers(asked: Endpoint, answerer: Endpoint, change: int) -> tuple[Endpoint | None, dict]:
        host = 1000 * int(asked[0].rpartition(".")[2])
        outside = ("192.0.2.1", (asked[1] + host) % 60_000 + 1 if by_port else host)
        passes = not change or (change == 2 and not by_port)
        return answerer if passes and change != dead else None, {"XOR_MAPPED_ADDRESS": outside} | also(asked)

    return answers


def attributes_of_primary(**attributes: object) -> Answers:
    return lambda asked, answerer, change: (answerer, attributes)


@pytest.mark.parametrize(
    ("answers", "outcome", "detail"),
    [
        (None, PASS, ""),
        (attributes_of_primary(OTHER_ADDRESS=None, CHANGED_ADDRESS=("127.0.0.1", 9)), MISMATCH, "has the same address"),
        (attributes_of_primary(OTHER_ADDRESS=None), MISMATCH, "names no other address"),
        (attributes_of_primary(OTHER_ADDRESS=("224.0.0.1", 9)), MISMATCH, "none that can be asked"),
        (attributes_of_primary(OTHER_ADDRESS=("127.0.0.2", 0)), MISMATCH, "none that can be asked"),
        (attributes_of_primary(OTHER_ADDRESS=("::1", 9)), MISMATCH, "none that can be asked"),
        (attributes_of_primary(XOR_MAPPED_ADDRESS=None), MISMATCH, "the answer has no mapped address"),
        (attributes_of_primary(ERROR_CODE=(500, "Oops")), FAIL, "error 500 (Oops)"),
        (lambda asked, answerer, change: (None, {}), TIMEOUT, "no answer within 2000 ms to 3 requests"),
        (
            lambda asked, answerer, change: (None if change == 2 else answerer, {}),
            MISMATCH,
            "1 of 4 endpoints failed: other port: no answer when the first is asked to change",
        ),
        (
            lambda asked, answerer, change: (None if asked[0] == "127.0.0.2" else answerer, {}),
            MISMATCH,
            "2 of 4 endpoints failed: other address: no answer; other address and port: no answer",
        ),
        (
            lambda asked, answerer, change: (asked, {}),
            MISMATCH,
            "3 of 4 endpoints failed: other port: the answer comes from 127.0.0.1:",
        ),
        (
            lambda asked, answerer, change: (answerer, {"ERROR_CODE": (420, "")} if change == 6 else {}),
            MISMATCH,
            "1 of 4 endpoints failed: other address and port: error 420 when the first is asked to change",
        ),
        (behind_nat(by_port=True), ERROR, "this node's NAT gives each endpoint another port"),
        (behind_nat(by_port=False), ERROR, "this node's NAT gives other endpoints another port"),
        (
            behind_nat(by_port=False, dead=2),
            MISMATCH,
            "1 of 4 endpoints failed: other port: no answer when the first is asked to change",
        ),
        (
            behind_nat(by_port=True, also=lambda asked: _OOPS if asked[0] == "127.0.0.2" else {}),
            MISMATCH,
            "2 of 4 endpoints failed: other address: error 500 (Oops); other address and port: error 500 (Oops)",
        ),
        (
            lambda asked, answerer, change: (None if change else answerer, {"XOR_MAPPED_ADDRESS": ("192.0.2.1", 7)}),
            MISMATCH,
            "3 of 4 endpoints failed: other port: no answer when the first is asked to change",
        ),
    ],
)
async def test_which_endpoint_fails_is_told(answers: Answers | None, outcome: Outcome, detail: str):
    async with four_endpoints(answers) as primary:
        with trio.fail_after(10):
            result = await ask(f"stun://127.0.0.1:{primary[1]}", 2_000, nat_behaviour=True)
    assert (result.outcome, detail in result.detail) == (outcome, True), result.detail


async def test_an_endpoint_where_nobody_listens_is_told_with_its_refusal():
    async with four_endpoints(attributes_of_primary(OTHER_ADDRESS=("127.0.0.3", free_port()))) as primary:
        result = await ask(f"stun://127.0.0.1:{primary[1]}", 2_000, nat_behaviour=True)
    assert result.outcome == MISMATCH
    assert result.detail.startswith("3 of 4 endpoints failed: other port: port unreachable, says 127.0.0.1")


async def test_a_public_server_must_report_public_addresses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stun_behaviour, "is_public", lambda address: address == "127.0.0.1")
    async with four_endpoints() as primary:
        result = await ask(f"stun://127.0.0.1:{primary[1]}", nat_behaviour=True)
    assert (result.outcome, "which is no public address" in result.detail) == (MISMATCH, True)


async def test_the_other_address_is_asked_only_if_the_node_may_ask_it():
    admitting = Resolver(admits=lambda address: address == "127.0.0.1")
    asked: list[Endpoint] = []

    def answers(endpoint: Endpoint, answerer: Endpoint, _change: int) -> tuple[Endpoint, dict]:
        asked.append(endpoint)
        return answerer, {}

    async with four_endpoints(answers) as primary:
        result = await ask(f"stun://127.0.0.1:{primary[1]}", nat_behaviour=True, resolver=admitting)
    assert (result.outcome, asked) == (ERROR, [primary])


async def test_it_is_found_out_over_udp_only():
    result = await ask("stun://127.0.0.1:1?transport=tcp", nat_behaviour=True)
    assert (result.outcome, result.detail) == (ERROR, "NAT behaviour is found out over UDP only")
