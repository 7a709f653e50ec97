"""What an HTTP answer must be like to pass. Every broken expectation is a phrase that holds the actual value.

The actual value of a body is its length: its content may echo what nobody but this node should read.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from demesh.pattern import Pattern, PatternTooSlow
from demesh.probes.base import Expect
from demesh.probes.expectations import limits_broken, shown_pattern

_STATUS_DEFAULT = range(200, 300)
_CHARSET = re.compile(r"charset\s*=\s*\"?([\w.-]+)", re.IGNORECASE)
# Some of Python's codecs take quadratic time (punycode, idna) or decode no text at all: only real charsets are used.
_CHARSETS = re.compile(
    r"utf-?(8|16|32)|us-ascii|ascii|latin-?1|(iso-8859-|windows-|cp|koi8-|gb|big5|euc|shift_jis|tis-)[\w-]*"
)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the expectations are held against."""

    status: int
    latency_us: int
    certificate_expires_s: int | None
    """None also when the answer did not come over TLS."""
    body: bytes
    content_type: str


def broken_expectations(expect: Expect, answer: HttpAnswer, wall_ms: Callable[[], int]) -> list[str]:
    """One phrase for each expectation that `answer` breaks; none means it passes."""
    broken: list[str] = []
    if answer.status not in (expect.status if expect.status is not None else _STATUS_DEFAULT):
        expected = "200-299" if expect.status is None else ranges(expect.status)
        broken.append(f"status {answer.status}, expected {expected}")
    if expect.body is not None:
        broken += _body_broken(expect.body, answer)
    return broken + limits_broken(expect, answer.latency_us, answer.certificate_expires_s, wall_ms)


def _body_broken(pattern: Pattern, answer: HttpAnswer) -> list[str]:
    try:
        if pattern.found_in(decode(answer.body, answer.content_type)):
            return []
    except PatternTooSlow:
        return [f"body ({len(answer.body)} bytes) takes too long to search for /{shown_pattern(pattern)}/"]
    return [f"body ({len(answer.body)} bytes) does not match /{shown_pattern(pattern)}/"]


def decode(body: bytes, content_type: str) -> str:
    """`body` as text, in the charset the server names if it is one, else UTF-8; what cannot be read is U+FFFD."""
    named = _CHARSET.search(content_type)
    charset = named[1].lower() if named and _CHARSETS.fullmatch(named[1].lower()) else "utf-8"
    try:
        return body.decode(charset, errors="replace")
    except LookupError:
        return body.decode(errors="replace")


def ranges(numbers: Iterable[int]) -> str:
    """
    >>> ranges({200, 201, 202, 204, 301, 302})
    '200-202, 204, 301-302'
    """
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
