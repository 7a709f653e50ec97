"""The NTP probe against a real time server, and what it makes of replies that are in order."""

import time
from collections.abc import Generator
from pathlib import Path

import pytest
import trio

from demesh.clock import packet_ns
from demesh.outcome import Outcome
from demesh.probes.base import Expect
from tests.probes.dns_servers import saying
from tests.probes.ntp_servers import ask, chrony, ntp_probe, reply
from tests.probes.servers import fake_resolver

PASS, FAIL, MISMATCH, ERROR = Outcome.PASS, Outcome.FAIL, Outcome.MISMATCH, Outcome.ERROR
_FAR_S = 90


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Generator[int]:
    with chrony(tmp_path_factory.mktemp("ntp") / "chrony", "local stratum 3") as running:
        yield running


def _ahead(seconds: float):
    """A probe on a node whose wall clock is ahead."""
    return ntp_probe(wall_ns=lambda: packet_ns() + round(seconds * 1e9))


@pytest.mark.e2e
@pytest.mark.trio
@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("time.test", "::1")])
async def test_a_server_tells_its_time_and_what_it_takes_it_from(port: int, host: str, address: str):
    probe = ntp_probe(fake_resolver({"time.test": ["::1", "127.0.0.1"]}))
    result = await ask(f"ntp://{host}:{port}", expect=Expect(offset_ms=100, stratum=3), probe=probe)
    assert (result.outcome, result.detail, result.address) == (PASS, "", address)
    assert list(result.phases_us) == (["dns", "delay"] if host == "time.test" else ["delay"])
    assert result.latency_us == result.phases_us["delay"] < 1_000_000
    assert result.clock_offset_us is not None
    assert abs(result.clock_offset_us) < 50_000
    assert (result.facts["stratum"], result.facts["leap"]) == ("3", "none")
    assert float(result.facts["offset_ms"]) == pytest.approx(result.clock_offset_us / 1_000, abs=0.01)
    assert result.facts.keys() >= {"delay_ms", "root_dispersion_ms", "reference"}


@pytest.mark.e2e
@pytest.mark.trio
@pytest.mark.parametrize("seconds", [_FAR_S, -_FAR_S, 12.5, 10 * 365 * 86_400], ids=str)
async def test_the_offset_is_by_how_much_the_server_is_ahead(port: int, seconds: float):
    result = await ask(f"ntp://127.0.0.1:{port}", probe=_ahead(seconds))
    assert (result.outcome, result.detail) == (PASS, "")
    assert result.clock_offset_us == pytest.approx(-seconds * 1_000_000, abs=50_000)


@pytest.mark.e2e
@pytest.mark.trio
async def test_what_is_not_as_expected_is_told_with_its_value(port: int):
    target = f"ntp://127.0.0.1:{port}"
    off = await ask(target, expect=Expect(offset_ms=100), probe=_ahead(_FAR_S))
    assert off.outcome == MISMATCH
    assert off.detail.startswith("the server's clock is ")
    assert off.detail.endswith(" ms behind this node's, expected at most 100 ms")
    assert float(off.detail.split()[4].replace(",", "")) == pytest.approx(_FAR_S * 1_000, abs=50)
    assert off.clock_offset_us is not None, "it may be this node's clock that is wrong"
    low = await ask(target, expect=Expect(stratum=2))
    assert (low.outcome, low.detail, dict(low.broken)) == (
        MISMATCH,
        "stratum 3, expected at most 2",
        {"stratum": "stratum 3, expected at most 2"},
    )
    slow = await ask(target, expect=Expect(response_time_ms=0))
    assert slow.outcome == (MISMATCH if slow.latency_us else PASS)


@pytest.mark.e2e
@pytest.mark.trio
async def test_a_server_without_a_source_is_not_synchronised(tmp_path: Path):
    with chrony(tmp_path / "chrony") as alone:
        result = await ask(f"ntp://127.0.0.1:{alone}")
    assert (result.outcome, result.detail) == (MISMATCH, "the server is not synchronised (leap 3, stratum 0)")
    assert result.clock_offset_us is None


@pytest.mark.e2e
@pytest.mark.trio
async def test_a_busy_event_loop_changes_neither_delay_nor_offset(port: int):
    async def hog() -> None:
        while True:
            until = time.monotonic() + 0.05
            while time.monotonic() < until:
                pass
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hog)
        results = [await ask(f"ntp://127.0.0.1:{port}") for _ in range(5)]
        nursery.cancel_scope.cancel()
    delays = sorted(result.latency_us for result in results if result.latency_us is not None)
    offsets = sorted(abs(result.clock_offset_us) for result in results if result.clock_offset_us is not None)
    assert len(delays) == len(offsets) == 5
    assert delays[2] < 20_000
    assert offsets[2] < 20_000


@pytest.mark.trio
async def test_a_wall_clock_that_is_set_on_the_way_changes_nothing():
    set_s = 0.0

    def wall_ns() -> int:
        return packet_ns() + round(set_s * 1e9)

    def say(query: bytes) -> list[bytes]:
        nonlocal set_s
        set_s = 3_600.0
        return [reply(query)]

    async with saying(say) as port:
        result = await ask(f"ntp://127.0.0.1:{port}", probe=ntp_probe(wall_ns=wall_ns))
    assert result.outcome == PASS
    assert result.clock_offset_us == pytest.approx(0, abs=200_000)


@pytest.mark.trio
async def test_times_beyond_the_end_of_an_era_are_read_right():
    beyond_s = 2**32 - 2_208_988_800 + 1_000.0  # February 2036, and a little
    wall_ns = round(beyond_s * 1e9)
    async with saying(lambda query: [reply(query, received_s=beyond_s + 5, sent_s=beyond_s + 5)]) as port:
        after = await ask(f"ntp://127.0.0.1:{port}", probe=ntp_probe(wall_ns=lambda: wall_ns))
        before = await ask(f"ntp://127.0.0.1:{port}", probe=ntp_probe(wall_ns=lambda: wall_ns - round(2_000 * 1e9)))
    assert after.clock_offset_us == pytest.approx(5_000_000, abs=200_000)
    assert before.clock_offset_us == pytest.approx(2_005_000_000, abs=200_000)


@pytest.mark.trio
@pytest.mark.parametrize(
    ("said", "reference"),
    [
        ({"stratum": 1, "reference": b"GPS\0"}, "GPS"),
        ({"stratum": 1, "reference": b"\xff\0\1\2"}, "ff000102"),
        ({"stratum": 2}, "192.0.2.1"),
        ({"stratum": 2, "version": 3}, "192.0.2.1"),
    ],
)
async def test_the_reference_is_a_clock_or_an_address(said: dict, reference: str):
    async with saying(lambda query: [reply(query, **said)]) as port:
        result = await ask(f"ntp://127.0.0.1:{port}")
    assert (result.outcome, result.facts["reference"]) == (PASS, reference)


@pytest.mark.trio
async def test_nothing_of_this_node_is_in_the_question():
    asked: list[bytes] = []

    def say(query: bytes) -> list[bytes]:
        asked.append(query)
        return [reply(query)]

    async with saying(say) as port:
        for _ in range(2):
            await ask(f"ntp://127.0.0.1:{port}")
    assert [(len(query), query[:1], query[1:40].strip(b"\0")) for query in asked] == [(48, b"\x23", b"")] * 2
    first, second = (query[40:] for query in asked)
    assert first != second
