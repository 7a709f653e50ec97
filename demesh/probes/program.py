"""Running one program: no shell, a process group of its own, bounded output, and an end.

Guarantees: the program reads nothing and inherits no descriptor; what is left of its group when it has ended, or when its
time is over, is killed (SIGTERM, then SIGKILL) and the program reaped, so that neither zombies nor descriptors stay; this is
over END_SECONDS_MAX after the deadline. Starting happens in a thread that can be left behind: on a file system that does
not answer, even that hangs.

Not guaranteed: that a process which left the group (a daemon) ends; that a program which is stuck in the kernel ends: it is
told by `Stuck`, kept count of by its caller, and reaped later. If the node itself is killed, what it runs goes on.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from demesh import limits
from demesh.probes.threads import Threads

_TERMINATE_SECONDS = 0.2  # between SIGTERM and SIGKILL
_KILL_SECONDS = 0.1
_DRAIN_SECONDS = 0.1  # for output that is on its way, while a process that was left running holds the pipe open
END_SECONDS_MAX = _TERMINATE_SECONDS + _KILL_SECONDS
_CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Ended:
    """`code` as in `subprocess`: the exit code, or the negative number of the signal. `cut`: there was more output."""

    code: int
    output: bytes
    cut: bool
    took_us: int


class Stuck(Exception):
    """A program did not end even after SIGKILL. `process` can be polled to see whether it has."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        super().__init__("the program cannot be killed")
        self.process = process


async def run_program(
    threads: Threads,
    key: Hashable,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    directory: str | None,
    seconds: float,
) -> Ended | None:
    """None when it did not end within `seconds`, and was killed. `key` is as in `Threads.run`.

    Raises OSError, ValueError, NoThread or Stuck.
    """
    began = trio.current_time()
    with trio.move_on_after(seconds):
        process = await _start(threads, key, argv, env, directory)
        try:
            output = await _output_until_exit(process)
            took_us = round((trio.current_time() - began) * 1_000_000)
        finally:
            with trio.CancelScope(shield=True):
                await _end(process)
        most = limits.COMMAND_OUTPUT_BYTES_MAX
        return Ended(process.returncode, bytes(output[:most]), len(output) > most, took_us)
    return None


@dataclass(slots=True)
class _Start:
    """Hands a process from the thread that starts it to whoever still wants it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    unwanted: bool = False
    process: "subprocess.Popen[bytes] | None" = None


async def _start(
    threads: Threads, key: Hashable, argv: Sequence[str], env: Mapping[str, str], directory: str | None
) -> "subprocess.Popen[bytes]":
    start = _Start()

    def begin() -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd=directory,
            env=env,
            start_new_session=True,
        )
        with start.lock:
            start.process = process
            unwanted = start.unwanted
        if unwanted:
            _signal_group(process, signal.SIGKILL)
            with process:  # closes its output and waits for it
                pass
        return process

    try:
        return await threads.run(key, begin)
    except trio.Cancelled:
        with start.lock:
            start.unwanted = True
        if start.process is None:
            raise
        return start.process  # it began just now; the cancellation comes up again at once, and ends it


async def _output_until_exit(process: "subprocess.Popen[bytes]") -> bytearray:
    """One byte more than the bound at most. The process is not reaped, so that its number stays its own."""
    output = bytearray()

    async def read() -> None:
        assert process.stdout is not None
        stream = trio.lowlevel.FdStream(os.dup(process.stdout.fileno()))
        async with stream:
            while chunk := await stream.receive_some(_CHUNK_BYTES):
                output.extend(chunk[: limits.COMMAND_OUTPUT_BYTES_MAX + 1 - len(output)])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await _exit(process)
        nursery.cancel_scope.deadline = trio.current_time() + _DRAIN_SECONDS
    return output


async def _exit(process: "subprocess.Popen[bytes]") -> None:
    """Wait until the process has ended, without reaping it.

    That the descriptor is readable is not believed: a child that is just being forked holds the descriptors that were closed
    meanwhile, so that epoll may tell of one program under the number of another's descriptor.
    """
    descriptor = os.pidfd_open(process.pid)
    try:
        while not _has_ended(process):
            await trio.lowlevel.wait_readable(descriptor)
    finally:
        trio.lowlevel.notify_closing(descriptor)
        os.close(descriptor)


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


async def _end(process: "subprocess.Popen[bytes]") -> None:
    """See to it that the group ends, and reap the process. Raises Stuck."""
    assert process.stdout is not None
    process.stdout.close()
    for number, seconds in ((signal.SIGTERM, _TERMINATE_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        _signal_group(process, number)
        with trio.move_on_after(seconds) as waited:
            await _exit(process)
        if not waited.cancelled_caught:
            _signal_group(process, signal.SIGKILL)
            process.wait()
            return
    raise Stuck(process)


def _signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Only for a process that has not been reaped. One that runs as somebody else cannot be signalled."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
