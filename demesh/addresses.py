"""The addresses at which a target was asked, in one text as a result keeps it: one, or all of a name's.

The text has at most NAME_CHARS_MAX characters, as the log's format wants. Equal sets give equal texts, so order is no change:

    192.0.2.1,192.0.2.9,2001:db8::1
    2001:db8:100:200:300:400:500:600,+3 (5d1f)      too many for it: how many more there are, and a check sum of all

The check sum is there for one purpose: that a change among those that are not named still is one.
"""

import hashlib
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from demesh.limits import NAME_CHARS_MAX


def in_order(addresses: Iterable[str]) -> list[str]:
    """Each once, those of IPv4 first, by number. Raises ValueError for what is no address."""

    def place(text: str) -> tuple[int, int, str]:
        address = ip_address(text)
        return address.version, int(address), text

    return sorted(set(addresses), key=place)


def joined(addresses: Iterable[str]) -> str:
    """The text for these addresses."""
    every = in_order(addresses)
    if len(text := ",".join(every)) <= NAME_CHARS_MAX:
        return text
    digest = hashlib.blake2b(text.encode(), digest_size=2).hexdigest()
    shorter = [_short(every, count, digest) for count in range(len(every) - 1, 0, -1)]
    return next((text for text in shorter if len(text) <= NAME_CHARS_MAX), shorter[-1])


def _short(every: Sequence[str], count: int, digest: str) -> str:
    return f"{','.join(every[:count])},+{len(every) - count} ({digest})"


def first_of(text: str | None) -> str | None:
    """The first address in such a text."""
    return text.partition(",")[0] if text else text
