"""When maintenance is: `Sun 02:00-04:00 Europe/Berlin`, `Mon-Fri 22:00-23:30 UTC`, `daily 03:00-03:15 UTC`."""

import re
from zoneinfo import ZoneInfo

from demesh.errors import UsageError

_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d"
_PATTERN = re.compile(
    rf"(?:daily|{_DAY}(?:-{_DAY})?(?:,{_DAY}(?:-{_DAY})?)*)\s+({_TIME})-({_TIME}|24:00)(?:\s+([\w/+-]+))?", re.ASCII
)


def check_when(text: str) -> None:
    """Days, hours, and a time zone, which is UTC if none is named; an end before the begin is on the next day.

    Raises UsageError with what is allowed.
    """
    match = _PATTERN.fullmatch(text)
    if not match or match[1] == match[2]:
        raise UsageError(
            f'{text!r} is no time for maintenance; one looks like "Sun 02:00-04:00 Europe/Berlin", "Mon-Fri 22:00-23:30 UTC" '
            'or "daily 03:00-03:15 UTC"'
        )
    if match[3] not in (None, "UTC"):
        try:
            ZoneInfo(match[3])
        except (ValueError, OSError, KeyError):  # KeyError: there is none of this name; ValueError: it is no name
            raise UsageError(f"{text!r} names no time zone that this machine knows") from None
