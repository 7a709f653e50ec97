"""Which events are about a check or a member, whatever their type: those that name it.

Types of events are made by many parts of demesh, and by later versions of it; so this asks no event what it means. An event names
something where its subject or one of its details is the name, or holds it as a word (`check=web`), or as a pattern that
fits it (`web*`). What names one incident of it by an id is about it too.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from demesh.log.event import Event

_WORD = re.compile(r"[^\s,;=/(){}\"']+")
_SENTENCES = ("text", "comment", "reason")
"""Details in which a word may be anything."""
_IDS = ("key", "incident", "id")
WITNESSED = ("notifying", "notified")
"""Types of events by which a node notes that it tells somebody, or has told."""


@dataclass(frozen=True, slots=True)
class Concern:
    """What an event may call it, and the ids of incidents about it."""

    names: frozenset[str]
    ids: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Collection[str], events: Iterable[Event]) -> "Concern":
        """With the ids that those of `events` tell which name it."""
        named = cls(frozenset(names))
        ids = {event.details.get(key, "") for event in events if named.has(event) for key in _IDS}
        return cls(named.names, frozenset(ids) - {""})

    def has(self, event: Event) -> bool:
        said = [event.subject, *(value for key, value in event.details.items() if key not in _SENTENCES)]
        return any(self._means(text) for text in said)

    def _means(self, text: str) -> bool:
        if text in self.names or text in self.ids:
            return True
        return any(
            word in self.names or ("*" in word and any(fnmatchcase(name, word) for name in self.names))
            for word in _WORD.findall(text)
        )
