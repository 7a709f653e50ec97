"""The broadcast message: a bundle of new entries, `[1, [envelope, …]]`, at most GOSSIP_MESSAGE_BYTES_MAX (docs/protocol.md).

Gossip is a hint: it makes entries known quickly, sync makes sure. So nothing here is acknowledged or kept.
"""

from collections.abc import Iterable

from demesh import limits
from demesh.errors import EntryError
from demesh.log.codec import Fields, Value, decode, encode
from demesh.log.entry import Entry, entry_of

VERSION = 1


def topic(mesh_id: bytes) -> str:
    """The one topic of a mesh."""
    return f"/demesh/1/{mesh_id.hex()}/entries"


def bundles(entries: Iterable[Entry]) -> list[bytes]:
    """Messages that carry `entries` in order, as few as the size bound allows."""
    messages: list[bytes] = []
    waiting: list[Value] = []
    size = 0
    for entry in entries:
        if waiting and size + entry.size > limits.GOSSIP_MESSAGE_BYTES_MAX - 16:
            messages.append(encode([VERSION, waiting]))
            waiting, size = [], 0
        waiting.append([entry.body, entry.signature])
        size += entry.size
    if waiting:
        messages.append(encode([VERSION, waiting]))
    return messages


def read_bundle(data: bytes) -> list[Entry]:
    """The entries in a message. Raises EntryError if any of it is not as it should be; then nothing of it counts."""
    if len(data) > limits.GOSSIP_MESSAGE_BYTES_MAX:
        raise EntryError("too_large", f"a message of {len(data)} bytes")
    fields = Fields(decode(data), "the message")
    if fields.uint("version", 255) != VERSION:
        raise EntryError("format", "a message of another version")
    envelopes = fields.array("entries", limits.GOSSIP_MESSAGE_BYTES_MAX)
    return [entry_of(envelope) for envelope in envelopes]
