"""The command probe, on real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from demesh import limits
from demesh.outcome import Outcome, ProbeResult
from demesh.pattern import Pattern
from demesh.probes import command, program
from demesh.probes.base import CommandOptions, Expect, ProbeSpec
from demesh.probes.command import CommandProbe
from demesh.probes.threads import Threads
from tests.e2e.harness import require

_THREADS = 32
_PLUGINS = "/usr/lib/nagios/plugins"


def _spec(*argv: str, timeout_ms: int = 10_000, expect: Expect | None = None, **options: Any) -> ProbeSpec:
    return ProbeSpec("command", "", timeout_ms, expect=expect or Expect(), options=CommandOptions(argv=argv, **options))


def _sh(script: str, **changed: Any) -> ProbeSpec:
    return _spec("/bin/sh", "-c", script, **changed)


async def _run(spec: ProbeSpec) -> ProbeResult:
    with trio.fail_after(20):
        return await CommandProbe()(spec)


_BEFORE: set[int] = set()
"""What other tests have left running."""


@pytest.fixture(autouse=True)
def before() -> None:
    _BEFORE.update(_children())


def _children() -> list[int]:
    """The children of this process, those that ended and were not reaped among them."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended since
            found.update(map(int, (task / "children").read_text().split()))
    return sorted(found - _BEFORE)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _lives(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


async def _until(condition: Callable[[], object]) -> None:
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110 nobody tells what happens to the child of another
            await trio.sleep(0.01)


async def _until_gone(pid: int) -> None:
    await _until(lambda: not _lives(pid))


@pytest.mark.trio
@pytest.mark.parametrize(
    ("script", "outcome", "detail"),
    [
        ("echo 'OK - all well | time=1s'; exit 0", Outcome.PASS, ""),
        ("echo 'WARNING - disk 91% | /=91%;90;95'; exit 1", Outcome.MISMATCH, "WARNING - disk 91%"),
        ("echo 'CRITICAL - no route'; echo 'more text'; exit 2", Outcome.FAIL, "CRITICAL - no route"),
        ("echo 'UNKNOWN - no such option'; exit 3", Outcome.ERROR, "UNKNOWN - no such option"),
        ("exit 1", Outcome.MISMATCH, "the command answered WARNING, and no more"),
        ("exit 2", Outcome.FAIL, "the command answered CRITICAL, and no more"),
        ("exit 3", Outcome.ERROR, "the command answered UNKNOWN, and no more"),
        ("echo sesame; exit 42", Outcome.ERROR, "the command ended with exit code 42: not one that a plug-in gives"),
        (
            "no-such-program-here",
            Outcome.ERROR,
            "the command ended with exit code 127: a program that it needs was not found",
        ),
        (
            "/etc/passwd",
            Outcome.ERROR,
            "the command ended with exit code 126: a program that it needs cannot be executed",
        ),
        ("kill -SEGV $$", Outcome.ERROR, "the command was ended by SIGSEGV"),
        ("printf 'bad\\033[31m\\a line\\n'; exit 2", Outcome.FAIL, "bad [31m  line"),
        ("printf '\\377\\376'; exit 2", Outcome.FAIL, "\ufffd\ufffd"),
        ("echo secret >&2; exit 2", Outcome.FAIL, "the command answered CRITICAL, and no more"),
    ],
)
async def test_the_exit_code_decides_and_the_first_line_says_why(script: str, outcome: Outcome, detail: str) -> None:
    result = await _run(_sh(script))
    assert (result.outcome, result.detail) == (outcome, detail)


@pytest.mark.trio
async def test_the_latency_is_what_the_plugin_measured_else_how_long_it_took() -> None:
    measured = await _run(_sh("echo 'OK | size=3B time=0.25s;;;0;10'"))
    assert measured.latency_us == 250_000
    echo = await _run(_sh("echo 'PING OK | rta=1.5ms;;;; pl=0%'"))
    assert echo.latency_us == 1_500
    taken = await _run(_sh("echo OK"))
    assert taken.latency_us is not None
    assert 0 < taken.latency_us < 10_000_000
    assert (await _run(_sh("exit 3"))).latency_us is None


@pytest.mark.trio
@pytest.mark.parametrize(
    ("argv", "detail"),
    [
        (("/no/such/program",), "cannot start: No such file or directory"),
        (("no-such-program-here",), "cannot start: No such file or directory"),
        (("/etc/passwd",), "cannot start: Permission denied"),
        (
            ("/bin/echo", "nul\0"),
            "the command cannot be started: an argument or its environment holds a null character",
        ),
    ],
)
async def test_a_command_that_cannot_be_started_is_this_nodes_fault(argv: tuple[str, ...], detail: str) -> None:
    result = await _run(_spec(*argv))
    assert (result.outcome, result.detail) == (Outcome.ERROR, detail)


@pytest.mark.trio
async def test_a_directory_that_is_missing_is_named_as_such() -> None:
    result = await _run(_spec("/bin/true", directory="/no/such/directory"))
    assert (result.outcome, result.detail) == (Outcome.ERROR, "the directory cannot be used: No such file or directory")


@pytest.mark.trio
@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ({"outcome": "pass", "detail": "fine", "latency_ms": 1.5}, ProbeResult(Outcome.PASS, 1_500)),
        ({"outcome": "fail", "detail": "no\nsecond"}, (Outcome.FAIL, "no")),
        (
            {"outcome": "mismatch", "latency_ms": 3},
            ProbeResult(Outcome.MISMATCH, 3_000, "it said mismatch, and no more"),
        ),
        ({"outcome": "error", "detail": "no credentials"}, ProbeResult(Outcome.ERROR, None, "no credentials")),
        ({"outcome": "timeout"}, "its outcome is none of pass, fail, mismatch and error"),
        ({"outcome": ["pass"]}, "its outcome is none of pass, fail, mismatch and error"),
        ({}, "its outcome is none of pass, fail, mismatch and error"),
        ({"outcome": "pass", "detail": 3}, "its detail is not text"),
        ({"outcome": "pass", "latency_ms": "3"}, "its latency_ms is not a number"),
        ({"outcome": "pass", "latency_ms": True}, "its latency_ms is not a number"),
        ({"outcome": "pass", "latency_ms": -1}, "its latency_ms is not between 0 and a day"),
        ({"outcome": "pass", "latency_ms": float("nan")}, "its latency_ms is not between 0 and a day"),
        ({"outcome": "pass", "latency_ms": 10**400}, "its latency_ms is not between 0 and a day"),
        ({"outcome": "pass", "password": "sesame"}, "it has 1 more than outcome, detail and latency_ms"),
    ],
)
async def test_json_is_taken_at_its_word_if_it_has_the_right_form(
    tmp_path: Path, printed: object, expected: object
) -> None:
    answer = tmp_path / "answer"
    answer.write_text(json.dumps(printed))
    result = await _run(_spec("/bin/cat", str(answer), output="json"))
    match expected:
        case ProbeResult():
            assert result == expected
        case (outcome, detail):
            assert (result.outcome, result.detail) == (outcome, detail)
        case _:
            assert result.outcome is Outcome.ERROR
            assert result.detail == f"what the command printed is no answer: {expected}"


