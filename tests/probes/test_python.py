"""The python probe, on real modules and real threads."""

import threading
from collections.abc import Callable
from importlib.metadata import EntryPoint
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio

from demesh import limits
from demesh.checks.check import Check
from demesh.checks.runner import Run, Runner
from demesh.clock import SystemClock
from demesh.outcome import Outcome, ProbeResult
from demesh.probes import python
from demesh.probes.base import Expect, ProbeSpec, PythonOptions
from demesh.probes.python import PythonProbe
from demesh.probes.threads import Threads

Install = Callable[[str], str]
_NUMBERS = count()
_THREADS = 32
_HEAD = "import sys, threading, time\nimport trio\nfrom demesh.plugin import Answer\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts the source of a module where it can be imported; returns the entry of its function `check`."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str) -> str:
        name = f"plugin_of_a_test_{next(_NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(_HEAD + source)
        return f"{name}:check"

    return write


def _spec(entry: str, timeout_ms: int = 10_000, expect: Expect | None = None, **arguments: Any) -> ProbeSpec:
    options = PythonOptions(entry, tuple(arguments.items()))
    return ProbeSpec("python", "", timeout_ms, expect=expect or Expect(), options=options)


async def _run(spec: ProbeSpec) -> ProbeResult:
    with trio.fail_after(20):
        return await PythonProbe()(spec)


async def _until_idle(probe: PythonProbe) -> None:
    with trio.fail_after(10):
        while probe._threads._limiter.borrowed_tokens:  # noqa: ASYNC110 a thread left behind tells nobody when it ends
            await trio.sleep(0.01)


_FORMS = ["def check(arguments, timeout_seconds):", "async def check(arguments, timeout_seconds):"]


@pytest.mark.trio
@pytest.mark.parametrize("form", _FORMS)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Answer('pass', 'fine', 1.5)", ProbeResult(Outcome.PASS, 1_500)),
        ("Answer('fail', 'it said no\\nand more', 2)", ProbeResult(Outcome.FAIL, 2_000, "it said no")),
        ("Answer('mismatch', latency_ms=0)", ProbeResult(Outcome.MISMATCH, 0, "it said mismatch, and no more")),
        ("Answer('error', 'no credentials', 3)", ProbeResult(Outcome.ERROR, None, "no credentials")),
    ],
)
async def test_each_answer_becomes_a_result(install: Install, form: str, answer: str, expected: ProbeResult) -> None:
    assert await _run(_spec(install(f"{form}\n    return {answer}"))) == expected


@pytest.mark.trio
@pytest.mark.parametrize("form", _FORMS)
async def test_a_function_gets_its_arguments_and_its_time(install: Install, form: str) -> None:
    entry = install(f"{form}\n    return Answer('fail', f'{{arguments}} {{timeout_seconds}}')")
    result = await _run(_spec(entry, timeout_ms=2_500, url="http://x", retries=[1, 2]))
    assert result.detail == "{'url': 'http://x', 'retries': [1, 2]} 2.5"


@pytest.mark.trio
async def test_the_latency_is_what_was_told_else_how_long_it_took(install: Install) -> None:
    result = await _run(_spec(install(f"{_FORMS[1]}\n    await trio.sleep(0.05)\n    return Answer('pass')")))
    assert result.latency_us is not None
    assert 50_000 <= result.latency_us < 10_000_000
    slow = _spec(install(f"{_FORMS[0]}\n    return Answer('pass', '', 70)"), expect=Expect(response_time_ms=69))
    assert (await _run(slow)).detail == "response took 70 ms, expected at most 69 ms"


