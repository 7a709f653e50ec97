"""Tables and coloured lines on a terminal.

By hand: a library for it takes 70 ms to load and to print a screen, half of what `demesh status` may take altogether.

A table fits the width of the terminal if its unbroken columns let it: the widest of the others are broken, at spaces where there
are some, until it does. Nothing is cut off. Colours go to terminals only, and as https://no-color.org and https://force-color.org
ask. Where the terminal's encoding lacks a glyph, a plain character of the same width stands for it.
"""

import os
import sys
import unicodedata
from collections.abc import Collection, Sequence
from functools import lru_cache

import click

Cell = tuple[str, str]
"""A text and its style: words like `bold red` or `dim`, or none."""
Line = Sequence[Cell]

_PLAIN_GLYPHS = dict(zip("✔✖✘◐◔↯‖○☾⚠·→…▇▆▅▄▃▂▁░", "+!!~%^p=-#.>.#65432_:", strict=True))
"""What stands for a glyph where the terminal's encoding lacks it, as wide as the glyph is."""
_COLUMNS_DEFAULT = 80


def width() -> int:
    """Of the terminal, in characters; 80 without one. By hand: `shutil` brings compression libraries, which take 7 ms to load."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _COLUMNS_DEFAULT
    except (OSError, ValueError):
        return _COLUMNS_DEFAULT


def say(*cells: Cell) -> None:
    """One line made of these, however long."""
    click.echo(painted(cells), color=True)


def painted(line: Line) -> str:
    """A line as standard output can show it: coloured where that is wanted, in characters that its encoding has."""
    colored = is_colored()
    return "".join(_styled(_legible(text), style if colored else "") for text, style in line)


def is_colored() -> bool:
    """Whether standard output is to be coloured."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stdout.isatty()


def flow(cells: Sequence[Cell], fits: int, indent: int = 0) -> list[list[Cell]]:
    """One after the other, on lines of no more than `fits` columns that break between them, and within one that is longer
    than a line. All lines but the first are indented.
    """
    margin: list[Cell] = [(" " * indent, "")] if indent else []
    lines: list[list[Cell]] = [[]]
    used = 0
    for text, style in cells:
        wide = text_width(text.rstrip())
        if used + wide > fits and used > indent:
            lines.append([*margin])
            used = indent
        parts = [text] if used + wide <= fits else _broken(text.rstrip(), fits - used, max(1, fits - indent))
        if len(parts) > 1 and text.endswith(" "):
            parts[-1] += " "
        for number, part in enumerate(parts):
            if number:
                lines.append([*margin])
                used = indent
            lines[-1].append((part, style))
            used += text_width(part)
    return [_trimmed(line) for line in lines]


def say_table(
    names: Sequence[str], rows: Sequence[Sequence[Cell]], unbroken: Collection[str], fits: int | None, gap: int = 2
) -> None:
    """A table with a header, no wider than `fits` if that is given; columns named in `unbroken` are not broken."""
    for lines in table(names, rows, unbroken, fits, gap):
        for line in lines:
            say(*line)


def table(
    names: Sequence[str], rows: Sequence[Sequence[Cell]], unbroken: Collection[str], fits: int | None, gap: int = 2
) -> list[list[list[Cell]]]:
    """The lines of the header and of each row of what `say_table` says."""
    natural = [
        max(text_width(name), *(text_width(row[index][0]) for row in rows), 0) for index, name in enumerate(names)
    ]
    room = None if fits is None else fits - gap * (len(names) - 1)
    least = [wide if name in unbroken else text_width(name) for name, wide in zip(names, natural, strict=True)]
    widths = _fitted(natural, least, room)
    return [_row_lines(row, widths, gap) for row in [[(name, "dim") for name in names], *rows]]


def _row_lines(row: Sequence[Cell], widths: Sequence[int], gap: int) -> list[list[Cell]]:
    folded = [_folded(text, wide) for (text, _), wide in zip(row, widths, strict=True)]
    lines: list[list[Cell]] = []
    for number in range(max(map(len, folded))):
        line: list[Cell] = []
        for part, (_, style), wide in zip(folded, row, widths, strict=True):
            text = part[number] if number < len(part) else ""
            line += [(text, style), (" " * (wide - text_width(text) + gap), "")]
        lines.append(_trimmed(line))
    return lines


def _trimmed(line: Sequence[Cell]) -> list[Cell]:
    """Without blanks at its end."""
    kept = list(line)
    while kept and not kept[-1][0].strip():
        kept.pop()
    return [*kept[:-1], (kept[-1][0].rstrip(), kept[-1][1])] if kept else []


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
    return [text] if text_width(text) <= wide else _broken(text, wide, wide)


def _broken(text: str, first: int, wide: int) -> list[str]:
    """`text` in lines of at most `wide` columns, the first of at most `first`: broken at spaces, and where there are none."""
    lines, room = [""], first
    for word in text.split(" "):
        if lines[-1] and text_width(lines[-1]) + 1 + text_width(word) <= room:
            lines[-1] += f" {word}"
            continue
        if lines[-1] and text_width(word) > wide:
            lines[-1] += " "  # it is broken anyway: from here
        elif lines[-1] or room < text_width(word) <= wide:
            lines.append("")
            room = wide
        for char in word:
            if text_width(lines[-1]) + text_width(char) > room and lines[-1]:
                lines.append("")
                room = wide
            lines[-1] += char
    return lines


@lru_cache(maxsize=4_096)
def text_width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 1 + (unicodedata.east_asian_width(char) in "WF")


def _legible(text: str) -> str:
    """`text` in characters that the encoding of standard output has, as wide as it was."""
    encoding = sys.stdout.encoding or "utf-8"  # a buffer has none
    if text.isascii() or encoding.lower().replace("-", "") == "utf8":
        return text
    return "".join(char if _has(encoding, char) else _PLAIN_GLYPHS.get(char, "?" * _char_width(char)) for char in text)


def _has(encoding: str, char: str) -> bool:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _styled(text: str, style: str) -> str:
    if not style or not text:
        return text
    words = style.split()
    colors = [word for word in words if word not in ("bold", "dim")]
    return click.style(text, fg=colors[0] if colors else None, bold="bold" in words or None, dim="dim" in words or None)
