"""Sizes as people write them: `500MB`, `2GB`, `1.5GiB`."""

import re

_UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_PATTERN = re.compile(rf"(\d{{1,15}}(?:\.\d{{1,15}})?)\s*({'|'.join(_UNITS)})", re.ASCII)


def parse_size(text: str) -> int:
    """Whole bytes. Raises ValueError with what is allowed."""
    match = _PATTERN.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a size; write a number and its unit: 500MB, 2GB or 1.5GiB")
    return round(float(match[1]) * _UNITS[match[2]])


def format_size(size: int) -> str:
    """In the largest decimal unit of which there is at least one, to three digits.

    >>> format_size(2_000_000_000), format_size(1_234_567), format_size(512)
    ('2 GB', '1.23 MB', '512 B')
    """
    for unit in ("TB", "GB", "MB", "kB"):
        if size >= _UNITS[unit]:
            return f"{size / _UNITS[unit]:.3g} {unit}"
    return f"{size} B"
