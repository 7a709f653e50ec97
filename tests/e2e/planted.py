"""Secrets that can be found again: one planted word for each place, in every form in which it could come out."""

import base64
from collections.abc import Iterator, Mapping
from urllib.parse import quote

_TAG = "zq9"


def planted(place: str) -> str:
    """The secret for `place`, a word that stands nowhere else; letters and digits only, so that it fits everywhere."""
    return f"{_TAG}{place}{_TAG}"


def found(secrets: Mapping[str, bytes], said: bytes) -> list[str]:
    """The names of those `secrets` that are in `said`: as they are, in capitals or not, percent-encoded, in hex or base64."""
    small = said.lower()
    return [name for name, secret in secrets.items() if any(form in small for form in _forms(secret))]


def _forms(secret: bytes) -> Iterator[bytes]:
    """In small letters: which letters of base64 are capitals tells little, and whole secrets are looked for."""
    plain = secret.lower()
    yield plain
    yield secret.hex().encode()
    yield b"".join(b"%%%02x" % byte for byte in secret)
    yield quote(secret, safe="").lower().encode()
    for start in range(3):  # where in a group of three bytes it begins
        encoded = base64.b64encode(bytes(start) + secret)
        whole = encoded[-(-start * 4 // 3) : (start + len(secret)) * 4 // 3]  # without what its neighbours decide
        yield whole.lower()
        yield whole.replace(b"+", b"-").replace(b"/", b"_").lower()
