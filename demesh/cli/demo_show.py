"""Runs the demo from its first to its last process: the place, the servers, the nodes, the story, what a person tries."""

import random
import secrets
from contextlib import ExitStack, suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

from demesh.cli import root
from demesh.cli.client import ask
from demesh.cli.demo_commands import program, suggestions
from demesh.cli.demo_terminal import Ended, Ending, Terminal
from demesh.cli.terminal import printable
from demesh.clock import SystemClock
from demesh.demo.nodes import DemoNode, end, make_nodes
from demesh.demo.place import Place, make_place
from demesh.demo.receiver import Receiver
from demesh.demo.serving import free_port
from demesh.demo.sight import changes
from demesh.demo.stage import Stage, Unexpected
from demesh.demo.story import ACTS, CHOICES, NODES, Choice
from demesh.demo.targets import Target
from demesh.errors import DemeshError
from demesh.identity import new_swarm_key

_WATCH_SECONDS = 1
_OFFER_COLUMNS = 38


def show(directory: str | None, *, wait: bool) -> int:
    """Tell the story; returns the exit code. Raises DemeshError if it cannot begin."""
    clock, rng = SystemClock(), random.Random(secrets.randbits(64))
    ending = Ending()
    terminal = Terminal(ending, clock, program())
    with ExitStack() as stack:
        place = stack.enter_context(make_place(directory))
        receiver = Receiver(clock, free_port(rng))
        stack.callback(receiver.close)
        targets = {
            each.name: each
            for each in (
                Target("shop", free_port(rng)),
                Target("api", free_port(rng), knows_askers=True),
                Target("db", free_port(rng), "tcp"),
            )
        }
        for target in targets.values():
            stack.callback(target.close)
        nodes = make_nodes(
            place.directory, place.runtime, NODES, new_swarm_key(), receiver.url, list(targets.values()), rng
        )
        stack.callback(end, nodes.values(), clock)
        stage = Stage(nodes, targets, receiver, terminal, clock, _ask, ending.rest)
        return _run(stage, terminal, ending, place, wait=wait)


def _run(stage: Stage, terminal: Terminal, ending: Ending, place: Place, *, wait: bool) -> int:
    try:
        _introduce(terminal, place)
        _tell_story(stage, terminal)
        if wait:
            _let_try(stage, terminal, ending, place.directory)
    except Ended:
        terminal.line()
    except Unexpected as error:
        terminal.line()
        if ending.asked:  # by a signal to all, from which a node that was being started has ended, too
            return 0
        terminal.line(f"✖ {error}", "bold red")
        terminal.tell("This was not to happen. If this machine is not very busy, please report it.")
        return 1
    finally:
        left = f"it is kept in {place.directory}." if place.kept else "nothing will be left of it."
        with suppress(OSError):  # the terminal may be gone
            terminal.line(f"Ending all; {left}")
    return 0


def _ask(node: DemoNode) -> dict[str, Any] | None:
    try:
        return printable(ask("/api/v1/status", str(node.home.path), None, dict))
    except DemeshError:
        return None


def _introduce(terminal: Terminal, place: Place) -> None:
    terminal.line("demesh demo: three nodes, what they watch, and what can go wrong", "bold")
    terminal.tell(
        f"All of it is on this machine, in {place.directory}, and nothing of yours is touched. Your phone (☎) is a part of "
        "this program, too. It takes about two minutes; Ctrl-C ends it at any time."
    )


def _tell_story(stage: Stage, terminal: Terminal) -> None:
    took = [stage.play(act, f"{number} of {len(ACTS)}") for number, act in enumerate(ACTS, 1)]
    rings = sum(len(act.rings) for act in ACTS)
    terminal.line()
    terminal.line(f"That was all, in {sum(took):.0f} s ({', '.join(f'{each:.0f}' for each in took)}).", "bold")
    terminal.tell(
        f"Your phone rang {rings} times, once for each of the {rings} things that somebody should know at night."
    )


def _let_try(stage: Stage, terminal: Terminal, ending: Ending, directory: Path) -> None:
    terminal.line()
    terminal.line("Now you. It goes on running; in another terminal:", "bold")
    for command, what in suggestions(root, terminal.program, directory):
        terminal.suggest(command, what)
    terminal.line()
    terminal.line("Or break something here: a number and Enter. Enter alone, or Ctrl-C, ends all.", "bold")
    half = (len(CHOICES) + 1) // 2
    for left, right in zip_longest(CHOICES[:half], CHOICES[half:]):
        terminal.line(f"  {_offer(left):{_OFFER_COLUMNS}}{_offer(right)}".rstrip())
    ending.forget_typed()
    known = None
    while True:
        line = ending.rest(_WATCH_SECONDS, or_line=True)
        if line == "":
            raise Ended
        if line is not None:
            _choose(stage, terminal, line)
        stage.listen(0)
        running = next((node for node in stage.nodes.values() if node.running), None)
        now = stage.says(running) if running else None
        for sentence, state in changes(known, now):
            terminal.turned(sentence, state)
        known = now or known


def _offer(choice: Choice | None) -> str:
    return f"{choice.key}  {choice.what}" if choice else ""


def _choose(stage: Stage, terminal: Terminal, line: str) -> None:
    choice: Choice | None = next((each for each in CHOICES if each.key == line), None)
    if choice is None:
        terminal.line(f"  {', '.join(each.key for each in CHOICES)} are the numbers; Enter alone ends all.", "yellow")
        return
    for step in choice.steps:
        stage.do(step)
    terminal.line(f"  {choice.what}: done; now watch.", "dim")
