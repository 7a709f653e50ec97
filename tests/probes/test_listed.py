"""A check of a list asks public addresses only, and where there is none that is this node's error: it counts against nobody."""

import errno
import socket

import pytest
import trio

from demesh.checks.runner import Run, Runner
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec
from demesh.probes.public import admits_listed
from demesh.probes.resolving import Lookup, Resolver
from demesh.probes.tcp import TcpProbe
from demesh.probes.tls import TlsContexts
from tests.checks.bench import PASSED, VirtualClock, check_of


async def _probe(target: str, lookup: Lookup, ip_version: int = 0) -> ProbeResult:
    resolver = Resolver(lookup, admits=admits_listed, discreet=False)
    probe = TcpProbe(lambda: 0, resolver, TlsContexts())
    return await probe(ProbeSpec("tcp", target, 2_000, ip_version=ip_version))  # pyright: ignore[reportArgumentType]


@pytest.mark.trio
@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.7.7", "fe80::1", "::1", "fd00::1"])
async def test_a_name_that_leads_to_no_public_address_is_an_error(address: str) -> None:
    result = await _probe("tcp://stun.example.net:3478", lambda _: [address])
    assert result.outcome == Outcome.ERROR
    assert "no public address" in result.detail


@pytest.mark.trio
async def test_an_address_that_is_not_public_is_an_error() -> None:
    result = await _probe("tcp://127.0.0.1:3478", lambda _: [])
    assert result.outcome == Outcome.ERROR
    assert "public addresses only" in result.detail


@pytest.mark.trio
async def test_a_name_that_there_is_not_still_fails() -> None:
    def none(_: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no")

    assert (await _probe("tcp://gone.example.net:3478", none)).outcome == Outcome.FAIL


@pytest.mark.trio
async def test_a_node_without_ipv6_counts_no_failures_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(*_: object, **__: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    with trio.socket.socket(socket.AF_INET6) as some:
        monkeypatch.setattr(type(some), "connect", unreachable)
    result = await _probe("tcp://[2001:4860:4860::8888]:3478", lambda _: [], 6)
    assert (result.outcome, result.detail) == (Outcome.ERROR, "no network: this node has no route to the address")


@pytest.mark.trio
async def test_the_checks_of_lists_are_run_by_the_probes_for_them(autojump_clock: object) -> None:
    ran: list[tuple[str, str]] = []

    def probes(kind: str) -> dict[str, object]:
        async def probe(spec: ProbeSpec) -> ProbeResult:
            ran.append((kind, spec.target))
            return PASSED

        return {"fake": probe}

    def report(_: Run) -> bool:
        return False

    clock = VirtualClock()
    runner = Runner(probes("any"), clock, report, listed=probes("listed"))  # pyright: ignore[reportArgumentType]
    own, listed = check_of("own"), check_of("other", listed=True)
    runner.set_checks({0: own, 1: listed})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runner.run)
        await trio.sleep(10)
        runner.set_checks({0: check_of("own", listed=True)})
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert ran == [("any", own.probe.target), ("listed", listed.probe.target), ("listed", own.probe.target)]
