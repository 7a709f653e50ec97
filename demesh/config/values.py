"""The kinds of value in a configuration: what pydantic does not know of itself, each with the sentence that refuses it.

A sentence may repeat a whole value (as `repr` has it), never a part of one: `demesh.config.problems` replaces values that
came from the environment.
"""

import json
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from demesh import limits
from demesh.address import parse_host_port, parse_peer
from demesh.alerts.sink import WEBHOOK_SCHEMES, is_webhook
from demesh.alerts.template import Template
from demesh.config.duration import format_duration, parse_duration
from demesh.config.size import format_size, parse_size
from demesh.config.when import check_when
from demesh.errors import UsageError
from demesh.identity import public_key_of
from demesh.log.matcher import parse_matcher
from demesh.log.plan import QUORUM_ALL, QUORUM_MAJORITY
from demesh.pattern import Pattern

_QUORUM_WORDS = {"any": 1, "majority": QUORUM_MAJORITY, "all": QUORUM_ALL}
_DAY_MS = 86_400_000


def check_http_url(url: str) -> None:
    """Raises UsageError, which does not repeat `url`: it may hold a password."""
    if not _is_url(url, ("http", "https")) or re.search(r"[?#]", url):
        raise UsageError("not the URL of an HTTP server; one looks like http://127.0.0.1:9093, without a query")


