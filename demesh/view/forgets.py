"""Which members were forgotten: who was, and up to which entry of which log. Pure.

A member that has written since, in that log or another, is one again.
"""

from collections import OrderedDict
from collections.abc import Iterator

from demesh import limits
from demesh.errors import EntryError, UsageError
from demesh.identity import public_key_of
from demesh.log.entry import Entry
from demesh.log.event import FORGET, read_event


class Forgets:
    """The FORGETS_MAX that were noted last."""

    def __init__(self) -> None:
        self._noted: OrderedDict[tuple[bytes, bytes], int] = OrderedDict()

    def __iter__(self) -> Iterator[tuple[tuple[bytes, bytes], int]]:
        """((who, log), sequence number), oldest first."""
        return iter(self._noted.items())

    def names(self, public_key: bytes) -> bool:
        return any(subject == public_key for subject, _ in self._noted)

    def note(self, entry: Entry) -> bytes | None:
        """Whom `entry`, an event, forgets, if anybody. Raises EntryError for one that cannot be understood."""
        try:
            event = read_event(entry.payload)
        except EntryError:
            return None  # counted when it was folded
        if event.type != FORGET:
            return None
        try:
            subject = public_key_of(event.subject)
            log, seq = bytes.fromhex(event.details.get("log", "")), int(event.details.get("seq", "0"))
        except (UsageError, ValueError):
            raise EntryError("shape", "the event: who is forgotten cannot be read") from None
        self._noted[subject, log] = seq
        if len(self._noted) > limits.FORGETS_MAX:
            self._noted.popitem(last=False)
        return subject
