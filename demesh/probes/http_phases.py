"""How long the parts of an HTTP transfer took, and which part it had reached, from libcurl's timings.

Each of libcurl's times counts from the start of its hop and is summed over redirects.
"""

import pycurl


def phases_us(handle: pycurl.Curl, lookup_us: int) -> dict[str, int]:
    """The phases of a finished transfer, `lookup_us` added to dns. TLS can be missing from some of the hops, so after a
    redirect the moment the request was sent stands for the end of the handshake.
    """
    info = handle.getinfo
    dns, connect, tls = info(pycurl.NAMELOOKUP_TIME_T), info(pycurl.CONNECT_TIME_T), info(pycurl.APPCONNECT_TIME_T)
    first_byte, total = info(pycurl.STARTTRANSFER_TIME_T), info(pycurl.TOTAL_TIME_T)
    phases = {"dns": lookup_us + dns, "connect": connect - dns}
    if tls:
        ready = info(pycurl.PRETRANSFER_TIME_T) if info(pycurl.REDIRECT_COUNT) else tls
        phases["tls"] = ready - connect
    else:
        ready = connect
    phases["first_byte"] = first_byte - ready
    phases["transfer"] = total - first_byte
    return phases


def phases_done_us(handle: pycurl.Curl, lookup_us: int) -> dict[str, int]:
    """The phases that a failed transfer had behind it; none after a redirect, where the sums cannot be told apart."""
    info = handle.getinfo
    if info(pycurl.REDIRECT_COUNT):
        return {}
    dns, connect, tls = info(pycurl.NAMELOOKUP_TIME_T), info(pycurl.CONNECT_TIME_T), info(pycurl.APPCONNECT_TIME_T)
    phases = {"dns": lookup_us + dns} if dns else {}
    if connect:
        phases["connect"] = connect - dns
    if tls:
        phases["tls"] = tls - connect
    return phases


def url_reached(handle: pycurl.Curl) -> str:
    """The URL of the last hop, its scheme in small letters; empty if libcurl cannot read it."""
    try:
        url: bytes = handle.getinfo_raw(pycurl.EFFECTIVE_URL)
    except pycurl.error:
        return ""
    scheme, colon, rest = url.decode("latin-1").partition(":")
    return scheme.lower() + colon + rest


def phase_reached(handle: pycurl.Curl) -> str:
    """What a transfer without an end was at, as the last part of a sentence."""
    info = handle.getinfo
    if info(pycurl.REDIRECT_COUNT):
        return ""
    if not info(pycurl.CONNECT_TIME_T):
        return ", still connecting"
    if url_reached(handle).startswith("https:") and not info(pycurl.APPCONNECT_TIME_T):
        return ", still in the TLS handshake"
    return ", still reading the answer" if info(pycurl.HEADER_SIZE) else ", still waiting for the first byte"
