"""Which results the store holds without their signature, as a later one vouches for them through the links.

    seq    32   33 … 39   40 … 47   48           `+` signed, `-` stripped
           +    -  …  -   +  …  +   +            33 to 39 are stripped when 48 is appended, signed

Guarantees: only results are ever stripped; whatever else is kept when they are forgotten must be provable by itself. The newest
SIGNED_NEWEST entries of a log stay as they came, the head among them; so a head that was offered to a peer can still be
handed out when the log has grown a little. Every SIGNED_EVERY-th entry stays as it came as well.

So a page of sync reaches a signed entry, wherever it begins: within SIGNED_EVERY entries, which fit a page whatever their
size, or at the end of unsigned ones that came in one page themselves. Nothing is stripped next to those, or what
fitted a page would no longer.
"""

# pyright: reportUnknownMemberType=false
# (apsw's stubs use collections.abc.Buffer, which Python 3.11 does not have yet)

import apsw

from demesh import limits


def strip_behind(db: apsw.Connection, number: int, seq: int) -> None:
    """Take note, inside the caller's transaction, that entry `seq` of log `number` was appended with a signature."""
    if seq % limits.SIGNED_NEWEST or seq < 2 * limits.SIGNED_NEWEST:
        return  # several at once cost less than one at a time
    end = seq - limits.SIGNED_NEWEST
    first = end - limits.SIGNED_NEWEST
    before = first - first % limits.SIGNED_EVERY
    db.execute(
        "UPDATE entry SET signature = NULL WHERE log = ?1 AND seq >= ?2 AND seq < ?3 AND seq <> ?4 AND kind = 3 "
        "AND NOT EXISTS (SELECT 1 FROM entry WHERE log = ?1 AND seq IN (?4, ?5) AND signature IS NULL)",
        (number, first, end, before, before + limits.SIGNED_EVERY),
    )
