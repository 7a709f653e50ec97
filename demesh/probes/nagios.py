"""What a monitoring plug-in prints, read by the rules of the Monitoring Plugins Development Guidelines
(https://www.monitoring-plugins.org/doc/guidelines.html): text, a bar, performance data; long text and more data below.

    DISK OK - free space: / 3326 MB (56%); | /=2643MB;5948;5958;0;5968
    / 15272 MB (77%);
    /boot 68 MB (69%); | /boot=68MB;88;93;0;98
    /home=69357MB;253404;253409;0;253414

Pure. Performance data is optional and often slightly wrong in the field: what cannot be read of it is left out.
"""

import math
import re
from dataclasses import dataclass

_DATUM = re.compile(
    r"""\s*(?P<label>'(?:[^']|'')+'|[^\s='|]+)=
        (?P<value>U|[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)(?P<unit>[^\s;'"=0-9]*)
        (?P<rest>(?:;[^\s;]*){0,4});?(?=\s|$)""",
    re.VERBOSE,
)
_NUMBER = r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?"
_RANGE = re.compile(rf"@?(?:(?:~|{_NUMBER})?:)?(?:{_NUMBER})?")
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


@dataclass(frozen=True, slots=True)
class Datum:
    """One value. `value` is None where the plug-in says it is undetermined (U); a range is kept as written, empty for none."""

    label: str
    value: float | None
    unit: str = ""
    warning: str = ""
    critical: str = ""
    least: float | None = None
    most: float | None = None

    @property
    def microseconds(self) -> int | None:
        """The value, if it is a time."""
        return (
            None if self.value is None or self.unit not in _SECONDS else round(self.value * _SECONDS[self.unit] * 1e6)
        )


def read_output(text: str) -> tuple[str, tuple[Datum, ...]]:
    """The text before the first line's bar, and all performance data."""
    first, _, below = text.lstrip("\r\n").partition("\n")
    line, _, data = first.partition("|")
    data_below = below.partition("|")[2]
    return line.strip(), (*read_data(data), *read_data(data_below))


def read_data(text: str) -> tuple[Datum, ...]:
    """Every well-formed datum of a space-separated list."""
    found: list[Datum] = []
    position = 0
    while position < len(text):
        match = _DATUM.match(text, position)
        datum = _datum(match) if match else None
        if datum:
            found.append(datum)
        position = match.end() if match else _next_space(text, position)
    return tuple(found)


def _next_space(text: str, position: int) -> int:
    start = position + len(text[position:]) - len(text[position:].lstrip())
    gap = re.compile(r"\s").search(text, start)
    return gap.start() if gap else len(text)


def _datum(match: re.Match[str]) -> Datum | None:
    label = match["label"]
    if label.startswith("'"):
        label = label[1:-1].replace("''", "'")
    warning, critical, least, most = [*match["rest"].split(";")[1:], "", "", "", ""][:4]
    if not (_RANGE.fullmatch(warning) and _RANGE.fullmatch(critical)):
        return None
    try:
        value = None if match["value"] == "U" else float(match["value"])
        bounds = [float(each) if each else None for each in (least, most)]
    except ValueError:
        return None
    if not all(each is None or math.isfinite(each) for each in (value, *bounds)):
        return None
    return Datum(label, value, match["unit"], warning, critical, *bounds)
