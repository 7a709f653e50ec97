"""How long the parts of one HTTP transfer took, and which part it had reached, from libcurl's timings.

Each of libcurl's times counts from the start of the transfer.
"""

import pycurl


def phases_us(handle: pycurl.Curl, lookup_us: int) -> dict[str, int]:
    """The phases of a finished transfer, `lookup_us` added to dns. Their sum is `lookup_us` and libcurl's total."""
    info = handle.getinfo
    dns, connect, tls = info(pycurl.NAMELOOKUP_TIME_T), info(pycurl.CONNECT_TIME_T), info(pycurl.APPCONNECT_TIME_T)
    first_byte, total = info(pycurl.STARTTRANSFER_TIME_T), info(pycurl.TOTAL_TIME_T)
    phases = {"dns": lookup_us + dns, "connect": connect - dns}
    if tls:
        phases["tls"] = tls - connect
    phases["first_byte"] = first_byte - (tls or connect)
    phases["transfer"] = total - first_byte
    return phases


def phases_done_us(handle: pycurl.Curl, lookup_us: int) -> dict[str, int]:
    """The phases that a failed transfer had behind it."""
    info = handle.getinfo
    dns, connect, tls = info(pycurl.NAMELOOKUP_TIME_T), info(pycurl.CONNECT_TIME_T), info(pycurl.APPCONNECT_TIME_T)
    phases = {"dns": lookup_us + dns} if dns else {}
    if connect:
        phases["connect"] = connect - dns
    if tls:
        phases["tls"] = tls - connect
    return phases


def phase_reached(handle: pycurl.Curl, is_tls: bool) -> str:
    """What a transfer without an end was at."""
    info = handle.getinfo
    if not info(pycurl.CONNECT_TIME_T):
        return "still connecting"
    if is_tls and not info(pycurl.APPCONNECT_TIME_T):
        return "still in the TLS handshake"
    return "still reading the answer" if info(pycurl.HEADER_SIZE) else "still waiting for the first byte"
