"""How actual values are told: what a target sent may hold secrets, so it is quoted only in checks that ask for it.

Otherwise its length is told, and a hash that differs from mesh to mesh: equal answers are seen to be equal on all nodes of
one mesh, and a short value cannot be looked up in a table by anyone else.
"""

import hashlib

from demesh.limits import ACTUAL_CHARS_SHOWN_MAX
from demesh.probes.base import ProbeSpec


def told(actual: str, spec: ProbeSpec) -> str:
    """`actual` in quotes and cut, if `spec` shows actual values; else its length and, where there is a key, its keyed hash.

    >>> told("s3cret", ProbeSpec("http", "http://shop.test/", 1000, actual_key=b"of the mesh"))
    '6 characters (hash 4553c78d)'
    """
    if not actual:
        return "empty"
    if spec.show_actual:
        # repr leaves no control character that a terminal would obey
        return repr(actual) if len(actual) <= ACTUAL_CHARS_SHOWN_MAX else f"{actual[:ACTUAL_CHARS_SHOWN_MAX]!r}…"
    length = f"{len(actual)} character{'s' * (len(actual) > 1)}"
    if not spec.actual_key:
        return length
    key = spec.actual_key[: hashlib.blake2b.MAX_KEY_SIZE]
    digest = hashlib.blake2b(actual.encode("utf-8", "surrogatepass"), digest_size=4, key=key, person=b"demesh/actual/1")
    return f"{length} (hash {digest.hexdigest()})"
