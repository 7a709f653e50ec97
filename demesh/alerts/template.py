"""Texts with `{placeholders}`, filled with what there is to say of an incident. Pure.

A placeholder is one of PLACEHOLDERS and nothing else: it has no attributes, no format, no code. `{{` and `}}` are braces. What
is filled in is never looked at again, so nothing that a name or a description holds is taken for a placeholder.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from demesh.errors import UsageError

PLACEHOLDERS = (
    *("name", "subject", "severity", "state", "summary", "description", "since", "duration"),
    *("runbook", "mesh", "labels", "node"),
)
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_BRACES = {"{{": "{", "}}": "}"}


@dataclass(frozen=True, slots=True)
class Template:
    """A text whose placeholders are all known."""

    text: str

    @staticmethod
    def parse(text: str) -> "Template":
        """Raises UsageError, which repeats nothing of `text`."""
        for match in _TOKEN.finditer(text):
            if match[0] in _BRACES:
                continue
            if match[1] is None:
                raise UsageError("has a brace that belongs to no placeholder; write {{ or }} for a plain one")
            if match[1] not in PLACEHOLDERS:
                known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
                raise UsageError(f"has a placeholder that is none; there are {known}")
        return Template(text)

    def fill(self, values: Mapping[str, str]) -> str:
        return _TOKEN.sub(lambda match: _BRACES.get(match[0]) or values[match[1]], self.text)


TITLE = Template.parse("{state}: {name} {subject}")
BODY = Template.parse(
    "{summary}\n{description}\n\nSince {since} ({duration}). Severity {severity}, mesh {mesh}, told by {node}. {runbook}"
)
