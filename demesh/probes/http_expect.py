"""What an HTTP answer must be like to pass. Every broken expectation is a phrase that holds the actual value, as it may be
told (see `actual`).
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demesh.errors import UsageError
from demesh.limits import HTTP_BODY_BYTES_MAX
from demesh.probes.actual import told
from demesh.probes.base import HttpOptions, ProbeSpec
from demesh.probes.expectations import limits_broken, pattern_broken

_STATUS_DEFAULT = range(200, 300)
_EXPECTED_CHARS_SHOWN_MAX = 60
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
    http_version: str
    body: bytes
    content_type: str
    headers: Mapping[str, Sequence[str]]
    """The values of each header that is looked at, by its name in small letters."""


def broken_expectations(
    spec: ProbeSpec, options: HttpOptions, answer: HttpAnswer, wall_ms: Callable[[], int]
) -> dict[str, str]:
    """The expectations that `answer` breaks (see `expectations`); none means it passes."""
    expect, broken = spec.expect, dict[str, str]()
    if answer.status not in (expect.status if expect.status is not None else _STATUS_DEFAULT):
        expected = "200-299" if expect.status is None else ranges(expect.status)
        broken["status"] = f"status {answer.status}, expected {expected}"
    if options.http_version and answer.http_version != options.http_version:
        broken["http_version"] = f"HTTP/{answer.http_version} was spoken, expected HTTP/{options.http_version}"
    for name, pattern in expect.header:
        values = answer.headers.get(name.lower())
        # Several headers of one name are one list (RFC 9110, section 5.3).
        actual = ", ".join(values) if values is not None else ""
        key, what = f"header.{name}", f"header {name}"
        phrase = pattern_broken(key, what, actual, pattern, spec) if values else f"there is no {what}"
        if phrase:
            broken[key] = phrase
    if expect.body is not None:
        phrase = pattern_broken("body", "body", decode(answer.body, answer.content_type), expect.body, spec)
        if phrase:
            broken["body"] = phrase
    if expect.json:
        broken |= _json_broken(spec, answer)
    if expect.response_time_ms is not None or expect.cert_expires_in_ms is not None:
        broken |= limits_broken(spec, answer.latency_us, answer.certificate_expires_s, wall_ms)
    return broken


def _json_broken(spec: ProbeSpec, answer: HttpAnswer) -> dict[str, str]:
    from demesh.probes.http_json import NotJson, parse_json, same, values_at  # loads a library that few checks need

    broken: dict[str, str] = {}
    try:
        document = parse_json(answer.body)
    except NotJson:
        text = decode(answer.body, answer.content_type)
        said = f"the body is not JSON: {told(text, spec)}"
        if len(answer.body) == HTTP_BODY_BYTES_MAX:
            said = f"the body is larger than {HTTP_BODY_BYTES_MAX} bytes, and no JSON when cut there"
        return {f"json.{path}": said for path, _ in spec.expect.json}
    for path, expected in spec.expect.json:
        try:
            values = values_at(path, document, 2)
        except UsageError:
            broken[f"json.{path}"] = f"json {path} cannot be looked for: it is not a JSONPath"
        except NotJson:
            broken[f"json.{path}"] = f"json {path} cannot be looked for: the body nests too deep"
        else:
            if not values:
                broken[f"json.{path}"] = f"json {path} is not there"
            elif len(values) > 1:
                broken[f"json.{path}"] = f"json {path} is there more than once"
            elif not same(values[0], expected):
                shown, actual = _json(spec.expect.told(f"json.{path}", expected)), told(_json(values[0]), spec)
                if len(shown) > _EXPECTED_CHARS_SHOWN_MAX:
                    shown = shown[: _EXPECTED_CHARS_SHOWN_MAX - 1] + "…"
                broken[f"json.{path}"] = f"json {path} is not {shown}: {actual}"
    return broken


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


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
