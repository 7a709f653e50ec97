"""The TCP probe: what is sent, what is searched in the answer, and that nothing of either is told."""

import logging
import re
import socket

import pytest
import trio
import trio.testing

from demesh.curl import CurlEngine
from demesh.limits import DETAIL_BYTES_MAX, TCP_ANSWER_BYTES_MAX
from demesh.outcome import Outcome, ProbeResult
from demesh.pattern import Pattern
from demesh.probes.base import TYPE_OF_SCHEME, Expect
from demesh.probes.each_address import EachAddress
from demesh.probes.registry import Probes, Tools
from demesh.probes.resolving import Resolver
from demesh.probes.tcp import TcpProbe
from tests.certificates import Authority
from tests.probes.servers import DAY_MS, NOW_MS, Handle, fake_resolver, listening
from tests.probes.test_dialling import full_backlog
from tests.probes.tls_servers import probe, run, spec


def saying(*pieces: bytes, end: bool = True, linger: bytes = b"\0\0\0\0\0\0\0\0") -> Handle:
    """Says its pieces apart from each other, and then leaves or waits."""

    async def say(stream: trio.SocketStream) -> None:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            await stream.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if not end:
            await stream.receive_some()

    return say


async def asked(handle: Handle, timeout_ms: int = 5000, **more: object) -> ProbeResult:
    async with listening(handle) as port:
        return await run(f"tcp://127.0.0.1:{port}", timeout_ms, **more)


@pytest.mark.trio
async def test_a_connection_passes():
    result = await asked(saying(end=False))
    assert (result.outcome, result.detail, result.address) == (Outcome.PASS, "", "127.0.0.1")
    assert list(result.phases_us) == ["connect"]
    assert result.latency_us == result.phases_us["connect"] > 0
    assert (result.certificate_expires_s, result.status) == (None, None)


@pytest.mark.trio
async def test_no_connection_is_told_with_the_address_that_gave_none():
    with full_backlog() as (silent, _):
        timeout = await probe(fake_resolver({"shop.test": ["127.0.0.1"]}))(spec(f"tcp://shop.test:{silent}", 150))
    refused = await run("tcp://127.0.0.1:1")
    assert (timeout.outcome, timeout.address, list(timeout.phases_us)) == (Outcome.TIMEOUT, "127.0.0.1", ["dns"])
    assert timeout.detail == "no complete answer within 150 ms, still connecting"
    assert (refused.outcome, refused.detail, refused.address) == (Outcome.FAIL, "connection refused", "127.0.0.1")
    assert (refused.latency_us, refused.phases_us) == (None, {})


@pytest.mark.trio
async def test_a_name_that_is_none_is_told():
    no = socket.gaierror(socket.EAI_NONAME, "")
    result = await probe(fake_resolver({"shop.test": no}))(spec("tcp://shop.test:25"))
    assert (result.outcome, result.detail, result.address) == (Outcome.FAIL, "no such host", None)


@pytest.mark.trio
async def test_what_is_to_be_sent_is_sent_and_the_answer_searched():
    async def echo(stream: trio.SocketStream) -> None:
        await stream.send_all(b"you said " + await stream.receive_some())

    found = await asked(echo, send=b"PING\r\n\0", answer="^you said PING\r\n\0$")
    missed = await asked(echo, send=b"PING", answer="^PONG")
    sent_only = await asked(echo, send=b"PING")
    assert found.outcome == sent_only.outcome == Outcome.PASS
    assert list(found.phases_us) == ["connect", "first_byte", "transfer"]
    assert found.latency_us == sum(found.phases_us.values())
    assert missed.outcome == Outcome.MISMATCH
    assert re.fullmatch(r"answer does not match /\^PONG/: 13 characters \(hash [0-9a-f]{8}\)", missed.detail)


@pytest.mark.trio
async def test_a_match_ends_the_probe_whatever_the_target_does_next():
    with trio.fail_after(10):
        result = await asked(saying(b"220 re", b"ady\r\n", end=False), 30_000, answer="^220 ready")
    assert result.outcome == Outcome.PASS


