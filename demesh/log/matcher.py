"""Matchers: which labels are meant, in Alertmanager's words. `check=api`, `node!=nas`, `severity=~"warning|info"`, `team!~x.*`.

A label that is not there has the empty value. An expression must match the whole value. One that is no expression, or takes too
long on some value (`demesh.pattern`), matches nothing from then on, whichever way round it is asked: it mutes nobody.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from demesh import limits
from demesh.errors import UsageError
from demesh.pattern import Pattern, PatternTooSlow

_WRITTEN = re.compile(r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_EXPRESSIONS_KEPT = 1_024


@dataclass(frozen=True, slots=True)
class Matcher:
    """`operator` is one of = != =~ !~."""

    name: str
    operator: str
    value: str

    @property
    def text(self) -> str:
        """As it stands in a log: the value as it is, without quotes."""
        return f"{self.name}{self.operator}{self.value}"

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.name, "")
        if self.operator in ("=", "!="):
            return (value == self.value) == (self.operator == "=")
        found = _expression(self.value).found(value)
        return found is not None and found == (self.operator == "=~")


def matches_all(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    return all(each.matches(labels) for each in matchers)


def read_matcher(text: str) -> Matcher | None:
    """The matcher that stands in a log as `text`; None if it is none."""
    found = re.fullmatch(r"([a-zA-Z_][a-zA-Z0-9_]*)(=~|!~|!=|=)(.*)", text, re.DOTALL)
    return Matcher(found[1], found[2], found[3]) if found and len(text) <= limits.MATCHER_CHARS_MAX else None


def parse_matcher(written: str) -> Matcher:
    """The matcher that a person wrote, the value in quotes or not. Raises UsageError."""
    found = _WRITTEN.fullmatch(written)
    if not found:
        raise UsageError(
            f'{written!r} is no matcher; one looks like check=api, node!=nas, severity=~"warning|info" or team!~web.*'
        )
    quoted = _QUOTED.fullmatch(found[3])
    value = re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL) if quoted else found[3]
    matcher = Matcher(found[1], found[2], value)
    if len(matcher.text) > limits.MATCHER_CHARS_MAX:
        raise UsageError(f"A matcher has at most {limits.MATCHER_CHARS_MAX} characters.")
    if matcher.operator in ("=~", "!~"):
        try:
            Pattern.compile(value)
        except UsageError as error:
            raise UsageError(f"{written!r}: {error}.") from None
    return matcher


class _Expression:
    """A compiled expression, given up for good once it was too slow: each such search holds the event loop."""

    def __init__(self, text: str) -> None:
        try:
            self._pattern: Pattern | None = Pattern.compile(text)
        except UsageError:
            self._pattern = None

    def found(self, value: str) -> bool | None:
        if self._pattern is None:
            return None
        try:
            return self._pattern.matches(value)
        except PatternTooSlow:
            self._pattern = None
            return None


@lru_cache(maxsize=_EXPRESSIONS_KEPT)
def _expression(text: str) -> _Expression:
    return _Expression(text)
