"""The HTTP probe against servers that fail: who is blamed, and what is said."""

import errno
import os
import re
import resource
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from demesh.curl import CurlEngine
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.http import HttpProbe
from demesh.probes.resolving import Resolver
from tests.certificates import Authority
from tests.probes.servers import (
    DAY_MS,
    NOW_MS,
    fake_resolver,
    http,
    listening,
    probing,
    serving,
    spec,
)


@pytest.mark.trio
async def test_a_refused_connection_fails():
    async with probing() as probe:
        result = await probe(spec("http://127.0.0.1:1/"))
    assert (result.outcome, result.detail, result.address) == (Outcome.FAIL, "connection refused", "127.0.0.1")
    assert result.latency_us is None


@pytest.mark.trio
async def test_a_certificate_is_refused_with_its_reason_and_its_expiry(authority: Authority):
    day_s = DAY_MS // 1000
    cases = [
        ("expired", authority.server("expired", days=-7), -7 * day_s, "the certificate has expired"),
        ("wrong", authority.server("wrong", host="example.org"), 90 * day_s, "the certificate is for another"),
        ("self", authority.server("self", self_signed=True), 90 * day_s, "the certificate is self-signed"),
    ]
    async with probing() as probe:
        for name, tls, expires_in_s, detail in cases:
            async with serving(tls=tls) as server:
                result = await probe(spec(server.url(scheme="https"), ca_file=authority.ca_file))
                assert result.outcome == Outcome.FAIL, (name, result)
                assert result.detail.startswith(detail), (name, result)
                assert result.certificate_expires_s == NOW_MS // 1000 + expires_in_s, (name, result)
                assert server.requests == [], "the handshake for the certificates alone must say nothing"


@pytest.mark.trio
async def test_the_system_store_is_believed_by_default_and_nothing_if_so_wished(authority: Authority):
    async with serving(tls=authority.server("private")) as server, probing() as probe:
        believed = await probe(spec(server.url(scheme="https")))
        unverified = await probe(spec(server.url(scheme="https"), verify_tls=False))
    assert (believed.outcome, believed.detail) == (Outcome.FAIL, "the certificate's issuer is not trusted")
    assert unverified.outcome == Outcome.PASS
    assert unverified.certificate_expires_s == believed.certificate_expires_s is not None


@pytest.mark.trio
async def test_a_server_without_tls_fails_the_handshake():
    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example.org ESMTP\r\n")

    async with listening(greet) as port, probing() as probe:
        result = await probe(spec(f"https://127.0.0.1:{port}/"))
    assert (result.outcome, result.detail) == (Outcome.FAIL, "the TLS handshake failed")


@pytest.mark.trio
@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP"),
        (http(b"x" * 10)[:-5], "the connection was closed before the answer was complete"),
    ],
)
async def test_a_broken_answer_fails(answer: bytes, detail: str):
    async with serving(lambda _: answer) as server, probing() as probe:
        result = await probe(spec(server.url()))
    assert (result.outcome, result.detail) == (Outcome.FAIL, detail)


