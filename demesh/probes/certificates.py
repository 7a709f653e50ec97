"""When the certificates that a server sent expire, from what libcurl tells of them (INFO_CERTINFO)."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

Chain = Iterable[Iterable[tuple[bytes, bytes]]]
"""One certificate after the other, each as pairs of field and value, in the bytes libcurl gives."""

_MONTHS = {month: n for n, month in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)}
_DATE = re.compile(rb"(\w{3}) +(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.\d+)? (\d{4})(?: GMT)?")


def earliest_expiry_s(chain: Chain) -> int | None:
    """The first notAfter among the certificates, as Unix time; None if none can be read."""
    expiries = [
        expiry
        for certificate in chain
        for field, value in certificate
        if field == b"Expire date" and (expiry := parse_date_s(value)) is not None
    ]
    return min(expiries, default=None)


def parse_date_s(text: bytes) -> int | None:
    """Unix time of a date as OpenSSL prints it, or None if it is none.

    strptime is not used because it reads the names of months in the user's language.

    >>> parse_date_s(b"Feb  1 00:35:23 2027 GMT")
    1801442123
    """
    match = _DATE.fullmatch(text.strip())
    if match is None or match[1] not in _MONTHS:
        return None
    day, hour, minute, second, year = (int(match[n]) for n in (2, 3, 4, 5, 6))
    try:
        return int(datetime(year, _MONTHS[match[1]], day, hour, minute, second, tzinfo=UTC).timestamp())
    except ValueError:
        return None
