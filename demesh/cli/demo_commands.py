"""What a person may try while the demo runs: only what this version of demesh knows."""

import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import click

import demesh


@dataclass(frozen=True, slots=True)
class Suggestion:
    """`words` name the command; `rest` goes after it, `node` is whom to ask."""

    words: str
    rest: str
    node: str
    what: str


_SUGGESTIONS = (
    Suggestion("status", "", "fra", "what the mesh knows"),
    Suggestion("members", "", "nyc", "who is in it"),
    Suggestion("check run", "shop", "lab", "is it down, or is it me?"),
    Suggestion("explain", "shop", "fra", "why it is up or down"),
    Suggestion("alerts", "", "fra", "what the phone was told"),
    Suggestion("log tail", "-f", "lab", "what all of them write, as it comes"),
)


def suggestions(root: click.Command, program: str, directory: Path) -> list[tuple[str, str]]:
    """Commands to copy, each with what it shows."""
    return [
        (
            " ".join(
                filter(None, (program, each.words, each.rest, "--data-dir", shlex.quote(str(directory / each.node))))
            ),
            each.what,
        )
        for each in _SUGGESTIONS
        if _exists(root, each.words.split())
    ]


def _exists(root: click.Command, words: list[str]) -> bool:
    """Whether that can be run as it stands: not a group that wants one word more."""
    command: click.Command | None = root
    for word in words:
        if not isinstance(command, click.Group):
            return False
        command = command.get_command(click.Context(command), word)
    return command is not None and not (isinstance(command, click.Group) and not command.invoke_without_command)


def program() -> str:
    """What to type for demesh, here and now."""
    found = shutil.which("demesh")
    called = Path(sys.argv[0])
    if found and called.name == "demesh" and called.exists() and os.path.samefile(found, called):
        return "demesh"
    checkout = Path(demesh.__file__).parents[1] / "bin" / "demesh"
    if checkout.exists():
        return shlex.quote(_short(checkout))
    return f"{shlex.quote(sys.executable)} -m demesh"


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