@pytest.mark.trio
async def test_a_reset_connection_fails():
    async def reset(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async with listening(reset) as port, probing() as probe:
        result = await probe(spec(f"http://127.0.0.1:{port}/"))
    assert (result.outcome, result.detail) == (Outcome.FAIL, "connection reset")


@pytest.mark.trio
async def test_a_name_is_resolved_and_kept_in_the_request(authority: Authority):
    tls = authority.server("named", host="shop.test")
    async with serving(tls=tls) as server, probing(fake_resolver({"shop.test": ["127.0.0.1"]})) as probe:
        result = await probe(spec(server.url(scheme="https", host="shop.test"), ca_file=authority.ca_file))
        assert f"Host: shop.test:{server.port}".encode() in server.requests[0]
    assert (result.outcome, result.address) == (Outcome.PASS, "127.0.0.1"), result


@pytest.mark.trio
async def test_the_other_family_is_tried_when_the_preferred_one_gives_no_connection():
    async with serving() as server, probing(fake_resolver({"shop.test": ["::1", "127.0.0.1"]})) as probe:
        result = await probe(spec(server.url(host="shop.test")))
    assert (result.outcome, result.address) == (Outcome.PASS, "127.0.0.1")


@pytest.mark.trio
async def test_an_address_that_answers_wrongly_is_not_replaced_by_another():
    async with (
        serving(lambda _: http(b"", 500), host="::1") as broken,
        probing(fake_resolver({"shop.test": ["::1", "127.0.0.1"]})) as probe,
    ):
        result = await probe(spec(broken.url(host="shop.test")))
    assert (result.outcome, result.status, result.address) == (Outcome.MISMATCH, 500, "::1")


@pytest.mark.trio
async def test_failed_lookups_are_blamed_on_whom_they_belong_to():
    no, again = socket.gaierror(socket.EAI_NONAME, ""), socket.gaierror(socket.EAI_AGAIN, "")
    cases: list[tuple[dict[str, list[str] | Exception], Outcome, str]] = [
        ({"shop.test": no}, Outcome.FAIL, "no such host"),
        ({"shop.test": UnicodeError()}, Outcome.FAIL, "no such host"),
        (
            {"shop.test": again, "demesh.invalid": no},
            Outcome.FAIL,
            "the host name could not be resolved, though the resolver answers",
        ),
        ({"shop.test": again, "demesh.invalid": again}, Outcome.ERROR, "no resolver answers this node"),
        ({"shop.test": OSError(errno.EMFILE, "")}, Outcome.ERROR, "this node is out of file descriptors"),
    ]
    for answers, outcome, detail in cases:
        async with probing(fake_resolver(answers)) as probe:
            result = await probe(spec("http://shop.test/?token=s3cret"))
        assert (result.outcome, result.detail) == (outcome, detail)


@pytest.mark.trio
async def test_a_lookup_without_end_is_a_timeout_and_delays_no_other():
    hanging = trio.Event()
    release = threading.Event()

    def lookup(host: str) -> list[str]:
        if host == "hanging.test":
            release.wait()
        if host == "demesh.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "")
        return ["127.0.0.1"]

    async with serving() as server, probing(Resolver(lookup)) as probe, trio.open_nursery() as nursery:
        results: list[ProbeResult] = []

        async def hang() -> None:
            hanging.set()
            results.append(await probe(spec("http://hanging.test/", 3_000)))

        for _ in range(30):
            nursery.start_soon(hang)
        await hanging.wait()
        with trio.fail_after(2.5):
            assert (await probe(spec(server.url(host="shop.test")))).outcome == Outcome.PASS
        assert results == []
    release.set()
    assert {r.outcome for r in results} == {Outcome.TIMEOUT}
    assert all(re.fullmatch(r"the host name was not resolved within (3|2\.9\d) s", r.detail) for r in results), results[
        0
    ]


@pytest.mark.trio
async def test_silence_is_a_timeout_near_the_deadline_and_delays_no_other():
    async with (
        serving(lambda _: None) as silent,
        serving() as server,
        probing() as probe,
        trio.open_nursery() as nursery,
    ):
        started = trio.current_time()
        results: list[tuple[ProbeResult, float]] = []

        async def wait() -> None:
            results.append((await probe(spec(silent.url(), 1_500)), trio.current_time() - started))

        nursery.start_soon(wait)
        await silent.connected.wait()
        with trio.fail_after(1.4):
            assert (await probe(spec(server.url()))).outcome == Outcome.PASS
        assert results == []
    [(result, took_s)] = results
    assert result.outcome == Outcome.TIMEOUT
    assert result.detail == "no complete answer within 1500 ms, still waiting for the first byte"
    assert 1.49 <= took_s < 3


@pytest.mark.trio
async def test_a_timeout_says_how_far_it_came(authority: Authority):
    async with probing() as probe:
        async with serving(lambda _: http(b"x" * 10)[:-5], keep_open=True) as server:
            body = await probe(spec(server.url(), 1_000))
            tls = await probe(spec(server.url(scheme="https"), 1_000))
        full = socket.create_server(("127.0.0.1", 0), backlog=0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]  # a full backlog: further connection attempts are not answered
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        connect = await probe(spec(f"http://127.0.0.1:{address[1]}/", 1_000))
        for client in (*waiting, full):
            client.close()
    assert {result.outcome for result in (body, tls, connect)} == {Outcome.TIMEOUT}
    assert body.detail == "no complete answer within 1000 ms, still reading the answer"
    assert body.status == 200
    assert tls.detail == "no complete answer within 1000 ms, still in the TLS handshake"
    assert connect.detail == "no complete answer within 1000 ms, still connecting"


@pytest.mark.trio
async def test_a_cancelled_probe_leaves_nothing_under_way():
    engine = CurlEngine()
    async with serving(lambda _: None) as server, trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        probe = HttpProbe(engine, lambda: NOW_MS)
        async with trio.open_nursery() as probes:
            probes.start_soon(probe, spec(server.url()))
            await server.connected.wait()
            probes.cancel_scope.cancel()
        assert (engine.transfers_in_flight, engine.descriptors_watched) == (0, 0)
        nursery.cancel_scope.cancel()


@contextmanager
def no_descriptors_left() -> Generator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(int(fd) for fd in os.listdir("/proc/self/fd")) + 1, hard))
    filler: list[int] = []
    try:
        while True:
            try:
                filler.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        yield
    finally:
        for fd in filler:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.trio
