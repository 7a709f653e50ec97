"""Proofs that logs are forked, and how a log in the store ends in front of its fork (docs/store.md).

    seq     …  39    40    41  │  42    43        the proof names 42: entries from there on go, 41 is the head for good
               ■ ──  ■ ──  ■   │  a ──  b
                               ╰  x ──  y         what the other history said, in the proof only

Guarantees: a proof is kept as long as its log is held, and of each log the one that counts. What stands before the fork needs no
signature behind it: the proof's own entries vouch for it, through their link. A proof whose bytes have gone bad is as good as
none: peers send it again.

Each function works inside a transaction of its caller.
"""

# pyright: reportUnknownMemberType=false
# (apsw's stubs use collections.abc.Buffer, which Python 3.11 does not have yet)

import hashlib
from contextlib import suppress
from typing import cast

import apsw

from demesh.errors import EntryError
from demesh.log import store_prune
from demesh.log.codec import decode, encode
from demesh.log.evidence import Proof, read_proof
from demesh.log.head import Head

SCHEMA = """
CREATE TABLE fork (
    log BLOB PRIMARY KEY,
    seal BLOB NOT NULL,                  -- the first bytes of the proof's hash
    proof BLOB NOT NULL
) WITHOUT ROWID;
"""


_COLUMNS = "SELECT CAST(log AS BLOB), CAST(seal AS BLOB), CAST(proof AS BLOB) FROM fork"


def proofs(db: apsw.Connection, of: bytes | None = None) -> dict[bytes, Proof]:
    """Those that are intact, by log, or the one `of` a log; none in a store of an older version. Nothing is verified."""
    found: dict[bytes, Proof] = {}
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'fork'").get is None:
        return found
    rows = db.execute(_COLUMNS) if of is None else db.execute(f"{_COLUMNS} WHERE log = ?", (of,))
    for log, seal, blob in rows:
        encoded = cast(bytes, blob or b"")
        with suppress(EntryError):
            proof = read_proof(decode(encoded))
            if proof.log == log and _seal(encoded) == seal:
                found[proof.log] = proof
    return found


def keep(db: apsw.Connection, proof: Proof) -> None:
    """Keep `proof` in the place of the one that counted before."""
    encoded = encode(proof.value())
    db.execute("INSERT OR REPLACE INTO fork VALUES (?, ?, ?)", (proof.log, _seal(encoded), encoded))


def cut(db: apsw.Connection, number: int, proof: Proof, *, is_whole: bool) -> None:
    """Let log `number`, which reaches the fork, end in front of it.

    `is_whole`: it still holds the entry before, which is the proof's. Of a fork in place 0 the caller puts back a hello.
    """
    end = proof.fork.end
    db.execute("DELETE FROM entry WHERE log = ? AND seq >= ?", (number, end))
    if proof.seq == 0:
        db.execute(
            "UPDATE log SET head_seq = 0, head_hash = ?, pruned_to = 0 WHERE no = ?", (proof.one[0].hash, number)
        )
        return
    head = Head(proof.seq - 1, proof.fork.prev)
    if is_whole:
        db.execute("UPDATE log SET head_seq = ?, head_hash = ? WHERE no = ?", (head.seq, head.hash, number))
    else:
        store_prune.restart_at(db, number, head)


def drop_without_log(db: apsw.Connection) -> None:
    """Proofs go with the logs that they are about."""
    db.execute("DELETE FROM fork WHERE log NOT IN (SELECT id FROM log)")


def _seal(encoded: bytes) -> bytes:
    return hashlib.blake2b(encoded, digest_size=8, person=b"demesh/seal/1").digest()
