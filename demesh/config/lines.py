"""Where in a TOML file a key stands. The TOML libraries do not tell, so this reads headers and keys at line starts.

It covers tables, arrays of tables and plain or dotted keys; for what stands inside an inline table or a text of several
lines it gives the line of the key that holds it.
"""

import re

Path = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[|\[)\s*([^\]]+?)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_\-.\"']+)\s*=")


def key_lines(text: str) -> dict[Path, int]:
    """The line, counted from 1, of every table and key, by path: `("check", 0, "target")`."""
    lines: dict[Path, int] = {}
    counts: dict[str, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            name = header[2]
            if header[1] == "[[":
                counts[name] = counts.get(name, -1) + 1
            table = ()
            for part in _names(name):
                table += (part,)
                dotted = ".".join(each for each in table if isinstance(each, str))
                table += (counts[dotted],) if dotted in counts else ()
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault(table + tuple(_names(key[1])), number)
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of `path`, or of the nearest thing around it."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 1


def _names(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]
