"""Connecting: which address, whose fault, and how long it took by whose clock."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest
import trio
import trio.testing

from demesh.failure import Failed
from demesh.outcome import Outcome
from demesh.probes.base import ProbeSpec
from demesh.probes.dialling import Place, Progress, dial, place_of
from demesh.probes.resolving import Resolver
from tests.e2e.harness import cannot_run, require
from tests.probes.servers import fake_resolver, listening, port_at
from tests.probes.test_http_failures import no_descriptors_left

HOST = "shop.test"


async def ignore(stream: trio.SocketStream) -> None:
    await stream.receive_some()


async def dialled(target: str, resolver: Resolver | None = None, timeout_ms: int = 5000, **more: object) -> Progress:
    """What was learnt; the connection is closed at once."""
    spec = ProbeSpec("tcp", target, timeout_ms, **more)  # type: ignore[arg-type]
    progress = Progress()
    deadline = trio.current_time() + timeout_ms / 1000
    async with await dial(place_of(target), spec, resolver or Resolver(), deadline, progress):
        return progress


@contextlib.contextmanager
def full_backlog(host: str = "127.0.0.1") -> Generator[tuple[int, socket.socket]]:
    """A port where connection attempts are not answered, and its listener, which can make room by accepting."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((host, port_at(host)), family=family, backlog=0))
        for _ in range(4):
            client = stack.enter_context(socket.socket(family))
            client.setblocking(False)
            client.connect_ex(listener.getsockname()[:2])
        yield listener.getsockname()[1], listener


def test_a_place_is_read_from_a_target():
    assert place_of("tcp://Example.ORG:25") == Place("example.org", 25, 0)
    assert place_of("tls://bücher.example:993") == Place("xn--bcher-kva.example", 993, 0)
    assert place_of("tcp://127.0.0.1:1") == Place("127.0.0.1", 1, 4)
    assert place_of("tcp://[fe80::1%lo]:1") == Place("fe80::1%lo", 1, 6)


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        ("tcp://example.org", "the target names no port"),
        ("tcp://example.org:0", "the target names no port"),
        ("tcp://:25", "the target names no host"),
        ("tcp://[::1:25", "the target is not a URL that can be asked"),
        ("tcp://example.org:99999", "the target is not a URL that can be asked"),
        (f"tcp://{'x' * 70}.org:25", "the target is not a URL that can be asked"),
    ],
)
def test_a_target_that_cannot_be_dialled_is_this_nodes_error(target: str, detail: str):
    with pytest.raises(Failed) as failed:
        place_of(target)
    assert (failed.value.outcome, str(failed.value)) == (Outcome.ERROR, detail)


@pytest.mark.trio
async def test_an_address_is_dialled_without_a_lookup_and_a_name_with_one():
    def lookup(host: str) -> list[str]:
        assert host == HOST
        return ["127.0.0.1"]

    async with listening(ignore) as port:
        by_address = await dialled(f"tcp://127.0.0.1:{port}", Resolver(lookup))
        by_name = await dialled(f"tcp://{HOST}:{port}", Resolver(lookup))
    assert (by_address.address, list(by_address.phases_us)) == ("127.0.0.1", ["connect"])
    assert (by_name.address, list(by_name.phases_us)) == ("127.0.0.1", ["dns", "connect"])


@pytest.mark.trio
async def test_ipv6_is_dialled():
    async with listening(ignore, host="::1") as port:
        assert (await dialled(f"tcp://[::1]:{port}")).address == "::1"
        assert (await dialled(f"tcp://{HOST}:{port}", fake_resolver({HOST: ["::1"]}))).address == "::1"


@pytest.mark.trio
async def test_the_other_family_is_tried_only_when_the_preferred_one_gives_no_connection():
    async with listening(ignore) as port, listening(ignore, host="::1") as both_port:
        both = fake_resolver({HOST: ["::1", "127.0.0.1"]})
        assert (await dialled(f"tcp://{HOST}:{port}", both)).address == "127.0.0.1"
        assert (await dialled(f"tcp://{HOST}:{both_port}", both)).address == "::1"


@pytest.mark.trio
async def test_a_silent_preferred_address_leaves_the_other_family_half_of_the_time():
    with full_backlog("::1") as (port, _):
        listener = socket.create_server(("127.0.0.1", port))
        started = trio.current_time()
        progress = await dialled(f"tcp://{HOST}:{port}", fake_resolver({HOST: ["::1", "127.0.0.1"]}), 2_000)
        took_s = trio.current_time() - started
        listener.close()
    assert progress.address == "127.0.0.1"
    assert 0.99 <= took_s < 2
    assert progress.phases_us["connect"] < 900_000, "the phase is about the address that is recorded"


