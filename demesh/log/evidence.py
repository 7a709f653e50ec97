"""Proof that the owner of a log signed two histories: two different entries at one place, each vouched for by its signature.

    seq        …  41    42    43    44       the proof:  [log16, 42, [x y], [a b c]]
    one        …  ■ ──  a ──  b ──  c        c and y are signed; what stands before them is vouched for through the links
    other          ╰──  x ──  y

A *segment* is one history from the fork's place on, up to its first signed entry. Two segments of one log that follow the same
entry, and whose first bodies differ, are a proof that nobody but the owner of the key can make, and that everybody who knows the
key can check: no trust in whoever brings it is needed. (Two histories differ in every later place, too. There they follow
different entries, and that proves nothing: or whoever has both could make more of a log void than its owner did.)

Of several proofs of one log the one with the lowest place counts, of those of one place the one with the smallest id: so all who
know the same proofs let the log end in the same place.

Guarantees: the same two entries give the same id, whichever came first and whatever stands behind them. Not guaranteed: that a
fork is found: what holders have forgotten proves nothing any more.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from demesh import limits
from demesh.errors import EntryError
from demesh.log.codec import Fields, Value, encode
from demesh.log.entry import KINDS_UNSIGNED, Entry, entry_of, verify
from demesh.log.hello import is_hello_of


@dataclass(frozen=True, slots=True)
class Fork:
    """What follows from a proof for its log, which ends in front of entry `seq`."""

    seq: int
    id: bytes
    """The proof's: 32 bytes by which a hello cites it."""
    prev: bytes
    """The hash of the entry before the fork: the proof vouches for what leads up to it."""
    dated_ms: int
    """When the later one of the two entries was made, on its author's wall clock."""

    @property
    def end(self) -> int:
        """The first place of the log that nothing is taken for. Of a fork in place 0 one hello stays: it says whose log it is."""
        return max(self.seq, 1)

    @property
    def rank(self) -> tuple[int, bytes]:
        """Of two proofs of one log the one with the lower rank counts."""
        return self.seq, self.id[:8]


@dataclass(frozen=True, slots=True)
class Proof:
    """Two segments, the one whose first entry has the smaller hash first."""

    log: bytes
    seq: int
    one: tuple[Entry, ...]
    other: tuple[Entry, ...]

    @property
    def fork(self) -> Fork:
        one, other = self.one[0], self.other[0]
        return Fork(self.seq, self.id, one.prev, max(one.wall_ms, other.wall_ms))

    @property
    def id(self) -> bytes:
        parted: list[Value] = [self.log, self.seq, self.one[0].hash, self.other[0].hash]
        return hashlib.blake2b(encode(parted), digest_size=32, person=b"demesh/proof/1").digest()

    def value(self) -> Value:
        segments: list[list[Value]] = [
            [[entry.body, entry.signature] for entry in segment] for segment in (self.one, self.other)
        ]
        return [self.log, self.seq, *segments]


def proof_of(mine: Sequence[Entry], theirs: Sequence[Entry]) -> Proof:
    """The proof in two segments that begin at one place of one log. Raises EntryError("no_proof") if they are none."""
    if not mine or not theirs:
        raise EntryError("no_proof", "a segment is empty")
    one, other = sorted((tuple(mine), tuple(theirs)), key=lambda segment: segment[0].hash)
    first = one[0]
    if (other[0].log, other[0].seq, other[0].prev) != (first.log, first.seq, first.prev) or other[0].hash == first.hash:
        raise EntryError("no_proof", "the two histories do not part at one place of one log")
    return Proof(first.log, first.seq, one, other)


def read_proof(value: Value) -> Proof:
    """The proof that `Proof.value` told of; its signatures are not looked at. Raises EntryError."""
    fields = Fields(value, "the proof")
    log, seq = fields.octets("log id", 16), fields.uint("sequence number", limits.SEQ_MAX)
    one, other = (
        [entry_of(each) for each in fields.array(name, limits.PROOF_ENTRIES_MAX)]
        for name in ("one history", "the other")
    )
    proof = proof_of(one, other)
    if (proof.log, proof.seq) != (log, seq) or proof.one != tuple(one):
        raise EntryError("no_proof", "the proof is not of the place that it names, or not in order")
    return proof


def check_proof(public_key: bytes, mesh_id: bytes, proof: Proof) -> None:
    """Raises EntryError unless the owner of `public_key` signed both histories for this mesh."""
    for segment in (proof.one, proof.other):
        if segment_of(segment) != list(segment):
            raise EntryError("no_proof", "a history has a gap, or does not end at its first signed entry")
        if not verify(public_key, mesh_id, segment[-1]):
            raise EntryError("bad_signature", "a history is not signed by the log's owner")
        if proof.seq == 0 and not is_hello_of(public_key, segment[0]):
            raise EntryError("no_proof", "a history does not begin with the hello of its log")


def segment_of(entries: Iterable[Entry]) -> list[Entry]:
    """The front of `entries`, which follow each other, up to and with the first that is signed; nothing if none vouches."""
    found: list[Entry] = []
    size = 0
    for entry in entries:
        size += entry.size
        linked = not found or (
            entry.log == found[-1].log and entry.seq == found[-1].seq + 1 and entry.prev == found[-1].hash
        )
        if not linked or size > limits.PROOF_SEGMENT_BYTES_MAX or len(found) == limits.PROOF_ENTRIES_MAX:
            return []
        found.append(entry)
        if entry.signature:
            return found
        if entry.kind not in KINDS_UNSIGNED:
            return []
    return []