@pytest.mark.trio
@pytest.mark.parametrize(
    ("script", "detail"),
    [
        ("echo sesame", "what the command printed is not JSON"),
        ("echo '[1]'", "what the command printed is not a JSON object"),
        ("printf '\\377'", "what the command printed is not JSON"),
        ("head -c 200000 /dev/zero | tr '\\0' '['", "the command printed more than 65536 bytes"),
        ("head -c 60000 /dev/zero | tr '\\0' '['", "what the command printed is not JSON"),
        ('echo \'{"outcome": "pass"}\'; exit 1', "the command ended with exit code 1: not one that a plug-in gives"),
    ],
)
async def test_what_is_no_json_answer_is_an_error_that_quotes_nothing(script: str, detail: str) -> None:
    result = await _run(_sh(script, output="json"))
    assert (result.outcome, result.detail) == (Outcome.ERROR, detail)


@pytest.mark.trio
async def test_expectations_turn_a_pass_into_a_mismatch() -> None:
    expect = Expect(output=Pattern.compile("state: (open|half)"))
    assert (await _run(_sh("echo state: open", expect=expect))).outcome is Outcome.PASS
    closed = await _run(_sh("echo state: sesame", expect=expect))
    assert (closed.outcome, closed.detail) == (
        Outcome.MISMATCH,
        "output (14 bytes) does not match /state: (open|half)/",
    )
    assert (await _run(_sh("exit 2", expect=expect))).outcome is Outcome.FAIL
    slow = await _run(_sh("echo 'OK | time=2.0004s'", expect=Expect(response_time_ms=2_000)))
    assert (slow.outcome, slow.detail) == (Outcome.MISMATCH, "response took 2001 ms, expected at most 2000 ms")
    endless = await _run(_sh("head -c 40 /dev/zero | tr '\\0' a", expect=Expect(output=Pattern.compile("(a|aa)+$b"))))
    assert endless.outcome is Outcome.MISMATCH


