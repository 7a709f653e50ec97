"""A seal on what `view.db` keeps: eight bytes behind each blob by which bytes that went bad are noticed.

SQLite takes any bytes of a column for what was stored, so a flipped bit would be a number like any other, and a sum that is
signed from it would be wrong for ever. The seal covers the blob and the columns beside it. It is no signature: it is for disks,
not for people.
"""

import hashlib

from demesh.errors import EntryError

_BYTES = 8


def sealed(blob: bytes, *beside: bytes | str | int) -> bytes:
    """`blob` with its seal; `beside` are the other columns of its row."""
    return blob + _seal(blob, beside)


def opened(stored: bytes, *beside: bytes | str | int) -> bytes:
    """What was sealed. Raises EntryError("sealed") if it, or a column beside it, is not what it was."""
    blob, seal = stored[:-_BYTES], stored[-_BYTES:]
    if seal != _seal(blob, beside):
        raise EntryError("sealed", "a row is not what was stored")
    return blob


def unsealed(stored: bytes) -> bytes:
    """What was sealed, unchecked."""
    return stored[:-_BYTES]


def _seal(blob: bytes, beside: tuple[bytes | str | int, ...]) -> bytes:
    return hashlib.blake2b(repr((blob, beside)).encode(), digest_size=_BYTES, person=b"demesh/view/1").digest()
