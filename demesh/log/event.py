"""The payload `event`: something that happened or was decided, said by its author.

    [type, subject, details]                        details: keys and values in turn, texts

`type` is a word that says what it is; `subject` is the name of what it is about, or empty. A type that one does not know is
kept and passed on, and listed by `demesh log tail` as it is. Known so far:

    warning      subject: what it concerns (`retention`, `configuration`); `text` is a sentence for people
    forget       subject: the peer id of a member that is no member any more until it is heard of again; `log` (hex) and `seq`
                 are the head of its log as the author held it
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from demesh import limits
from demesh.errors import EntryError
from demesh.log.codec import Fields, Value

WARNING = "warning"
FORGET = "forget"
_TEXT = "text"


@dataclass(frozen=True, slots=True)
class Event:
    type: str
    subject: str = ""
    details: Mapping[str, str] = field(default_factory=dict[str, str])

    def payload(self) -> Value:
        flat: list[Value] = [text for pair in sorted(self.details.items()) for text in pair]
        return [self.type, self.subject, flat]


def warning(subject: str, text: str) -> Event:
    """That something about this node wants a look. `text` reaches every member, so there may be no secret in it."""
    return Event(WARNING, subject, {_TEXT: text[: limits.TEXT_CHARS_MAX]})


def warning_text(event: Event) -> str | None:
    """What a warning says; None for another event."""
    return event.details.get(_TEXT, "") if event.type == WARNING else None


def read_event(payload: Value) -> Event:
    """Raises EntryError("shape")."""
    fields = Fields(payload, "the event")
    type_ = fields.text("type", limits.NAME_CHARS_MAX, 1)
    subject = fields.text("subject", limits.TEXT_CHARS_MAX)
    texts = fields.texts("details", 2 * limits.LABELS_MAX)
    if len(texts) % 2:
        raise EntryError("shape", "the event: keys and values must alternate")
    return Event(type_, subject, dict(zip(texts[::2], texts[1::2], strict=True)))