@pytest.mark.trio
async def test_a_command_sees_nothing_of_the_nodes_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEMESH_SWARM_KEY", "sesame")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame")
    seen = tmp_path / "seen"
    await _run(_sh(f"env > {seen}; pwd >> {seen}", env=(("TOKEN", "own"), ("LANG", "de_AT.UTF-8")), directory="/usr"))
    lines = seen.read_text().splitlines()
    assert "sesame" not in "".join(lines)
    names = {line.partition("=")[0] for line in lines if "=" in line}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "HOME", "LANG", "TOKEN"}
    assert {"TOKEN=own", "LANG=de_AT.UTF-8", "/usr"} <= set(lines)


@pytest.mark.trio
async def test_a_command_reads_nothing_and_inherits_no_descriptor() -> None:
    script = "read line && exit 2; n=$(ls /proc/$$/fd | wc -l); [ $n -le 4 ] || { echo $n descriptors; exit 2; }"
    own_input, (held, write) = os.dup(0), os.pipe()
    os.write(write, b"a line\n")
    os.dup2(held, 0)
    os.set_inheritable(held, True)
    try:
        result = await _run(_sh(script))
    finally:
        os.dup2(own_input, 0)
        for descriptor in (own_input, held, write):
            os.close(descriptor)
    assert (result.outcome, result.detail) == (Outcome.PASS, "")


@pytest.mark.trio
async def test_arguments_are_given_as_they_are() -> None:
    arguments = ["a b", "$HOME", "`id`", "*", "", "ünï"]
    script = 'import sys; print(sys.argv[1:] == ["a b", "$HOME", "`id`", "*", "", "ünï"]); sys.exit(1)'
    result = await _run(_spec(sys.executable, "-X", "utf8", "-c", script, *arguments))
    assert (result.outcome, result.detail) == (Outcome.MISMATCH, "True")


@pytest.mark.trio
@pytest.mark.parametrize("manner", ["", "trap '' TERM;"])
async def test_at_the_deadline_the_whole_group_ends(tmp_path: Path, manner: str) -> None:
    pids = tmp_path / "pids"
    began = trio.current_time()
    result = await _run(_sh(f"{manner} sleep 600 & echo $! $$ > {pids}; sleep 601", timeout_ms=2_000))
    assert trio.current_time() - began < 2 + program.END_SECONDS_MAX + 10
    assert (result.outcome, result.detail) == (Outcome.TIMEOUT, "the command did not end within 2000 ms")
    for pid in pids.read_text().split():
        await _until_gone(int(pid))
    assert _children() == []


@pytest.mark.trio
async def test_a_command_may_put_things_in_order_when_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "_TERMINATE_SECONDS", 10)  # a busy machine's, too
    said = tmp_path / "said"
    await _run(_sh(f"trap 'echo bye > {said}; exit' TERM; sleep 600 & wait", timeout_ms=2_000))
    assert said.read_text() == "bye\n"


@pytest.mark.trio
async def test_what_a_command_leaves_running_ends_with_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    result = await _run(_sh(f"sleep 600 & echo $! > {pid}; echo CRITICAL; exit 2"))
    assert (result.outcome, result.detail) == (Outcome.FAIL, "CRITICAL")
    await _until_gone(int(pid.read_text()))


