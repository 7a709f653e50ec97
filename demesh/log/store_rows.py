"""The store's rows as what they mean. A damaged row is found here, and never handed on.

A body nearly always begins with `8a 01 50` and the log's id, which the row's log tells anyway: it is stored without those 19
bytes. Any other, and all that version 1 of the tables stored, is there whole. They are told apart by their first byte:
behind the id comes an unsigned integer, a body is an array.

A damaged row may have lost its types, and text that is none could not even be read: hence the casts.
"""

from typing import cast

from demesh.errors import EntryError
from demesh.log.entry import BadRow, Entry, Envelope, Kind, body_hash, decode_body
from demesh.log.head import Head
from demesh.log.state import LogState
from demesh.log.store_schema import HASH_BYTES_STORED

SqlValue = None | int | float | bytes | str
Row = tuple[SqlValue, ...]

# The signature is the row's last column: whoever reads it notices a row that ends too early.
ENTRY_COLUMNS = (
    "CAST(seq AS INTEGER), CAST(kind AS INTEGER), CAST(hash AS BLOB), CAST(body AS BLOB), CAST(signature AS BLOB)"
)
LOG_COLUMNS = (
    "CAST(id AS BLOB), CAST(public_key AS BLOB), CAST(head_seq AS INTEGER), CAST(head_hash AS BLOB), "
    "CAST(pruned_to AS INTEGER), no"
)

_FRONT = bytes.fromhex("8a0150")  # CBOR: an array of 10, the format 1, a byte string of 16
_UINT_HEAD_MAX = 0x1B


def stored_body(entry: Entry) -> bytes:
    """What the column `body` holds of an entry's body."""
    front = _FRONT + entry.log
    return entry.body.removeprefix(front)


def entry_of_row(log: bytes, row: Row) -> Entry | BadRow:
    """The entry in ENTRY_COLUMNS, if its bytes hash to what was stored of that, in the place where it was."""
    seq, kind, stored_hash, body, signature = row
    hash_front = cast(bytes, stored_hash or b"")[:HASH_BYTES_STORED]
    stored = cast(bytes, body or b"")
    is_short = stored[:1] <= bytes([_UINT_HEAD_MAX])
    try:
        entry = decode_body(_FRONT + log + stored if is_short else stored, cast(bytes, signature or b""))
    except EntryError:
        return BadRow(log, cast(int, seq))
    is_sound = (entry.log, entry.seq, entry.kind, entry.hash[:HASH_BYTES_STORED]) == (log, seq, kind, hash_front)
    return entry if is_sound else BadRow(log, cast(int, seq))


def envelope_of_row(log: bytes, row: Row) -> Envelope | BadRow:
    """The same, with the bodies of results that were stored without a signature unread, which are nearly all: that takes a tenth
    of the time. Of what they say of themselves only the log and the sequence number are looked at.
    """
    seq, kind, stored_hash, body, signature = row
    stored = cast(bytes, body or b"")
    # What is no result, of another form, or of another place:
    if signature or kind != Kind.RESULTS or not stored.startswith(_uint(cast(int, seq))):
        found = entry_of_row(log, row)
        if isinstance(found, BadRow):
            return found
        return Envelope(found.kind, found.body, found.hash, found.signature)
    whole = _FRONT + log + stored
    digest = body_hash(whole)
    if digest[:HASH_BYTES_STORED] != cast(bytes, stored_hash or b"")[:HASH_BYTES_STORED]:
        return BadRow(log, cast(int, seq))
    return Envelope(cast(int, kind), whole, digest, b"")


def _uint(number: int) -> bytes:
    """As `demesh.log.codec.encode` writes it, which takes longer."""
    if number < 24:
        return number.to_bytes(1, "big")
    for head, size in ((b"\x18", 1), (b"\x19", 2), (b"\x1a", 4)):
        if number < 1 << (8 * size):
            return head + number.to_bytes(size, "big")
    return b"\x1b" + number.to_bytes(8, "big")


def log_of_row(row: Row) -> tuple[LogState, int] | None:
    """The log in LOG_COLUMNS and its number; None if that cannot be one."""
    match row:
        case (bytes(log), bytes(key), int(seq), bytes(head), int(pruned_to), int(number)) if len(log) == 16:
            return LogState(log, key, Head(seq, head), pruned_to), number
        case _:
            return None
