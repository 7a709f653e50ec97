"""Regular expressions that users write, searched for in what strangers send: bounded in time, unlike the standard library's.

The `regex` module's syntax in its version-0 behaviour, which is that of `re`. A search that takes longer than
PATTERN_SECONDS_MAX is given up with PatternTooSlow: an expression with nested repeats can take longer than the universe on
the right text.
"""

from dataclasses import dataclass

import regex

from demesh.errors import UsageError
from demesh.limits import PATTERN_SECONDS_MAX


class PatternTooSlow(Exception):
    """A search took too long."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled expression. Equal when the texts are."""

    text: str
    _compiled: "regex.Pattern[str]"

    @classmethod
    def compile(cls, text: str) -> "Pattern":
        """Raises UsageError with a phrase without a full stop."""
        try:
            return cls(text, regex.compile(text))
        except (regex.error, OverflowError, RecursionError, ValueError) as error:
            raise UsageError(f"not a regular expression: {error}") from None

    def found_in(self, text: str) -> bool:
        """Whether the expression matches somewhere in `text`. Raises PatternTooSlow."""
        try:
            return self._compiled.search(text, timeout=PATTERN_SECONDS_MAX) is not None
        except TimeoutError:
            raise PatternTooSlow from None

    def matches(self, text: str) -> bool:
        """Whether the expression matches all of `text`. Raises PatternTooSlow."""
        try:
            return self._compiled.fullmatch(text, timeout=PATTERN_SECONDS_MAX) is not None
        except TimeoutError:
            raise PatternTooSlow from None
