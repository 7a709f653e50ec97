"""Tables and coloured lines on a terminal.

By hand: a library for it takes 70 ms to load and to print a screen, half of what `demesh status` may take altogether.

A table fits the width of the terminal if its unbroken columns let it: the widest of the others are broken, at spaces where there
are some, until it does. Nothing is cut off. Colours go to terminals only, and as https://no-color.org and https://force-color.org
ask.
"""

import os
import shutil
import unicodedata
from collections.abc import Collection, Sequence

import click

Cell = tuple[str, str]
"""A text and its style: words like `bold red` or `dim`, or none."""

_PLAIN: Cell = ("", "")


def width() -> int:
    """Of the terminal, in characters; 80 without one."""
    return shutil.get_terminal_size().columns


def say(*cells: Cell) -> None:
    """One line made of these, however long."""
    click.echo("".join(_styled(*cell) for cell in cells), color=_color())


def flow(cells: Sequence[Cell], fits: int) -> None:
    """One after the other, on lines of no more than `fits` characters that break between them."""
    line: list[Cell] = []
    for cell in cells:
        if line and sum(_width(text) for text, _ in line) + _width(cell[0].rstrip()) > fits:
            say(*line)
            line = []
        line.append(cell)
    say(*line)


def say_table(
    names: Sequence[str], rows: Sequence[Sequence[Cell]], unbroken: Collection[str], fits: int | None, gap: int = 2
) -> None:
    """A table with a header, no wider than `fits` if that is given; columns named in `unbroken` are not broken."""
    natural = [max(_width(name), *(_width(row[index][0]) for row in rows), 0) for index, name in enumerate(names)]
    room = None if fits is None else fits - gap * (len(names) - 1)
    least = [wide if name in unbroken else _width(name) for name, wide in zip(names, natural, strict=True)]
    widths = _fitted(natural, least, room)
    for row in [[(name, "dim") for name in names], *rows]:
        folded = [_folded(text, wide) for (text, _), wide in zip(row, widths, strict=True)]
        for number in range(max(map(len, folded))):
            line = [
                (part[number] if number < len(part) else "", style)
                for part, (_, style) in zip(folded, row, strict=True)
            ]
            last = max((index for index, (text, _) in enumerate(line) if text), default=-1)
            padded = [
                _styled(text, style) + (" " * (widths[index] - _width(text) + gap) if index < last else "")
                for index, (text, style) in enumerate(line[: last + 1])
            ]
            click.echo("".join(padded), color=_color())


def _fitted(natural: Sequence[int], least: Sequence[int], room: int | None) -> list[int]:
    """Widths that fill no more than `room`, if `least` allows it; the widest give way first."""
    widths = list(natural)
    while room is not None and sum(widths) > room:
        broken = [index for index, wide in enumerate(widths) if wide > least[index]]
        if not broken:
            break
        widest = max(broken, key=lambda index: widths[index])
        widths[widest] -= 1
    return widths


def _folded(text: str, wide: int) -> list[str]:
    """`text` in lines of at most `wide` characters."""
    if _width(text) <= wide:
        return [text]
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and _width(lines[-1]) + 1 + _width(word) <= wide:
            lines[-1] += f" {word}"
            continue
        if lines[-1]:
            lines.append("")
        for char in word:
            if _width(lines[-1]) + _width(char) > wide and lines[-1]:
                lines.append("")
            lines[-1] += char
    return lines


def _width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def _styled(text: str, style: str) -> str:
    if not style or not text:
        return text
    words = style.split()
    colors = [word for word in words if word not in ("bold", "dim")]
    return click.style(text, fg=colors[0] if colors else None, bold="bold" in words or None, dim="dim" in words or None)


def _color() -> bool | None:
    """None: whatever suits where it goes."""
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None
