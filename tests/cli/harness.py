"""The demesh command in this process, through its real entry point, in a home of its own."""

import inspect
import logging
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import click

from demesh.cli import main
from demesh.home import HomeLock


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command there is, groups included, by its words."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))


def examples(command: click.Command) -> list[str]:
    """The lines after "Example:" or "Examples:" of its help that call demesh, whatever stands around it."""
    _, _, after = inspect.cleandoc(command.help or "").partition("\nExample")
    return [line.strip() for line in after.splitlines() if re.search(r"(^|[\s(|])demesh\s", line)]


def _until(end: ExitStack, lock: HomeLock) -> HomeLock:
    """A process gives its lock back when it ends; this one goes on."""
    end.callback(lock.release)
    return lock


def demesh(home: Path, *arguments: str, **environment: str) -> Ran:
    """What `demesh ARGUMENTS` prints and how it exits. An exception that it lets through fails the test.

    A `node run` that refuses nothing ends with AssertionError where the node would begin to run.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DEMESH_", "XDG_", "RUNTIME_"))}
    ours = {**kept, "DEMESH_HOME": str(home), "XDG_RUNTIME_DIR": str(home.parent), "COLUMNS": "200", **environment}
    out, err = StringIO(), StringIO()
    logger = logging.getLogger("demesh")
    level = logger.level
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, ours, clear=True))
        stack.enter_context(patch.object(sys, "argv", ["demesh", *arguments]))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        stack.callback(logger.setLevel, level)
        if arguments[:2] == ("node", "run"):
            stack.callback(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
            stack.enter_context(patch("demesh.cli.run.trio.run", side_effect=AssertionError("the node would run")))
            stack.enter_context(patch("demesh.cli.run.HomeLock", lambda home: _until(stack, HomeLock(home))))
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 0
        else:
            raise AssertionError("the command did not exit")
    return Ran(code, out.getvalue(), err.getvalue())
