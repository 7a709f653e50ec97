"""How actual values are told: what a target sent may hold secrets, so only those who ask for it get to read it."""

import hashlib

from demesh.probes.base import ProbeSpec

_CHARS_TOLD_MAX = 120


def told(actual: str, spec: ProbeSpec) -> str:
    """`actual` itself, cut, if the check shows actual values; otherwise its length and a hash that differs from mesh to mesh."""
    if spec.show_actual:
        return actual if len(actual) <= _CHARS_TOLD_MAX else actual[: _CHARS_TOLD_MAX - 1] + "…"
    digest = hashlib.blake2b(actual.encode("utf-8", "replace"), digest_size=4, key=spec.actual_key).hexdigest()
    return f"{len(actual)} characters (hash {digest})"
