"""The NTP probe against servers that refuse, lie, forge or send garbage: a sentence, never a crash, in bounded time."""

import socket

import pytest
import trio

from demesh.limits import NTP_STRAYS_MAX
from demesh.metrics import REFUSED
from demesh.outcome import Outcome
from tests.ports import free_port
from tests.probes.dns_servers import saying
from tests.probes.ntp_servers import ask, reply

PASS, FAIL, MISMATCH, TIMEOUT, ERROR = Outcome.PASS, Outcome.FAIL, Outcome.MISMATCH, Outcome.TIMEOUT, Outcome.ERROR
_REFUSES = "the server refuses"


@pytest.mark.trio
@pytest.mark.parametrize(
    ("said", "outcome", "detail"),
    [
        ({"stratum": 0, "reference": b"RATE"}, FAIL, f"{_REFUSES} (RATE): it was asked too often"),
        ({"stratum": 0, "reference": b"RATE", "leap": 3}, FAIL, f"{_REFUSES} (RATE): it was asked too often"),
        ({"stratum": 0, "reference": b"DENY"}, FAIL, f"{_REFUSES} (DENY): it does not serve this node"),
        ({"stratum": 0, "reference": b"X123"}, FAIL, f"{_REFUSES} (X123)"),
        ({"stratum": 0, "reference": b"\1\2\3\4"}, FAIL, f"{_REFUSES}, with a code that is none"),
        ({"stratum": 0, "reference": b"a b\n"}, FAIL, f"{_REFUSES}, with a code that is none"),
        ({"stratum": 0, "reference": b"INIT"}, MISMATCH, "the server is not synchronised (stratum 0)"),
        ({"stratum": 0, "reference": bytes(4)}, MISMATCH, "the server is not synchronised (stratum 0)"),
        ({"leap": 3}, MISMATCH, "the server is not synchronised (leap 3, stratum 2)"),
        ({"stratum": 16}, MISMATCH, "the server is not synchronised (stratum 16)"),
        ({"stratum": 255}, MISMATCH, "the server is not synchronised (stratum 255)"),
        ({"mode": 3}, FAIL, "the answer is of mode 3, not of a server (mode 4)"),
        ({"mode": 5}, FAIL, "the answer is of mode 5, not of a server (mode 4)"),
        ({"version": 1}, FAIL, "the answer is of NTP version 1"),
        ({"version": 7}, FAIL, "the answer is of NTP version 7"),
        ({"zero": True}, FAIL, "the answer tells no time: a timestamp in it is zero"),
        (
            {"root_delay_s": 1, "root_dispersion_s": 1.5},
            MISMATCH,
            "the server may be 2,000 ms from true time by its own account; more than 1,500 ms is of no use",
        ),
        (
            {"root_delay_s": 60_000, "root_dispersion_s": 60_000},
            MISMATCH,
            "the server may be 90,000,000 ms from true time by its own account; more than 1,500 ms is of no use",
        ),
        (
            {"received_s": 1_000_000_100, "sent_s": 1_000_000_000},
            FAIL,
            "the answer contradicts itself: its server took longer than its answer did",
        ),
        (
            {"received_s": 1_000_000_000, "sent_s": 1_000_000_010},
            FAIL,
            "the answer contradicts itself: its server took longer than its answer did",
        ),
    ],
)
async def test_what_a_server_says_is_not_believed_as_it_is(said: dict, outcome: Outcome, detail: str):
    async with saying(lambda query: [reply(query, **said)]) as port:
        result = await ask(f"ntp://127.0.0.1:{port}")
    assert (result.outcome, result.detail) == (outcome, detail)
    assert result.clock_offset_us is None, "no clock is judged by such a server"
    assert result.confirm == (not detail.startswith(_REFUSES)), "who refuses is left alone until the next run"


@pytest.mark.trio
async def test_an_answer_that_is_cut_is_none():
    async with saying(lambda query: [reply(query)[:47]]) as port:
        result = await ask(f"ntp://127.0.0.1:{port}")
    assert (result.outcome, result.detail) == (
        FAIL,
        "the answer has 47 bytes, fewer than the 48 of an NTP packet",
    )


