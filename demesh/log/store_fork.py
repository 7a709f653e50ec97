"""Proofs that logs are forked, and how a log in the store ends in front of its fork (docs/store.md).

    seq     …  39    40    41  │  42    43        the proof names 42: entries from there on go, 41 is the head for good
               ■ ──  ■ ──  ■   │  a ──  b
                               ╰  x ──  y         what the other history said, in the proof only

Guarantees: a proof is kept as long as its log is held, and of each log the one that counts. What stands before the fork needs no
signature behind it: the proof's own entries vouch for it, through their link. Where the two histories parted earlier, in places
that somebody has forgotten, nothing that needs a link is kept. A proof whose bytes have gone bad is as good as none: peers
send it again.

Each function works inside a transaction of its caller.
"""

# pyright: reportUnknownMemberType=false
# (apsw's stubs use collections.abc.Buffer, which Python 3.11 does not have yet)

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
    id BLOB NOT NULL,                    -- the proof's
    proof BLOB NOT NULL
) WITHOUT ROWID;
"""


def proofs(db: apsw.Connection) -> dict[bytes, Proof]:
    """Those that are intact, by log; none in a store of an older version. Their signatures are not looked at."""
    found: dict[bytes, Proof] = {}
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'fork'").get is None:
        return found
    for log, proof_id, blob in db.execute("SELECT CAST(log AS BLOB), CAST(id AS BLOB), CAST(proof AS BLOB) FROM fork"):
        try:
            proof = read_proof(decode(cast(bytes, blob or b"")))
        except EntryError:
            continue
        if (proof.log, proof.id) == (log, proof_id):
            found[proof.log] = proof
    return found


def keep(db: apsw.Connection, proof: Proof) -> None:
    """Keep `proof` in the place of the one that counted before."""
    db.execute("INSERT OR REPLACE INTO fork VALUES (?, ?, ?)", (proof.log, proof.id, encode(proof.value())))


def cut(db: apsw.Connection, number: int, proof: Proof, before: Head | None) -> None:
    """Let log `number`, which reaches the fork, end in front of it.

    `before` is what it holds there; None if that is not whole any more. Of a fork in place 0 the caller puts back a hello.
    """
    end = proof.fork.end
    db.execute("DELETE FROM entry WHERE log = ? AND seq >= ?", (number, end))
    if proof.seq == 0:
        db.execute(
            "UPDATE log SET head_seq = 0, head_hash = ?, pruned_to = 0 WHERE no = ?", (proof.one[0].hash, number)
        )
        return
    head = Head(proof.seq - 1, proof.fork.prev)
    if before == head:
        db.execute("UPDATE log SET head_seq = ?, head_hash = ? WHERE no = ?", (head.seq, head.hash, number))
    else:
        store_prune.restart_at(db, number, head)


def drop_without_log(db: apsw.Connection) -> None:
    """Proofs go with the logs that they are about."""
    db.execute("DELETE FROM fork WHERE log NOT IN (SELECT id FROM log)")
