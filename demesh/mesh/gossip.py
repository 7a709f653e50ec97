"""The broadcast messages, each of at most GOSSIP_MESSAGE_BYTES_MAX (docs/protocol.md).

    [1, [envelope, …]]    new entries
    [2, proof]            that a log is forked (`demesh.log.evidence`), once by whoever found it

Gossip is a hint: it makes entries known quickly, sync makes sure. So nothing here is acknowledged or kept.
"""

from collections.abc import Iterable

from demesh import limits
from demesh.errors import EntryError
from demesh.log.codec import Fields, Value, decode, encode
from demesh.log.entry import Entry, entry_of
from demesh.log.evidence import Proof, read_proof

_ENTRIES = 1
_PROOF = 2


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
            messages.append(encode([_ENTRIES, waiting]))
            waiting, size = [], 0
        waiting.append([entry.body, entry.signature])
        size += entry.size
    if waiting:
        messages.append(encode([_ENTRIES, waiting]))
    return messages


def accusation(proof: Proof) -> bytes | None:
    """The message that tells of `proof`; None if it is too large for one: then sync alone brings it."""
    message = encode([_PROOF, proof.value()])
    return message if len(message) <= limits.GOSSIP_MESSAGE_BYTES_MAX else None


def read_message(data: bytes) -> list[Entry] | Proof:
    """The entries in a message, or the proof. Raises EntryError if any of it is not as it should be: nothing of it counts."""
    if len(data) > limits.GOSSIP_MESSAGE_BYTES_MAX:
        raise EntryError("too_large", f"a message of {len(data)} bytes")
    fields = Fields(decode(data), "the message")
    kind = fields.uint("kind", 255)
    if kind == _PROOF:
        return read_proof(fields.array("proof", 16))
    if kind != _ENTRIES:
        raise EntryError("format", "a message of another version")
    envelopes = fields.array("entries", limits.GOSSIP_MESSAGE_BYTES_MAX)
    return [entry_of(envelope) for envelope in envelopes]
