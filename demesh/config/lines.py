"""Where in a TOML file a key stands. The TOML libraries do not tell, so this reads the text once more.

The text is one that `tomllib` has taken: nothing is checked here, only found. Every table, key and element of an array has
the line on which it begins, those of inline tables and of arrays of several lines too.
"""

import re
import tomllib
from bisect import bisect_right

from demesh import limits

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_MARKS = {mark: re.compile(_BLANK.pattern + re.escape(mark)) for mark in "[]{}.,="}
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")
_SCALAR = re.compile(
    r'''"""(?:\\.|[^\\])*?"""(?:""?(?!"))?'''  # up to two quotes may stand before the three that end it
    r"""|\'\'\'.*?\'\'\'(?:\'\'?(?!\'))?"""
    r"""|"(?:[^"\\]|\\.)*"|'[^']*'|[^,\]}\r\n#]+""",
    re.DOTALL,
)


def key_lines(text: str) -> dict[Path, int]:
    """The line, counted from 1, of every table, key and element, by path: `("check", 0, "nodes", 1)`."""
    scanner = _Scanner(text)
    scanner.run()
    starts = [0, *(each.end() for each in re.finditer("\n", text))]
    return {path: bisect_right(starts, at) for path, at in scanner.found.items()}


def table_spans(text: str) -> list[tuple[Path, int, int]]:
    """Every table that has a header, in their order: its path, where its line begins, and where that of its last key ends."""
    scanner = _Scanner(text)
    scanner.run()
    return [
        (path, text.rfind("\n", 0, begin) + 1, text.find("\n", end) + 1 or len(text))
        for path, begin, end in scanner.tables
    ]


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of `path`, or of the nearest thing around it."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 1


class _Scanner:
    """Walks over a text from its beginning; `_at` is how far it has come.

    `found` is where each thing begins; `tables` are those with a header, each with its begin and its last key's end.
    """

    def __init__(self, text: str) -> None:
        self.found: dict[Path, int] = {}
        self.tables: list[tuple[Path, int, int]] = []
        self._text = text
        self._at = 0

    def run(self) -> None:
        table: Path = ()
        tables: dict[Path, int] = {}
        while self._skip_blank():
            begin = self._at
            if self._take("["):
                of_many = self._take("[")
                table = self._header(tables, of_many)
                self._take("]")
                if of_many:
                    self._take("]")
                    self.found.setdefault(table[:-1], begin)
                self.found.setdefault(table, begin)
                self.tables.append((table, begin, self._at))
            else:
                self._pair(table, 0)
                if self.tables:
                    self.tables[-1] = (*self.tables[-1][:2], self._at)

    def _header(self, tables: dict[Path, int], of_many: bool) -> Path:
        """The path of the table that a header begins; `tables` counts those of each array."""
        names = self._keys()
        path: Path = ()
        for index, name in enumerate(names):
            path = (*path, name)
            if of_many and index == len(names) - 1:
                tables[path] = tables.get(path, 0) + 1
            if path in tables:
                path = (*path, tables[path] - 1)
        return path

    def _pair(self, table: Path, depth: int) -> None:
        begin = self._at
        path = table
        for name in self._keys():
            path = (*path, name)
            self.found.setdefault(path, begin)
        self._take("=")
        self._value(path, depth)

    def _value(self, path: Path, depth: int) -> None:
        """Pass the value that comes next; one that is nested too deep is refused anyway, and ends the walk."""
        if depth > limits.CONFIG_DEPTH_MAX:
            self._at = len(self._text)
        elif self._take("["):
            index = 0
            while self._skip_blank() and not self._take("]"):
                self.found.setdefault((*path, index), self._at)
                self._value((*path, index), depth + 1)
                self._take(",")
                index += 1
        elif self._take("{"):
            while self._skip_blank() and not self._take("}"):
                self._pair(path, depth + 1)
                self._take(",")
        else:
            self._skip_blank()
            self._next(_SCALAR)

    def _keys(self) -> tuple[str, ...]:
        """A key, which may be dotted."""
        names = [self._key()]
        while self._take("."):
            names.append(self._key())
        return tuple(names)

    def _key(self) -> str:
        self._skip_blank()
        raw = self._next(_KEY)
        return next(iter(tomllib.loads(f"{raw}=0"))) if raw[:1] in ('"', "'") else raw

    def _take(self, mark: str) -> bool:
        """Whether `mark` comes next but for blanks; then it is passed."""
        match = _MARKS[mark].match(self._text, self._at)
        if match:
            self._at = match.end()
        return match is not None

    def _skip_blank(self) -> bool:
        """Go to what is no white space, end of line or comment; False at the end of the text."""
        self._next(_BLANK)
        return self._at < len(self._text)

    def _next(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:  # no TOML after all: there is nothing more to find
            self._at = len(self._text)
            return ""
        self._at = match.end()
        return match[0]