@pytest.mark.trio
async def test_each_byte_that_is_no_text_is_one_sign():
    for answer in ("^.\ufffd{3}N\ufffd{2}\xfc$", "^S\ufffd"):
        result = await asked(saying(b"S\xff\xfe\x80N\xe2\x82\xc3\xbc"), answer=answer)
        assert result.outcome == Outcome.PASS, result


@pytest.mark.trio
@pytest.mark.parametrize(
    ("handle", "outcome", "detail"),
    [
        (saying(), Outcome.FAIL, "the connection was closed without an answer"),
        (saying(linger=b"\1\0\0\0\0\0\0\0"), Outcome.FAIL, "connection reset"),
        (saying(b"part", linger=b"\1\0\0\0\0\0\0\0"), Outcome.FAIL, "connection reset"),
        (saying(b"554 no\r\n"), Outcome.MISMATCH, "answer does not match /^220/: 8 characters (hash "),
        (saying(end=False), Outcome.TIMEOUT, "no complete answer within 200 ms, still waiting for the first byte"),
        (
            saying(b"554 no\r\n", end=False),
            Outcome.MISMATCH,
            "answer does not match /^220/ within 200 ms: 8 characters (hash ",
        ),
    ],
)
async def test_every_other_end_is_told_apart(handle: Handle, outcome: Outcome, detail: str):
    result = await asked(handle, 200 if b"within" in detail.encode() else 5000, answer="^220")
    assert (result.outcome, result.detail[: len(detail)]) == (outcome, detail)
    assert (result.latency_us is not None) == (outcome == Outcome.MISMATCH and "within" not in detail)


@pytest.mark.trio
async def test_an_answer_beyond_the_bound_is_cut_there():
    async def flood(stream: trio.SocketStream) -> None:
        while True:
            await stream.send_all(b"x" * 10_000)

    with trio.fail_after(10):
        result = await asked(flood, 30_000, answer="y")
    assert result.outcome == Outcome.MISMATCH
    assert result.detail.startswith(f"answer does not match /y/: {TCP_ANSWER_BYTES_MAX} characters")


@pytest.mark.trio
async def test_an_expression_that_takes_for_ever_ends_the_probe():
    with trio.fail_after(10):
        result = await asked(saying(b"a" * 40, end=False), 30_000, answer="^(a|aa)+(b|c)+$")
    assert result.outcome == Outcome.MISMATCH
    assert result.detail.startswith("answer takes too long to search for /^(a|aa)+(b|c)+$/: 40 characters")


@pytest.mark.trio
async def test_many_searches_together_are_bounded_too(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
):
    searched: list[int] = []

    def search(_: Pattern, text: str) -> bool:
        mock_clock.jump(0.02)
        searched.append(len(text))
        return False

    async def drip(stream: trio.SocketStream) -> None:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            await stream.send_all(b"x")
            await trio.testing.wait_all_tasks_blocked()

    monkeypatch.setattr(Pattern, "found_in", search)
    async with listening(drip) as port:
        result = await run(f"tcp://127.0.0.1:{port}", 300_000, answer="y")
    assert result.detail.startswith("answer takes too long to search for /y/")
    assert 20 <= len(searched) <= 30


