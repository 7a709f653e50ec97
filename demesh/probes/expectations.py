"""Expectations that probes of several types share.

What an answer breaks is a dictionary: the expectation's key as in a check's table, and a phrase that holds the actual value.
"""

from collections.abc import Callable

from demesh.pattern import Pattern, PatternTooSlow
from demesh.probes.actual import told
from demesh.probes.base import ProbeSpec

_PATTERN_CHARS_SHOWN_MAX = 60
_SECOND_MS, _MINUTE_MS, _HOUR_MS, _DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000


def limits_broken(
    spec: ProbeSpec, latency_us: int, certificate_expires_s: int | None, wall_ms: Callable[[], int]
) -> dict[str, str]:
    """The limits on time that an answer breaks: how long it took, and how long its certificate lasts."""
    expect, broken = spec.expect, dict[str, str]()
    if expect.response_time_ms is not None and latency_us > expect.response_time_ms * 1000:
        # Rounded up: 800.4 ms is more than 800 ms, and must not read as if it were not.
        took_ms = -(-latency_us // 1000)
        broken["response_time"] = f"response took {took_ms} ms, expected at most {expect.response_time_ms} ms"
    if expect.cert_expires_in_ms is not None:
        phrase = _certificate_too_short(certificate_expires_s, expect.cert_expires_in_ms, wall_ms())
        if phrase:
            broken["cert_expires_in"] = phrase
    return broken


def pattern_broken(key: str, what: str, actual: str, pattern: Pattern, spec: ProbeSpec) -> str:
    """What is wrong if `pattern`, which `key` expects, is not found in `actual`, the value of `what`; empty if it is."""
    shown = shown_pattern(key, pattern, spec)
    try:
        if pattern.found_in(actual):
            return ""
    except PatternTooSlow:
        return f"{what} takes too long to search for /{shown}/: {told(actual, spec)}"
    return f"{what} does not match /{shown}/: {told(actual, spec)}"


def shown_pattern(key: str, pattern: Pattern, spec: ProbeSpec) -> str:
    """The beginning of the expression that `key` expects, fit for a detail."""
    text = spec.expect.told(key, pattern.text)
    return text if len(text) <= _PATTERN_CHARS_SHOWN_MAX else text[: _PATTERN_CHARS_SHOWN_MAX - 1] + "…"


def duration(ms: int) -> str:
    """Rounded down, in the largest unit of which there are at least two.

    >>> duration(1_209_600_000), duration(129_600_000), duration(950)
    ('14 d', '36 h', '950 ms')
    """
    for unit_ms, name in ((_DAY_MS, "d"), (_HOUR_MS, "h"), (_MINUTE_MS, "min"), (_SECOND_MS, "s")):
        if ms >= 2 * unit_ms:
            return f"{ms // unit_ms} {name}"
    return f"{ms} ms"


def _certificate_too_short(expires_s: int | None, expected_ms: int, now_ms: int) -> str:
    if expires_s is None:
        return "no certificate whose expiry can be read"
    left_ms = expires_s * 1000 - now_ms
    if left_ms >= expected_ms:
        return ""
    if left_ms < 0:
        return f"certificate expired {duration(-left_ms)} ago, expected {duration(expected_ms)} to its expiry"
    return f"certificate expires in {duration(left_ms)}, expected {duration(expected_ms)}"