async def test_running_out_of_descriptors_is_this_nodes_error():
    async with serving() as server, probing() as probe:
        assert (await probe(spec(server.url()))).outcome == Outcome.PASS
        with no_descriptors_left():
            result = await probe(spec(server.url()))
    assert (result.outcome, result.detail) == (Outcome.ERROR, "this node is out of file descriptors")


@pytest.mark.trio
async def test_no_route_is_this_nodes_error():
    async with probing() as probe:
        result = await probe(
            spec("http://[ff0e::1]:1/", 500)
        )  # multicast: TCP has no route there, whatever the network
    assert (result.outcome, result.address) == (Outcome.ERROR, "ff0e::1"), result
    assert result.detail.startswith("no network")


@pytest.mark.trio
async def test_no_route_in_one_family_excuses_no_refusal_in_the_other():
    for addresses in (["ff0e::1", "127.0.0.1"], ["127.0.0.1", "ff0e::1"]):
        async with probing(fake_resolver({"shop.test": addresses})) as probe:
            result = await probe(spec("http://shop.test:1/"))
        assert (result.outcome, result.address) == (Outcome.FAIL, "127.0.0.1")


@pytest.mark.trio
async def test_a_ca_file_that_is_missing_or_none_is_this_nodes_error(authority: Authority, tmp_path: Path):
    (tmp_path / "none.pem").write_text("no certificate")
    async with serving(tls=authority.server("unread")) as server, probing() as probe:
        for name in ("missing.pem", "none.pem"):
            result = await probe(spec(server.url(scheme="https"), ca_file=str(tmp_path / name)))
            assert result.outcome == Outcome.ERROR
            assert result.detail == "the file of CA certificates cannot be read"


@pytest.mark.trio
async def test_an_engine_that_ended_is_this_nodes_error():
    async with probing() as probe:
        pass
    result = await probe(spec("http://127.0.0.1:1/"))
    assert (result.outcome, result.detail) == (Outcome.ERROR, "this node's HTTP engine is not running")


@pytest.mark.trio
@pytest.mark.parametrize(
    "target", ["http://", "ftp://127.0.0.1/", "http://[::1/", "http://127.0.0.1:99999/", "http:\x00//x"]
)
async def test_a_target_that_cannot_be_asked_is_an_error(target: str):
    async with probing() as probe:
        assert (await probe(spec(target))).outcome == Outcome.ERROR
