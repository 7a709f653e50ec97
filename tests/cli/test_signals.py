"""What signals do to a node: never the wrong thing at the wrong moment, whoever sends them."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from demesh import limits
from demesh.cli import signals
from tests.e2e.harness import cannot_run, require

_WAITS = (
    "import sys; from demesh.cli.early import before_there_is_a_node; before_there_is_a_node();"
    "print('ready', flush=True); sys.stdin.read(); print('still here', flush=True)"
)


@contextmanager
def _waiting(*inside: str) -> Generator[subprocess.Popen[str]]:
    """A program that is about to become a node, until its standard input ends."""
    with subprocess.Popen(
        [*inside, sys.executable, "-c", _WAITS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                cannot_run(f"{inside} does not work here")
            yield process
        finally:
            process.kill()


def test_a_hang_up_before_there_is_a_node_does_nothing() -> None:
    with _waiting() as process:
        process.send_signal(signal.SIGHUP)
        assert process.communicate(timeout=20) == ("still here\n", None)
        assert process.returncode == 0


def test_the_first_process_of_a_container_can_be_ended_before_it_is_a_node() -> None:
    if os.geteuid() != 0:
        cannot_run("only root may begin a namespace of processes")
    with _waiting(require("unshare"), "--pid", "--fork") as parent:
        children = f"/proc/{parent.pid}/task/{parent.pid}/children"
        with open(children) as file:
            (first,) = map(int, file.read().split())
        os.kill(first, signal.SIGTERM)
        assert parent.wait(20) == 0


@pytest.fixture(autouse=True)
def handlers() -> Generator[None]:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes with which the process would have ended at once."""
    codes: list[int] = []
    monkeypatch.setattr("demesh.cli.signals.os._exit", codes.append)
    return codes


@pytest.mark.trio
async def test_only_who_asks_again_after_a_while_ends_a_node_without_its_farewell(
    ended: list[int], mock_clock: MockClock
) -> None:
    send, receive = trio.open_memory_channel[None](1)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(signals.obey, send, stop)
        await wait_all_tasks_blocked()

        async def signalled(*sent: signal.Signals) -> None:
            for each in sent:
                os.kill(os.getpid(), each)
            await wait_all_tasks_blocked(0.01)

        await signalled(signal.SIGHUP, signal.SIGHUP)
        receive.receive_nowait()
        assert not stop.is_set()
        stop.set()  # it leaves, as the API was asked for
        await signalled(signal.SIGTERM)
        assert ended == []
        await signalled(signal.SIGINT, signal.SIGTERM)
        assert ended == []
        mock_clock.jump(limits.END_AGAIN_SECONDS_MIN)
        await signalled(signal.SIGINT)
        assert ended == [130]
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_node_that_fails_is_not_made_to_end_well_by_a_signal(ended: list[int]) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(signals.obey, trio.open_memory_channel[None](1)[0], trio.Event())
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert {each: signal.getsignal(each) for each in before} == before


@pytest.mark.trio
async def test_a_signal_asks_to_stop(ended: list[int]) -> None:
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(signals.obey, trio.open_memory_channel[None](1)[0], stop)
        await wait_all_tasks_blocked()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        with trio.fail_after(10):
            await stop.wait()
        await wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    assert ended == []
    os.kill(os.getpid(), signal.SIGTERM)  # while the store is being closed
    assert ended == [0]
