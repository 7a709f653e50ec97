"""The store's rows as what they mean. A damaged row is found here, and never handed on.

A damaged row may have lost its types, and text that is none could not even be read: hence the casts.
"""

from typing import cast

from demesh.errors import EntryError
from demesh.log.chain import LogState
from demesh.log.entry import BadRow, Entry, decode_body
from demesh.log.head import Head

SqlValue = None | int | float | bytes | str
Row = tuple[SqlValue, ...]

# The last column is there so that a row which ends too early is noticed.
ENTRY_COLUMNS = (
    "CAST(seq AS INTEGER), CAST(kind AS INTEGER), CAST(hash AS BLOB), CAST(body AS BLOB), CAST(signature AS BLOB), "
    "received_ms IS NULL"
)
LOG_COLUMNS = (
    "CAST(id AS BLOB), CAST(public_key AS BLOB), CAST(head_seq AS INTEGER), CAST(head_hash AS BLOB), "
    "CAST(pruned_to AS INTEGER), no"
)


def entry_of_row(log: bytes, row: Row) -> Entry | BadRow:
    """The entry in ENTRY_COLUMNS, if its bytes hash to what was stored, in the place where it was."""
    seq, kind, stored_hash, body, signature, _ = row
    try:
        entry = decode_body(cast(bytes, body or b""), cast(bytes, signature or b""))
    except EntryError:
        return BadRow(log, cast(int, seq))
    is_sound = (entry.log, entry.seq, entry.kind, entry.hash) == (log, seq, kind, stored_hash)
    return entry if is_sound else BadRow(log, cast(int, seq))


def log_of_row(row: Row) -> tuple[LogState, int] | None:
    """The log in LOG_COLUMNS and its number; None if that cannot be one."""
    match row:
        case (bytes(log), bytes(key), int(seq), bytes(head), int(pruned_to), int(number)) if len(log) == 16:
            return LogState(log, key, Head(seq, head), pruned_to), number
        case _:
            return None
