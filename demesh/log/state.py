"""What a node holds of each log, and how it tells others: its vector of heads, and the digest of that."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from demesh.log.codec import Value, encode
from demesh.log.evidence import Fork
from demesh.log.head import Head


@dataclass(frozen=True, slots=True)
class LogState:
    """What must be known of a log to let it grow. `pruned_to` is the first sequence number that is kept."""

    log: bytes
    public_key: bytes
    head: Head
    pruned_to: int = 0
    fork: Fork | None = None
    """Where its owner is proven to have signed two histories."""


def vector(states: Iterable[LogState]) -> list[Value]:
    """The rows `[log16, pruned_to, head_seq, head_hash8]` that tell another node what this one holds, in order of log id.

    Of a log that is forked they go on with `fork_seq, proof_id8`.
    """
    ordered = sorted(states, key=lambda state: state.log)
    return [[state.log, state.pruned_to, state.head.seq, state.head.hash[:8], *_forked(state)] for state in ordered]


def vector_digest(states: Iterable[LogState]) -> bytes:
    """32 bytes that are equal on two nodes exactly when they hold the same heads, and the same proofs of forks.

    `pruned_to` is left out: it may differ.
    """
    ordered = sorted(states, key=lambda state: state.log)
    heads: list[Value] = [[state.log, state.head.seq, state.head.hash[:8], *_forked(state)] for state in ordered]
    return hashlib.blake2b(encode(heads), digest_size=32, person=b"demesh/vector/1").digest()


def _forked(state: LogState) -> list[Value]:
    return list(state.fork.rank) if state.fork else []