def _is_url(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0 and not re.search(r"\s", url)
    except ValueError:
        return False


def _duration_between(least_ms: int, most_ms: int) -> BeforeValidator:
    def validate(value: object) -> int:
        if not isinstance(value, str):
            raise ValueError('a duration is text with its unit, such as "30s"')
        ms = parse_duration(value)
        if not least_ms <= ms <= most_ms:
            raise ValueError(f"{value!r} must lie between {format_duration(least_ms)} and {format_duration(most_ms)}")
        return ms

    return BeforeValidator(validate)


def _size(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError('a size is text with its unit, such as "2GB"')
    size = parse_size(value)
    if size < limits.STORE_BYTES_MIN:
        raise ValueError(f"{value!r} is too little: at least {format_size(limits.STORE_BYTES_MIN)} are needed")
    return size


def _sentence(check: Any) -> Any:
    """A validator from a function that raises UsageError."""

    def validate(value: str) -> str:
        try:
            check(value)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return value

    return AfterValidator(validate)


def _text_like(pattern: str, sentence: str) -> AfterValidator:
    """Text that `pattern` matches as a whole."""
    compiled = re.compile(pattern)

    def validate(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(sentence)
        return value

    return AfterValidator(validate)


def _quorum(value: object) -> int:
    if isinstance(value, str) and value in _QUORUM_WORDS:
        return _QUORUM_WORDS[value]
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= limits.LOGS_MAX:
        return value
    raise ValueError('a quorum is "any", "majority", "all" or a number of nodes')


def _listen_or_none(value: str) -> None:
    if value != "none":
        parse_host_port(value)


def _proxy(value: str) -> None:
    if not _is_url(value, ("http", "https", "socks4", "socks5", "socks5h")):
        raise UsageError("not the URL of a proxy; one looks like http://127.0.0.1:3128 or socks5h://127.0.0.1:1080")


def _notify_url(value: str) -> None:
    if not re.match(r"[a-z][a-z0-9+.-]*://\S+$", value, re.IGNORECASE):
        raise UsageError("not a URL for notifications; one looks like ntfy://ntfy.sh/topic")
    if is_webhook(value) and not _is_url(value, WEBHOOK_SCHEMES):
        raise UsageError("not the URL of a webhook; one looks like https://hooks.example.net/demesh")


def _web_url(value: str) -> None:
    if not _is_url(value, ("http", "https")):
        raise UsageError("not a URL that can be fetched; one looks like https://hc-ping.example.net/6f1c")


def _allow_requests(value: object) -> object:
    if value is False:
        return "none"
    if value in ("public", "any"):
        return value
    raise ValueError('input should be "public", "any" or false')


def _selector(value: str) -> str:
    if not value.removeprefix("tag:").strip():
        raise ValueError('a selector is "*", the name of a node, or "tag:" and a tag')
    return value


def none_alone(value: list[str]) -> list[str]:
    if "none" in value and len(value) > 1:
        raise ValueError('"none" stands alone')
    return value


def one_or_many(value: object) -> object:
    return [value] if isinstance(value, str | int) else value


def _json_value(value: Any) -> Any:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError("a value that JSON has: text, a number, true, false, an array or a table") from None
    return value


def _json_path(value: str) -> None:
    import jsonpath

    try:
        jsonpath.compile(value)
    except Exception:  # noqa: BLE001 what it raises for text that is none is not documented
        raise UsageError('not a JSONPath; one looks like "$.db.state"') from None


def _record_type(value: str) -> str:
    import dns.rdatatype

    try:
        return dns.rdatatype.to_text(dns.rdatatype.from_text(value))
    except (dns.rdatatype.UnknownRdatatype, ValueError):
        raise ValueError(f'{value!r} is no type of DNS record; one looks like "A", "MX" or "TYPE65"') from None


def _rcode(value: str) -> str:
    import dns.rcode

    try:
        return dns.rcode.to_text(dns.rcode.from_text(value))
    except (dns.rcode.UnknownRcode, ValueError):
        raise ValueError(f'{value!r} is no DNS response code; one looks like "NOERROR" or "NXDOMAIN"') from None


_NAME = rf"a name has 1 to {limits.NAME_CHARS_MAX} letters, digits, spaces or . : @ + / - _"
_LABEL = f"a label's name has 1 to {limits.NAME_CHARS_MAX} letters, digits or _, no digit first"
_NO_CONTROL = r"[^\x00-\x1f\x7f]*"

Interval = Annotated[int, _duration_between(limits.INTERVAL_MS_MIN, limits.INTERVAL_MS_MAX)]
Timeout = Annotated[int, _duration_between(limits.TIMEOUT_MS_MIN, limits.TIMEOUT_MS_MAX)]
Offset = Annotated[int, _duration_between(1, _DAY_MS)]
Flush = Annotated[int, _duration_between(limits.FLUSH_INTERVAL_MS_MIN, limits.FLUSH_INTERVAL_MS_MAX)]
BackWithin = Annotated[int, _duration_between(10_000, 30 * _DAY_MS)]
Lifetime = Annotated[int, _duration_between(1_000, 3_650 * _DAY_MS)]
Days = Annotated[int, Field(ge=1, le=limits.STORE_DAYS_MAX)]
Size = Annotated[int, BeforeValidator(_size)]
Count = Annotated[int, Field(ge=1, le=100)]
Quorum = Annotated[int, BeforeValidator(_quorum)]
Name = Annotated[str, _text_like(rf"[\w][\w.:@+ /-]{{0,{limits.NAME_CHARS_MAX - 1}}}", _NAME)]
PublicCheck = Annotated[
    str, _text_like(rf"\*|[\w][\w.:@+ /-]{{0,{limits.NAME_CHARS_MAX - 1}}}", f"{_NAME}; all checks are *")
]
LabelName = Annotated[str, _text_like(rf"[a-zA-Z_][a-zA-Z0-9_]{{0,{limits.NAME_CHARS_MAX - 1}}}", _LABEL)]
Text = Annotated[str, Field(max_length=limits.TEXT_CHARS_MAX)]
Labels = Annotated[dict[LabelName, Text], Field(max_length=limits.LABELS_MAX // 2)]
AllowRequests = Annotated[Literal["public", "any", "none"], BeforeValidator(_allow_requests)]
"""Which targets a node probes for other members that ask: those with public addresses, any, or none."""
Selector = Annotated[Text, AfterValidator(_selector)]
Peer = Annotated[str, _sentence(parse_peer)]
PeerId = Annotated[str, _sentence(public_key_of)]
HostPort = Annotated[str, _sentence(parse_host_port)]
SwarmListen = Annotated[str, _sentence(_listen_or_none)]
ApiListen = Annotated[str, _sentence(_listen_or_none)]
HttpUrl = Annotated[str, _sentence(check_http_url)]
ProxyUrl = Annotated[str, _sentence(_proxy)]
WebUrl = Annotated[str, _sentence(_web_url)]
RepeatEvery = Annotated[int, _duration_between(limits.NOTIFY_REPEAT_MS_MIN, limits.NOTIFY_REPEAT_MS_MAX)]
TemplateText = Annotated[str, Field(max_length=limits.NOTIFY_TEMPLATE_CHARS_MAX), _sentence(Template.parse)]
NotifyUrl = Annotated[str, _sentence(_notify_url)]
Regex = Annotated[str, _sentence(Pattern.compile)]
LabelMatcher = Annotated[str, _sentence(parse_matcher)]
When = Annotated[str, _sentence(check_when)]
FileName = Annotated[str, Field(min_length=1), _text_like(r"[^\x00]*", "not the name of a file")]
Status = Annotated[int, Field(ge=100, le=599)]
JsonPath = Annotated[Text, _sentence(_json_path)]
JsonValue = Annotated[Any, AfterValidator(_json_value)]
HeaderName = Annotated[str, _text_like(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}", "not the name of an HTTP header")]
HeaderValue = Annotated[
    str, Field(max_length=limits.HTTP_HEADER_CHARS_MAX), _text_like(_NO_CONTROL, "control characters are not allowed")
]
Method = Annotated[str, _text_like(r"[A-Z]{1,32}", 'an HTTP method is in capitals, such as "POST"')]
Credential = Annotated[
    str,
    Field(max_length=limits.SECRET_FILE_BYTES_MAX),
    _text_like(_NO_CONTROL, "control characters are not allowed"),
]
HostName = Annotated[str, _text_like(r"[^\s\x00-\x1f\x7f/:@?#]{1,253}", 'a host name is meant, such as "example.org"')]
Alpn = Annotated[str, _text_like(r"[\x21-\x7e]{1,255}", 'an ALPN name is meant, such as "h2"')]
Topic = Annotated[
    str,
    _text_like(
        rf"[^\x00-\x1f\x7f$/+#][^\x00-\x1f\x7f+#]{{0,{limits.MQTT_TOPIC_CHARS_MAX - 2}}}(?<!/)",
        'what topics lie beneath is meant, such as "probes/demesh": without + and #, with neither $ nor / at its ends',
    ),
]
RecordType = Annotated[str, AfterValidator(_record_type)]
Rcode = Annotated[str, AfterValidator(_rcode)]
Argument = Annotated[str, _text_like(r"[^\x00]*", "a zero character is not allowed")]
VariableName = Annotated[str, _text_like(r"[^=\x00]+", "not the name of an environment variable")]
Entry = Annotated[
    str,
    _text_like(
        r"[\w.-]{1,256}(:[\w.]{1,256})?",
        'an entry is "package.module:function", or the name of an entry point in the group demesh.checks',
    ),
]