@pytest.mark.trio
async def test_a_daemon_that_keeps_the_pipe_open_does_not_hold_up_the_answer(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    leave = f"setsid sh -c 'echo $$ > {pid}; exec sleep 600' & while [ ! -s {pid} ]; do sleep 0.01; done"
    result = await _run(_sh(f"{leave}; echo CRITICAL; exit 2"))
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert (result.outcome, result.detail) == (Outcome.FAIL, "CRITICAL")


@pytest.mark.trio
async def test_a_command_whose_check_was_taken_out_ends_at_once(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_run, _sh(f"echo $$ > {pid}; exec sleep 600"))
        await _until(lambda: pid.exists() and pid.read_text())
        nursery.cancel_scope.cancel()
    await _until_gone(int(pid.read_text()))
    await _until(lambda: _children() == [])


@pytest.mark.trio
async def test_endless_output_is_read_and_dropped() -> None:
    result = await _run(_sh("echo CRITICAL first; head -c 3000000 /dev/zero; exit 2"))
    assert (result.outcome, result.detail) == (Outcome.FAIL, "CRITICAL first")
    talking = await _run(_spec("/usr/bin/yes", timeout_ms=500))
    assert talking.outcome is Outcome.TIMEOUT
    long = await _run(_sh("head -c 3000 /dev/zero | tr '\\0' x; exit 2"))
    assert len(long.detail.encode()) == limits.DETAIL_BYTES_MAX


@pytest.mark.trio
async def test_a_command_that_cannot_be_killed_is_left_behind_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that waits for a file system that does not answer."""
    probe, spec = CommandProbe(), _spec("/bin/sleep", "600", timeout_ms=1_000)
    with monkeypatch.context() as patch:
        patch.setattr(program.os, "killpg", lambda *_: None)
        first = await probe(spec)
        again = await probe(spec)
    assert (first.outcome, first.detail) == (Outcome.TIMEOUT, "the command did not end in time, and cannot be killed")
    assert (again.outcome, again.detail) == (
        Outcome.ERROR,
        "the command of an earlier run cannot be killed, and still runs",
    )
    (pid,) = _children()
    os.kill(pid, signal.SIGKILL)
    await _until_gone(pid)
    assert (await probe(spec)).detail == "the command did not end within 1000 ms"
    await _until(lambda: _children() == [])


@pytest.mark.trio
async def test_a_start_that_hangs_is_left_behind_and_its_late_process_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that does not answer: the process appears when nobody waits for it any more."""
    may_start, started = threading.Event(), list[Any]()
    begin = subprocess.Popen

    def late(*arguments: Any, **options: Any) -> Any:
        may_start.wait()
        started.append(begin(*arguments, **options))
        return started[0]

    monkeypatch.setattr(program.subprocess, "Popen", late)
    result = await _run(_spec("/bin/sleep", "600", timeout_ms=100))
    assert result.outcome is Outcome.TIMEOUT
    may_start.set()
    await _until(lambda: started and started[0].returncode is not None)
    assert started[0].returncode == -signal.SIGKILL
    assert started[0].stdout.closed


@pytest.mark.trio
async def test_starts_that_hang_take_a_bounded_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    may_start = threading.Event()

    def hang(*_: Any, **__: Any) -> Any:
        may_start.wait()
        raise FileNotFoundError

    monkeypatch.setattr(program.subprocess, "Popen", hang)
    monkeypatch.setattr(command, "Threads", lambda: Threads(_THREADS))
    probe = CommandProbe()
    try:
        async with trio.open_nursery() as nursery:
            for n in range(int(_THREADS * limits.UNPROVEN_SHARE)):
                nursery.start_soon(probe, _spec("/bin/sleep", str(n), timeout_ms=100))
        refused = await probe(_spec("/bin/true"))
        again = await probe(_spec("/bin/sleep", "1"))
    finally:
        may_start.set()
    assert (refused.outcome, refused.detail) == (
        Outcome.ERROR,
        "the command was not started: others that hang take up all threads there are",
    )
    assert again.detail == "the command was not started: an earlier run of it still hangs"


async def _many(count: int, spec_of: Callable[[int], ProbeSpec]) -> list[ProbeResult]:
    probe, results = CommandProbe(), list[ProbeResult]()
    slots = trio.CapacityLimiter(limits.COMMAND_PLACES_MAX)

    async def one(n: int) -> None:
        async with slots:
            results.append(await probe(spec_of(n)))

    async with trio.open_nursery() as nursery:
        for n in range(count):
            nursery.start_soon(one, n)
    return results


def _mixed(n: int) -> ProbeSpec:
    patient = partial(_spec, timeout_ms=300_000)  # 64 at once on a busy machine
    match n % 10:
        case 0:
            return _sh(f"sleep 600 & sleep 600 {n}", timeout_ms=100)
        case 1:
            return patient("/no/such/program")
        case 2:
            return patient("/bin/sh", "-c", "sleep 600 & exit 2")
        case _:
            return patient("/bin/echo", "OK")


@pytest.mark.trio
@pytest.mark.parametrize("count", [50, pytest.param(1_000, marks=pytest.mark.slow)])
async def test_many_runs_leave_neither_zombies_nor_descriptors(count: int) -> None:
    await _many(1, lambda _: _spec("/bin/true"))  # what is made once is made
    before = _descriptors()
    results = await _many(count, _mixed)
    assert len(results) == count
    assert sum(result.outcome is Outcome.PASS for result in results) == count * 7 // 10
    assert sum(result.outcome is Outcome.TIMEOUT for result in results) == count // 10
    await _until(lambda: (_children(), _descriptors()) == ([], before))


@pytest.mark.trio
async def test_a_real_plugin_is_understood() -> None:
    disk = shutil.which("check_disk", path=_PLUGINS) or require("check_disk")
    well = await _run(_spec(disk, "-w", "0", "-c", "0", "-p", "/"))
    assert (well.outcome, well.detail) == (Outcome.PASS, "")
    full = await _run(_spec(disk, "-w", "100%", "-c", "100%", "-p", "/"))
    assert full.outcome is Outcome.FAIL
    assert full.detail.startswith("DISK CRITICAL")
    assert "|" not in full.detail
    wrong = await _run(_spec(disk, "--no-such-option"))
    assert wrong.outcome is Outcome.ERROR
