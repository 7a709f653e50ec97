"""A change of the mesh's swarm key: what is known of it, what is said about it, and what follows from what a peer says.

    stable ──begin, or a member's offer──> changing ──finished──> stable, with the new key
      one key                                 both keys

Whoever begins writes down which members may have the new key. That list goes with the key and never grows, so whoever
appears during the change, with the old key and a fresh identity, gets nothing. Members hand the key on to members; who has
it (`confirmed`) and that the old one is dropped (`finished`) only ever grow, so it does not matter who tells whom first.

Guaranteed: the new key is said to members on the list only, and only in an offer; no answer holds a key. Not guaranteed:
that of two changes begun apart from each other either goes through by itself. A node keeps the one it heard of first.

This module is sans-IO; `demesh.mesh.rotation` moves the bytes and `demesh.swarm_key_files` keeps the change on the disk.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum

from demesh import limits
from demesh.errors import EntryError, SyncError
from demesh.identity import SwarmKey
from demesh.log.codec import Fields, Value, decode, encode, values


class Message(IntEnum):
    OFFER = 1
    ANSWER = 2
    REFUSED = 5


class Refusal(IntEnum):
    """Why an offer is not taken."""

    STRANGER = 1  # whoever offers it is not trusted here, or may not have the key that is being handed round
    OTHER_CHANGE = 2  # another change is under way here
    OTHER_KEY = 3  # it replaces a key that this node does not have
    BUSY = 4  # try later
    MALFORMED = 5


@dataclass(frozen=True, slots=True)
class Change:
    """`old` is the digest of the key to be replaced, `key` the new one; members are public keys, `by` is who began."""

    old: bytes
    key: SwarmKey
    by: bytes
    members: frozenset[bytes]
    confirmed: frozenset[bytes] = frozenset()
    finished: bool = False

    def missing(self) -> frozenset[bytes]:
        """The members that are not known to have the key."""
        return self.members - self.confirmed

    def joined(self, confirmed: Iterable[bytes], finished: bool) -> "Change":
        """With what somebody else knows of it."""
        known = self.confirmed | (frozenset(confirmed) & self.members)
        return replace(self, confirmed=known, finished=self.finished or finished)


@dataclass(frozen=True, slots=True)
class Taken:
    """What this node says to an offer, and the change it knows of from now on: None if it uses that key already."""

    answer: bytes
    change: Change | None


class Declined(SyncError):
    """An offer is not taken, for the reason `code`."""


def consider(
    offered: Change,
    sender: bytes,
    *,
    own: Change | None,
    current: SwarmKey,
    settled: bool,
    me: bytes,
    trusted: frozenset[bytes],
) -> Taken:
    """What follows from an offer of `sender`, whom the network has authenticated. Raises Declined.

    `own` is the change under way here, `current` the key that it would replace, `trusted` the members this node knows.
    `settled`: `current` itself came by a change that is finished; without, it may be of an invitation made during one.
    """
    if offered.key == current:
        return Taken(answer_of(current, {me}, settled), None)
    if own is not None and own.key == offered.key:
        if sender not in own.members:
            raise Declined(
                "this node does not talk about that with a node which may not have the key", Refusal.STRANGER
            )
        change = own.joined({*offered.confirmed, sender, me}, offered.finished)
    elif own is not None:
        if sender not in own.members:
            raise Declined("this node does not take keys from a node which may not have the new one", Refusal.STRANGER)
        raise Declined("another change of the swarm key is under way at this node", Refusal.OTHER_CHANGE)
    elif sender not in trusted or not offered.members >= {sender, me, offered.by}:
        raise Declined("this node takes a swarm key only from a member that it knows", Refusal.STRANGER)
    elif offered.old != current.digest:
        raise Declined("this node has another swarm key than the one to be replaced", Refusal.OTHER_KEY)
    else:
        change = offered.joined({sender, me}, offered.finished)
    return Taken(answer_of(change.key, change.confirmed, change.finished), change)


# What is said. Each message is CBOR behind its length, as in sync.


def encode_change(change: Change) -> bytes:
    """An offer; also what is kept on the disk."""
    members, confirmed = (values(sorted(keys)) for keys in (change.members, change.confirmed))
    return encode(
        [Message.OFFER, change.old, change.key.psk, change.by, members, confirmed, int(change.finished)],
    )


def decode_change(data: bytes) -> Change:
    """Raises EntryError."""
    fields = Fields(decode(data), "the offer")
    if fields.uint("type", 255) != Message.OFFER:
        raise EntryError("shape", "this is no offer")
    old, psk, by = fields.octets("old", 8), fields.octets("key", 32), fields.octets("by", 32)
    members = _keys(fields.array("members", limits.KEY_MEMBERS_MAX))
    confirmed = _keys(fields.array("confirmed", limits.KEY_MEMBERS_MAX))
    return Change(old, SwarmKey(psk), by, members, confirmed & members, bool(fields.uint("finished", 1)))


def answer_of(key: SwarmKey, confirmed: Iterable[bytes], finished: bool) -> bytes:
    """That this node has the key, named by its digest, and who else is known to."""
    return encode([Message.ANSWER, key.digest, values(sorted(confirmed)), int(finished)])


def refusal(code: Refusal, sentence: str) -> bytes:
    return encode([Message.REFUSED, code, sentence])


def answered(data: bytes, change: Change, peer: bytes) -> Change:
    """`change` with what `peer` answered to its offer. Raises Declined if it does not take it, EntryError for nonsense."""
    fields = Fields(decode(data), "the answer")
    kind = fields.uint("type", 255)
    if kind == Message.REFUSED:
        code = fields.uint("code", 255)
        raise Declined(fields.text("sentence"), code)
    if kind != Message.ANSWER or fields.octets("digest", 8) != change.key.digest:
        raise EntryError("shape", "this is no answer to the offer")
    confirmed = _keys(fields.array("confirmed", limits.KEY_MEMBERS_MAX))
    return change.joined({*confirmed, peer}, bool(fields.uint("finished", 1)))


def _keys(found: list[Value]) -> frozenset[bytes]:
    for each in found:
        if not isinstance(each, bytes) or len(each) != 32:
            raise EntryError("shape", "a member's key has 32 bytes")
    return frozenset(each for each in found if isinstance(each, bytes))