@pytest.mark.trio
async def test_a_target_that_reads_nothing_is_a_timeout_near_the_deadline():
    async def read_nothing(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    started = trio.current_time()
    result = await asked(read_nothing, 200, send=b"x" * 30_000_000)
    assert (result.outcome, result.detail) == (Outcome.TIMEOUT, "no complete answer within 200 ms, still sending")
    assert 0.19 <= trio.current_time() - started < 3


@pytest.mark.trio
async def test_the_times_are_judged():
    slow = await asked(saying(b"hello"), answer="hello", expect=Expect(response_time_ms=0, answer=Pattern.compile("x")))
    assert slow.outcome == Outcome.MISMATCH
    assert re.fullmatch(
        r"answer does not match /x/: 5 characters \(hash [0-9a-f]{8}\); response took \d+ ms, expected at most 0 ms",
        slow.detail,
    )
    plain = await asked(saying(), expect=Expect(cert_expires_in_ms=DAY_MS))
    assert (plain.outcome, plain.detail) == (Outcome.MISMATCH, "no certificate whose expiry can be read")


@pytest.mark.trio
async def test_the_answer_is_shown_to_those_who_ask_for_it_and_a_detail_keeps_its_bound():
    shown = await asked(saying(b"554 busy"), answer="^220", show_actual=True)
    assert shown.detail == "answer does not match /^220/: '554 busy'"
    long = await asked(saying("ü".encode() * 1000), answer="é" * 500, show_actual=True)
    assert len(long.detail.encode()) <= DETAIL_BYTES_MAX


@pytest.mark.trio
async def test_equal_answers_are_seen_to_be_equal_within_a_mesh_only():
    async with listening(saying(b"554 busy")) as port:
        one, same, other = [
            (await run(f"tcp://127.0.0.1:{port}", answer="^220", actual_key=key)).detail
            for key in (b"mesh", b"mesh", b"another")
        ]
    assert one == same != other


@pytest.mark.trio
async def test_no_secret_that_is_sent_or_comes_back_is_in_a_result_or_a_log(
    authority: Authority, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)

    async def echo(stream: trio.SocketStream) -> None:
        await stream.send_all(b"s3cret 220 " + await stream.receive_some() + b"\r\n")

    async def echo_under_tls(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        await secure.send_all(b"s3cret " + await secure.receive_some())

    context = authority.server("secret")
    async with listening(echo) as port, listening(echo_under_tls) as tls_port:
        unmet: dict[str, object] = {"send": b"AUTH s3cret\r\n", "answer": "not there"}
        cases: list[tuple[str, dict[str, object]]] = [
            (target, unmet | more)
            for target in (f"tcp://me:s3cret@127.0.0.1:{port}/s3cret?s3cret#s3cret", f"tcp://127.0.0.1:{tls_port}")
            for more in ({}, {"starttls": "smtp"}, {"starttls": "xmpp", "server_name": "s3cret"})
        ]
        cases += [
            (f"tls://127.0.0.1:{port}", unmet),
            (f"tls://127.0.0.1:{tls_port}", unmet | {"ca_file": authority.ca_file}),
            ("tls://s3cret@127.0.0.1:1", unmet),
            ("tcp://s3cret:99999", unmet),
            ("tls://127.0.0.1:1", unmet | {"ca_file": "/s3cret.pem"}),
        ]
        results = [await run(target, 500, **more) for target, more in cases]
    assert all(result.outcome != Outcome.PASS and result.detail for result in results), results
    assert "s3cret" not in repr(results)
    assert "s3cret" not in caplog.text


@pytest.mark.trio
async def test_a_cancelled_probe_leaves_no_connection_open():
    connected, ended = trio.Event(), trio.Event()

    async def watch(stream: trio.SocketStream) -> None:
        connected.set()
        while await stream.receive_some():
            pass
        ended.set()

    async with listening(watch) as port, trio.open_nursery() as nursery:
        for target in (f"tcp://127.0.0.1:{port}", f"tls://127.0.0.1:{port}"):
            nursery.start_soon(probe(), spec(target, 60_000, answer="never"))
            await connected.wait()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True), trio.fail_after(10):
            await ended.wait()


@pytest.mark.trio
async def test_a_target_without_a_port_is_this_nodes_error():
    result = await run("tcp://127.0.0.1")
    assert (result.outcome, result.detail) == (Outcome.ERROR, "the target names no port")


def test_targets_of_these_schemes_lead_to_this_probe():
    probes = Probes(Tools(CurlEngine(), lambda: NOW_MS, Resolver()))
    probe = probes[TYPE_OF_SCHEME["tls"]]
    assert isinstance(probe, EachAddress)
    assert isinstance(probe.usual, TcpProbe)
    assert probes[TYPE_OF_SCHEME["tls"]] is probes[TYPE_OF_SCHEME["tcp"]], "they share their TLS contexts"