def _strays() -> float:
    return REFUSED.labels("ntp", "stray_reply")._value.get()


@pytest.mark.trio
@pytest.mark.parametrize(
    ("forge", "ignored"),
    [
        (lambda query: reply(query, origin=b"\1" * 8), "answer no question of this node"),
        (lambda query: reply(query, origin=bytes(8)), "answer no question of this node"),
        (lambda query: query, "answer no question of this node"),
        (lambda _: b"", "are too short to be NTP"),
        (lambda query: reply(query)[:31], "are too short to be NTP"),
    ],
)
async def test_what_does_not_repeat_our_number_is_ignored_and_told(forge, ignored: str):
    before = _strays()
    async with saying(lambda query: [forge(query), reply(query)]) as port:
        result = await ask(f"ntp://127.0.0.1:{port}")
    assert (result.outcome, result.detail) == (PASS, "")
    assert _strays() == before + 1
    async with saying(lambda query: [forge(query)]) as port:
        alone = await ask(f"ntp://127.0.0.1:{port}", timeout_ms=1_000)
    assert alone.outcome == TIMEOUT
    assert alone.detail == f"no answer within 1000 ms; ignored 2 that {ignored}"


@pytest.mark.trio
async def test_who_floods_with_forged_replies_is_given_up():
    async with saying(lambda query: [reply(query, origin=b"\1" * 8)] * (NTP_STRAYS_MAX + 1)) as port:
        result = await ask(f"ntp://127.0.0.1:{port}")
    assert (result.outcome, result.detail) == (
        FAIL,
        f"more than {NTP_STRAYS_MAX} datagrams that answer no question of this node",
    )


@pytest.mark.trio
async def test_a_reply_from_another_address_is_not_heard():
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as spoofer:
        await spoofer.bind(("127.0.0.2", 0))
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            await server.bind(("127.0.0.1", 0))

            async def serve() -> None:
                while True:
                    query, source = await server.recvfrom(1_024)
                    await spoofer.sendto(reply(query), source)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                result = await ask(f"ntp://127.0.0.1:{server.getsockname()[1]}", timeout_ms=200)
                nursery.cancel_scope.cancel()
    assert (result.outcome, result.detail) == (TIMEOUT, "no answer within 200 ms")


@pytest.mark.trio
async def test_no_server_is_sent_more_than_two_packets():
    asked: list[bytes] = []

    def nothing(query: bytes) -> list[bytes]:
        asked.append(query)
        return []

    async with saying(nothing) as port:
        result = await ask(f"ntp://127.0.0.1:{port}", timeout_ms=1_000)
    assert result.outcome == TIMEOUT
    assert len(asked) == len(set(asked)) == 2


@pytest.mark.trio
async def test_one_lost_packet_is_no_failure():
    asked: list[bytes] = []

    def second(query: bytes) -> list[bytes]:
        asked.append(query)
        return [reply(query)] if len(asked) == 2 else []

    async with saying(second) as port:
        result = await ask(f"ntp://127.0.0.1:{port}", timeout_ms=3_000)
    assert (result.outcome, result.detail) == (PASS, "")
    assert result.latency_us is not None
    assert result.latency_us < 1_400_000, "the delay is that of the packet that was answered"


@pytest.mark.trio
async def test_a_late_answer_to_the_first_packet_counts_too():
    asked: list[bytes] = []

    def first(query: bytes) -> list[bytes]:
        asked.append(query)
        return [reply(asked[0])] if len(asked) == 2 else []

    async with saying(first) as port:
        result = await ask(f"ntp://127.0.0.1:{port}", timeout_ms=600)
    assert result.outcome == PASS
    assert result.latency_us is not None
    assert result.latency_us >= 290_000


@pytest.mark.trio
async def test_where_nobody_listens_is_told():
    result = await ask(f"ntp://127.0.0.1:{free_port()}")
    assert (result.outcome, result.detail) == (FAIL, "port unreachable, says 127.0.0.1")


@pytest.mark.trio
@pytest.mark.parametrize("target", ["ntp://", "ntp://a:99999", "ntp://[::1"])
async def test_what_is_no_target_is_this_nodes_mistake(target: str):
    assert (await ask(target)).outcome == ERROR