@pytest.mark.trio
async def test_only_the_family_asked_for_is_tried():
    async with listening(ignore) as port:
        resolver = fake_resolver({HOST: ["::1", "127.0.0.1"], "four.test": ["127.0.0.1"]})
        assert (await dialled(f"tcp://{HOST}:{port}", resolver, ip_version=4)).address == "127.0.0.1"
        for target, version, outcome, detail in (
            (f"tcp://{HOST}:{port}", 6, Outcome.FAIL, "connection refused"),
            (f"tcp://four.test:{port}", 6, Outcome.FAIL, "the host name has no IPv6 address"),
            (
                f"tcp://127.0.0.1:{port}",
                6,
                Outcome.ERROR,
                "the target is an IPv4 address, and only IPv6 may be used",
            ),
        ):
            with pytest.raises(Failed) as failed:
                await dialled(target, resolver, ip_version=version)
            assert (failed.value.outcome, str(failed.value)) == (outcome, detail)


@pytest.mark.trio
async def test_a_refused_port_a_silent_one_and_a_missing_route_are_told_apart():
    with full_backlog() as (silent, _):
        for target, outcome, detail in (
            ("tcp://127.0.0.1:1", Outcome.FAIL, "connection refused"),
            (f"tcp://127.0.0.1:{silent}", Outcome.TIMEOUT, "no complete answer within 150 ms, still connecting"),
            ("tcp://[ff0e::1]:1", Outcome.ERROR, "no network: this node has no route to the address"),
            ("tcp://[fe80::1%none]:1", Outcome.ERROR, "no network: this node has no such interface"),
        ):
            with pytest.raises(Failed) as failed:
                await dialled(target, timeout_ms=150)
            assert (failed.value.outcome, str(failed.value)) == (outcome, detail)


@pytest.mark.trio
async def test_no_route_in_one_family_excuses_no_refusal_in_the_other():
    for addresses in (["ff0e::1", "127.0.0.1"], ["127.0.0.1", "ff0e::1"]):
        progress = Progress()
        spec = ProbeSpec("tcp", f"tcp://{HOST}:1", 5000)
        deadline = trio.current_time() + 5
        with pytest.raises(Failed, match=r"^connection refused$"):
            await dial(place_of(spec.target), spec, fake_resolver({HOST: addresses}), deadline, progress)
        assert progress.address == "127.0.0.1"


@pytest.mark.trio
async def test_running_out_of_descriptors_is_this_nodes_error():
    async with listening(ignore) as port:
        with no_descriptors_left(), pytest.raises(Failed, match=r"^this node is out of file descriptors$") as failed:
            await dialled(f"tcp://127.0.0.1:{port}")
    assert failed.value.outcome == Outcome.ERROR


@pytest.mark.trio
async def test_the_round_trip_is_the_kernels_however_late_this_process_is():
    held_s = 0.03

    async def hold_the_loop() -> None:
        while True:
            time.sleep(held_s)  # noqa: ASYNC251 what a busy node does to its loop
            await trio.lowlevel.checkpoint()

    async with listening(ignore) as port, trio.open_nursery() as nursery:
        nursery.start_soon(hold_the_loop)
        started = trio.current_time()
        progress = await dialled(f"tcp://127.0.0.1:{port}")
        seen_s = trio.current_time() - started
        nursery.cancel_scope.cancel()
    assert seen_s >= held_s
    assert 0 < progress.phases_us["connect"] < held_s * 1_000_000 / 3


@pytest.mark.trio
async def test_a_connection_whose_first_packet_was_lost_took_as_long_as_it_took():
    with full_backlog() as (port, listener):
        async with trio.open_nursery() as nursery:

            async def make_room() -> None:
                await trio.testing.wait_all_tasks_blocked()  # the first packet has been sent, and dropped
                for _ in range(2):
                    listener.accept()[0].close()

            nursery.start_soon(make_room)
            progress = await dialled(f"tcp://127.0.0.1:{port}")
    assert progress.phases_us["connect"] > 500_000, "the kernel sends the lost packet again after a second"


_SELF_CONNECT = """
import socket, sys, trio
from pathlib import Path
from tests.probes.test_dialling import dialled

Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40000")
with socket.socket() as bare:
    assert bare.connect_ex(("127.0.0.1", 40000)) == 0, "no self-connection on this kernel"
    bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")  # no TIME_WAIT
try:
    trio.run(dialled, "tcp://127.0.0.1:40000")
except Exception as error:
    print(error)
"""


def test_a_connection_to_itself_is_none():
    """Who dials an unused port of its own machine can get that very port as its own end, and TCP connects the two."""
    require("ip")
    inside = ["sh", "-c", 'ip link set lo up && exec "$0" -c "$1"', sys.executable, _SELF_CONNECT]
    ran = subprocess.run(
        [require("unshare"), "-n", *inside],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if "Operation not permitted" in ran.stderr:
        cannot_run("may not make a network namespace here")
    assert ran.stdout == "connection refused\n", ran