@pytest.mark.trio
@pytest.mark.parametrize(
    ("source", "detail"),
    [
        (f"{_FORMS[0]}\n    raise RuntimeError('sesame')", "the plug-in raised RuntimeError"),
        (f"{_FORMS[1]}\n    raise RuntimeError('sesame')", "the plug-in raised RuntimeError"),
        (f"{_FORMS[0]}\n    sys.exit('sesame')", "the plug-in raised SystemExit"),
        (f"{_FORMS[1]}\n    sys.exit('sesame')", "the plug-in raised SystemExit"),
        (f"{_FORMS[0]}\n    raise KeyboardInterrupt", "the plug-in raised KeyboardInterrupt"),
        (
            f"{_FORMS[1]}\n    with trio.fail_after(0.01):\n        await trio.sleep_forever()",
            "the plug-in raised TooSlowError",
        ),
        (f"{_FORMS[0]}\n    return 'sesame'", "the plug-in returned str, not an Answer"),
        (f"{_FORMS[1]}\n    return None", "the plug-in returned NoneType, not an Answer"),
        (
            f"{_FORMS[0]}\n    return Answer('timeout')",
            "what the plug-in returned is no answer: its outcome is none of pass, fail, mismatch and error",
        ),
        (
            f"{_FORMS[0]}\n    return Answer('fail', b'sesame')",
            "what the plug-in returned is no answer: its detail is not text",
        ),
        (
            f"{_FORMS[0]}\n    return Answer('pass', '', float('nan'))",
            "what the plug-in returned is no answer: its latency_ms is not between 0 and a day",
        ),
        ("def check():\n    pass", "the function 'check' does not take two arguments, a mapping and a number"),
        ("def check(a, b, c):\n    pass", "the function 'check' does not take two arguments, a mapping and a number"),
        ("check = 3", "the module 'MODULE' has no function 'check'"),
        ("", "the module 'MODULE' has no function 'check'"),
        ("raise RuntimeError('sesame')", "the module 'MODULE' cannot be imported: RuntimeError"),
        ("import no_such_module_here", "the module 'MODULE' cannot be imported: ModuleNotFoundError"),
        ("this is no Python", "the module 'MODULE' cannot be imported: SyntaxError"),
        ("sys.exit(3)", "the module 'MODULE' cannot be imported: SystemExit"),
    ],
)
async def test_whatever_goes_wrong_is_an_error_without_the_exceptions_text(
    install: Install, source: str, detail: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    entry = install(source)
    result = await _run(_spec(entry))
    assert result == ProbeResult(Outcome.ERROR, detail=detail.replace("MODULE", entry.partition(":")[0]))
    assert "sesame" not in caplog.text + "".join(capfd.readouterr())


@pytest.mark.trio
@pytest.mark.parametrize(
    ("entry", "detail"),
    [
        ("no_such_module:check", "the module 'no_such_module' cannot be imported: ModuleNotFoundError"),
        (":check", "the module '' cannot be imported: ValueError"),
        ("..x:check", "the module '..x' cannot be imported: TypeError"),
        ("sys:", "the module 'sys' has no function ''"),
        ("nothing", "no installed package has an entry point 'nothing' in the group demesh.checks"),
    ],
)
async def test_an_entry_that_leads_nowhere_says_where_it_ends(entry: str, detail: str) -> None:
    assert await _run(_spec(entry)) == ProbeResult(Outcome.ERROR, detail=detail)


@pytest.mark.trio
async def test_an_entry_point_names_a_function(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = install(f"class Checks:\n    @staticmethod\n    {_FORMS[0]}\n        return Answer('fail', 'found')")
    there = EntryPoint("mail-queue", entry.replace(":check", ":Checks.check"), python.GROUP)
    monkeypatch.setattr(python, "entry_points", lambda **wanted: [there] if there.matches(**wanted) else [])
    assert (await _run(_spec("mail-queue"))).detail == "found"
    assert (await _run(_spec("mail"))).outcome is Outcome.ERROR


@pytest.mark.trio
@pytest.mark.parametrize(
    "body", ["await trio.sleep_forever()", "await trio.sleep(600)\n    return Answer('pass')", "time.sleep(1)"]
)
async def test_an_asynchronous_function_ends_at_its_deadline(install: Install, body: str) -> None:
    result = await _run(_spec(install(f"{_FORMS[1]}\n    {body}"), timeout_ms=100))
    assert result == ProbeResult(Outcome.TIMEOUT, detail="the plug-in did not answer within 100 ms")


@pytest.mark.trio
async def test_an_asynchronous_function_that_is_cancelled_may_put_things_in_order(install: Install) -> None:
    ended = threading.Event()
    entry = install(
        f"{_FORMS[1]}\n    try:\n        await trio.sleep_forever()\n    finally:\n        arguments['ended'].set()"
    )
    assert (await _run(_spec(entry, timeout_ms=100, ended=ended))).outcome is Outcome.TIMEOUT
    assert await trio.to_thread.run_sync(ended.wait, 10)


@pytest.mark.trio
@pytest.mark.parametrize("form", _FORMS)
async def test_a_function_that_blocks_is_left_behind_and_holds_up_nobody(install: Install, form: str) -> None:
    """The blocked one neither stops the event loop nor another plug-in's check, whatever its form."""
    released, others = threading.Event(), list[Run]()
    blocks = install(f"{form}\n    arguments['released'].wait()\n    return Answer('pass')")
    answers = install(f"{form}\n    return Answer('pass')")
    done = trio.Event()

    def report(run: Run) -> bool:
        others.append(run)
        if {run.check for run in others} == set(range(9)):
            done.set()
        return False

    runner = Runner({"python": PythonProbe()}, SystemClock(), report)
    slow = Check("slow", _spec(blocks, timeout_ms=1_000, released=released))
    runner.set_checks({0: slow} | {n: Check(f"c{n}", _spec(answers), interval_ms=1_000) for n in range(1, 9)})
    try:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runner.run)
                await done.wait()
                nursery.cancel_scope.cancel()
    finally:
        released.set()
    assert [run.result.outcome for run in others if run.check == 0] == [Outcome.TIMEOUT]
    assert all(run.result.outcome is Outcome.PASS for run in others if run.check)
    assert others[0].check, "others answered while the first one blocked"


@pytest.mark.trio
async def test_a_function_that_hangs_is_not_called_again_until_it_ends(install: Install) -> None:
    """So what hangs for good costs one thread, and the others are left to the rest."""
    released, called = threading.Event(), list[str]()
    blocks = install(
        f"{_FORMS[0]}\n    arguments['note']('')\n    arguments['released'].wait()\n    return Answer('pass')"
    )
    probe = PythonProbe()
    spec = _spec(blocks, timeout_ms=1_000, released=released, note=called.append)
    other = _spec(blocks, timeout_ms=1_000, released=released, note=called.append, other=True)
    try:
        assert (await probe(spec)).outcome is Outcome.TIMEOUT
        for _ in range(3):
            again = await probe(spec)
            assert (again.outcome, again.detail) == (
                Outcome.TIMEOUT,
                "the plug-in still hangs in an earlier run",
            )
        assert len(called) == 1
        assert (await probe(other)).outcome is Outcome.TIMEOUT
    finally:
        released.set()
    await _until_idle(probe)
    assert (await probe(spec)).outcome is Outcome.PASS


@pytest.mark.trio
async def test_plugins_that_hang_take_a_bounded_number_of_threads(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(python, "Threads", lambda: Threads(_THREADS))
    blocks = install(f"{_FORMS[0]}\n    arguments['released'].wait()\n    return Answer('pass')")
    probe = PythonProbe()
    try:
        async with trio.open_nursery() as nursery:
            for n in range(int(_THREADS * limits.UNPROVEN_SHARE)):
                nursery.start_soon(probe, _spec(blocks, timeout_ms=100, released=released, n=n))
        refused = await probe(_spec(blocks, released=released))
        assert refused.outcome is Outcome.ERROR
        assert refused.detail == "the plug-in was not run: others that hang take up all threads there are"
    finally:
        released.set()
    await _until_idle(probe)
    assert (await probe(_spec(blocks, released=released))).outcome is Outcome.PASS


@pytest.mark.trio
async def test_an_import_that_hangs_is_left_behind_and_found_done_later(install: Install) -> None:
    entry = install(f"time.sleep(0.5)\n{_FORMS[0]}\n    return Answer('pass')")
    probe = PythonProbe()
    assert (await probe(_spec(entry, timeout_ms=100))).outcome is Outcome.TIMEOUT
    await _until_idle(probe)
    assert (await probe(_spec(entry))).outcome is Outcome.PASS
