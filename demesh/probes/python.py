"""The `python` probe: a function of somebody else's, in a thread of its own.

    async def check(arguments: Mapping[str, Any], timeout_seconds: float) -> demesh.plugin.Answer

or the same without `async`. Every run has a thread to itself, an asynchronous function also an event loop (trio) to itself:
a plug-in that blocks holds up neither the node nor another check. At the deadline an asynchronous function is cancelled;
what does not end then, and any other function, is left behind in its thread (`demesh.probes.threads` bounds how many).

Whatever goes wrong (an import, the wrong arguments, an exception, something else than an Answer) is an `error` that names
the type of the exception: its text may hold secrets. Not guaranteed: that the node is safe from a plug-in. It runs within
the process, with all its rights; one that keeps the interpreter's lock in C code, or ends the process, does so, and one
that computes for ever goes on doing so.

`entry` is looked up until it is found, and then kept: a changed module is read when the node starts again.
"""

import importlib
import inspect
from collections.abc import Callable, Coroutine, Mapping
from importlib.metadata import entry_points
from typing import Any, cast

import trio

from demesh.errors import UsageError
from demesh.outcome import Outcome, ProbeResult
from demesh.plugin import Answer
from demesh.probes.answers import clean_line, in_time, read_answer
from demesh.probes.base import ProbeSpec, PythonOptions
from demesh.probes.threads import NoThread, StillHangs, Threads

GROUP = "demesh.checks"
"""The group of entry points that a distribution names its checks in."""

_LATE = object()
Function = Callable[[Mapping[str, Any], float], Any]


class PythonProbe:
    def __init__(self) -> None:
        self._threads = Threads()
        self._functions: dict[str, Function] = {}

    async def __call__(self, spec: ProbeSpec) -> ProbeResult:
        options = spec.options
        if not isinstance(options, PythonOptions):
            return _error("the check names no function")
        key = (options.entry, repr(options.arguments))
        seconds, began = spec.timeout_ms / 1_000, trio.current_time()
        try:
            with trio.move_on_after(seconds):
                said = await self._threads.run(key, lambda: self._call(options, seconds))
                if said is not _LATE:
                    return in_time(_result(said, round((trio.current_time() - began) * 1_000_000)), spec.expect)
        except StillHangs:
            # It does not answer now either, which is what the check asks.
            return ProbeResult(Outcome.TIMEOUT, detail="the plug-in still hangs in an earlier run")
        except NoThread as error:
            return _error(f"the plug-in was not run: {error}")
        except UsageError as error:
            return _error(str(error))
        return ProbeResult(Outcome.TIMEOUT, detail=f"the plug-in did not answer within {spec.timeout_ms} ms")

    def _call(self, options: PythonOptions, seconds: float) -> object:
        """In the thread: what the function returns, or _LATE. Raises UsageError with a phrase without a full stop."""
        function = self._functions.get(options.entry)
        if function is None:
            function = self._functions[options.entry] = _find(options.entry)
        try:
            answer = function(dict(options.arguments), seconds)
            return trio.run(_within, answer, seconds) if inspect.iscoroutine(answer) else answer
        except BaseException as error:  # noqa: BLE001 a plug-in may raise anything, SystemExit too, and none may end the node
            raise UsageError(f"the plug-in raised {type(error).__name__}") from None


async def _within(running: Coroutine[Any, Any, object], seconds: float) -> object:
    with trio.move_on_after(seconds):
        return await running
    return _LATE


def _find(entry: str) -> Function:
    """Raises UsageError with a phrase without a full stop."""
    if ":" not in entry:
        found = list(entry_points(group=GROUP, name=entry))
        if not found:
            raise UsageError(f"no installed package has an entry point {entry!r} in the group {GROUP}")
        entry = found[0].value
    module, _, name = entry.partition(":")
    try:
        function: object = importlib.import_module(module)
    except BaseException as error:  # noqa: BLE001 a module may raise anything while it is imported
        raise UsageError(f"the module {module!r} cannot be imported: {type(error).__name__}") from None
    for part in name.split("."):
        function = getattr(function, part, None)
    if not callable(function):
        raise UsageError(f"the module {module!r} has no function {name!r}")
    try:
        inspect.signature(function).bind({}, 0.0)
    except (TypeError, ValueError):
        raise UsageError(f"the function {name!r} does not take two arguments, a mapping and a number") from None
    return cast(Function, function)


def _result(said: object, took_us: int) -> ProbeResult:
    if not isinstance(said, Answer):
        return _error(f"the plug-in returned {type(said).__name__}, not an Answer")
    fields = {"outcome": said.outcome, "detail": said.detail, "latency_ms": said.latency_ms}
    try:
        return read_answer(fields, took_us)
    except UsageError as error:
        return _error(f"what the plug-in returned is no answer: {error}")


def _error(sentence: str) -> ProbeResult:
    return ProbeResult(Outcome.ERROR, detail=clean_line(sentence))
