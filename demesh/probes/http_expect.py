"""What an HTTP answer must be like to pass. Every broken expectation is a phrase that holds the actual value.

The actual value of a body is its length: its content may echo what nobody but this node should read.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from demesh.pattern import Pattern, PatternTooSlow
from demesh.probes.base import Expect

_STATUS_DEFAULT = range(200, 300)
_PATTERN_CHARS_SHOWN_MAX = 60
_CHARSET = re.compile(r"charset\s*=\s*\"?([\w.-]+)", re.IGNORECASE)
# Some of Python's codecs take quadratic time (punycode, idna) or decode no text at all: only real charsets are used.
_CHARSETS = re.compile(
    r"utf-?(8|16|32)|us-ascii|ascii|latin-?1|(iso-8859-|windows-|cp|koi8-|gb|big5|euc|shift_jis|tis-)[\w-]*"
)
_SECOND_MS, _MINUTE_MS, _HOUR_MS, _DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000


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
    if expect.response_time_ms is not None and answer.latency_us > expect.response_time_ms * 1000:
        # Rounded up: 800.4 ms is more than 800 ms, and must not read as if it were not.
        took_ms = -(-answer.latency_us // 1000)
        broken.append(f"response took {took_ms} ms, expected at most {expect.response_time_ms} ms")
    if expect.cert_expires_in_ms is not None:
        broken += _certificate_too_short(answer.certificate_expires_s, expect.cert_expires_in_ms, wall_ms())
    return broken


def _body_broken(pattern: Pattern, answer: HttpAnswer) -> list[str]:
    try:
        if pattern.found_in(decode(answer.body, answer.content_type)):
            return []
    except PatternTooSlow:
        return [f"body ({len(answer.body)} bytes) takes too long to search for /{_shown(pattern.text)}/"]
    return [f"body ({len(answer.body)} bytes) does not match /{_shown(pattern.text)}/"]


def _certificate_too_short(expires_s: int | None, expected_ms: int, now_ms: int) -> list[str]:
    if expires_s is None:
        return ["no certificate whose expiry can be read"]
    left_ms = expires_s * 1000 - now_ms
    if left_ms >= expected_ms:
        return []
    if left_ms < 0:
        return [f"certificate expired {duration(-left_ms)} ago, expected {duration(expected_ms)} to its expiry"]
    return [f"certificate expires in {duration(left_ms)}, expected {duration(expected_ms)}"]


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


def duration(ms: int) -> str:
    """Rounded down, in the largest unit of which there are at least two.

    >>> duration(1_209_600_000), duration(129_600_000), duration(950)
    ('14 d', '36 h', '950 ms')
    """
    for unit_ms, name in ((_DAY_MS, "d"), (_HOUR_MS, "h"), (_MINUTE_MS, "min"), (_SECOND_MS, "s")):
        if ms >= 2 * unit_ms:
            return f"{ms // unit_ms} {name}"
    return f"{ms} ms"


def _shown(pattern: str) -> str:
    return pattern if len(pattern) <= _PATTERN_CHARS_SHOWN_MAX else pattern[: _PATTERN_CHARS_SHOWN_MAX - 1] + "…"
