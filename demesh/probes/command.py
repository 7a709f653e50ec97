"""The `command` probe: a program of this machine's decides, by its exit code in the way of Nagios plug-ins, or in JSON.

    exit code   outcome
    0           pass
    1 warning   mismatch
    2 critical  fail
    3 and all else, a signal, a program that cannot be started: error, for it says nothing about the target

What a command prints on its first line, up to a bar (`|`), is the detail: the whole mesh reads it when the outcome is not
pass. It is the only text of a command that leaves this machine. Of the performance data behind the bar, `time` or `rta`
(which the standard plug-ins measure at the target) becomes the latency; the rest is dropped. With `output = "json"`
the command exits with 0 and prints one object, `{"outcome": "pass|fail|mismatch|error", "detail": "...", "latency_ms": 1.5}`.

A command sees PATH, HOME and LANG, and what its check's `env` holds; nothing else of the node's environment. It runs
without a shell, as the user that the node runs as: definitions that come from elsewhere must never hold one.
"""

import json
import os
import signal
import subprocess
from typing import Any, cast

from demesh.errors import UsageError
from demesh.outcome import Outcome, ProbeResult
from demesh.pattern import PatternTooSlow
from demesh.probes.answers import clean_line, in_time, read_answer
from demesh.probes.base import CommandOptions, ProbeSpec
from demesh.probes.nagios import read_output
from demesh.probes.program import Ended, Stuck, run_program
from demesh.probes.threads import NoThread, Threads

_NAGIOS = {
    0: (Outcome.PASS, ""),
    1: (Outcome.MISMATCH, "the command answered WARNING, and no more"),
    2: (Outcome.FAIL, "the command answered CRITICAL, and no more"),
    3: (Outcome.ERROR, "the command answered UNKNOWN, and no more"),
}
_SHELL_CODES = {126: "a program that it needs cannot be executed", 127: "a program that it needs was not found"}
_LATENCY_LABELS = ("time", "rta")
_PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CommandProbe:
    """Keeps track of programs that cannot be killed, so that each command leaves one of them behind at most."""

    def __init__(self) -> None:
        self._threads = Threads()
        self._stuck: dict[CommandOptions, subprocess.Popen[bytes]] = {}

    async def __call__(self, spec: ProbeSpec) -> ProbeResult:
        options = spec.options
        if not isinstance(options, CommandOptions) or not options.argv:
            return _error("the check names no command")
        stuck = self._stuck.get(options)
        if stuck is not None and stuck.poll() is None:
            return _error("the command of an earlier run cannot be killed, and still runs")
        self._stuck.pop(options, None)
        try:
            ended = await run_program(
                self._threads,
                options,
                options.argv,
                env=_environment(options),
                directory=options.directory,
                seconds=spec.timeout_ms / 1_000,
            )
        except Stuck as error:
            self._stuck[options] = error.process
            return ProbeResult(Outcome.TIMEOUT, detail="the command did not end in time, and cannot be killed")
        except NoThread as error:
            return _error(f"the command was not started: {error}")
        except (OSError, ValueError) as error:
            return _error(_why_not_started(error, options))
        if ended is None:
            return ProbeResult(Outcome.TIMEOUT, detail=f"the command did not end within {spec.timeout_ms} ms")
        result = _from_json(ended) if options.output == "json" else _from_exit_code(ended)
        return _matching(in_time(result, spec.expect), spec, ended.output)


def _environment(options: CommandOptions) -> dict[str, str]:
    inherited = {"PATH": os.environ.get("PATH", _PATH_DEFAULT), "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
    return inherited | dict(options.env)


def _from_exit_code(ended: Ended) -> ProbeResult:
    known = _NAGIOS.get(ended.code)
    if known is None:
        return _error(_unusual(ended.code))
    outcome, sentence = known
    line, data = read_output(ended.output.decode(errors="replace"))
    times_us = {datum.label: us for datum in data if (us := datum.microseconds) is not None and us >= 0}
    latency_us = next((times_us[label] for label in _LATENCY_LABELS if label in times_us), ended.took_us)
    if outcome is Outcome.PASS:
        return ProbeResult(outcome, latency_us)
    return ProbeResult(outcome, None if outcome is Outcome.ERROR else latency_us, clean_line(line) or sentence)


def _from_json(ended: Ended) -> ProbeResult:
    if ended.code:
        return _error(_unusual(ended.code))
    if ended.cut:
        return _error(f"the command printed more than {len(ended.output)} bytes")
    try:
        document: object = json.loads(ended.output)
    except (ValueError, RecursionError):
        return _error("what the command printed is not JSON")
    if not isinstance(document, dict):
        return _error("what the command printed is not a JSON object")
    try:
        return read_answer(cast(dict[str, Any], document), ended.took_us)
    except UsageError as error:
        return _error(f"what the command printed is no answer: {error}")


def _matching(result: ProbeResult, spec: ProbeSpec, output: bytes) -> ProbeResult:
    pattern = spec.expect.output
    if pattern is None or result.outcome is not Outcome.PASS:
        return result
    try:
        if pattern.found_in(output.decode(errors="replace")):
            return result
        broken = "does not match"
    except PatternTooSlow:
        broken = "takes too long to search for"
    detail = clean_line(f"output ({len(output)} bytes) {broken} /{spec.expect.told('output', pattern.text)}/")
    return ProbeResult(Outcome.MISMATCH, result.latency_us, detail)


def _unusual(code: int) -> str:
    if code >= 0:
        return f"the command ended with exit code {code}: {_SHELL_CODES.get(code, 'not one that a plug-in gives')}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"the command was ended by {name}"


def _why_not_started(error: OSError | ValueError, options: CommandOptions) -> str:
    if not isinstance(error, OSError):
        return "the command cannot be started: an argument or its environment holds a null character"
    what = "directory" if options.directory is not None and error.filename == options.directory else "command"
    return f"the {what} cannot be used: {error.strerror}" if what == "directory" else f"cannot start: {error.strerror}"


def _error(sentence: str) -> ProbeResult:
    return ProbeResult(Outcome.ERROR, detail=clean_line(sentence))
