"""Targets as they may be shown: scheme, host, port and path. User info, query and fragment stay on the node that probes."""

import re
from urllib.parse import SplitResult, urlsplit

from demesh.errors import UsageError

_WITHOUT_A_USUAL_PORT = ("tcp", "tls")
_TRANSPORTS = ("udp", "tcp", "tls")
_DNS_NAME = re.compile(r"/(?:[^\s./]{1,63}\.)*[^\s./]{1,63}\.?|/\.")


def public_target(target: str, *, show_query: bool = False) -> str:
    """`target` without user info and fragment, and without the query unless it is to be shown.

    >>> public_target("https://me:secret@example.org:8443/health?token=x#y")
    'https://example.org:8443/health'
    """
    # Put together by hand: what urlunsplit makes of a target without a host differs between versions of Python.
    parts = urlsplit(target)
    scheme = f"{parts.scheme}:" if parts.scheme else ""
    slashes = "//" if parts.netloc or (scheme and f"{scheme}//" in target.lower()) else ""
    query = f"?{parts.query}" if show_query and parts.query else ""
    return f"{scheme}{slashes}{parts.netloc.rpartition('@')[2]}{parts.path}{query}"


def transport_of(target: str) -> str:
    """How a target of STUN or TURN (RFC 7064, RFC 7065) says that it is asked: `udp`, `tcp` or `tls`; empty if it does not.

    >>> transport_of("turn://example.org?transport=tcp"), transport_of("stuns://example.org"), transport_of("stun://example.org")
    ('tcp', 'tls', '')

    Raises ValueError for what it says otherwise.
    """
    parts = urlsplit(target)
    secure = parts.scheme in ("stuns", "turns")
    said = parts.query.removeprefix("transport=") if parts.query else ""
    if parts.query and (
        not parts.query.startswith("transport=") or said not in (("tcp", "tls") if secure else _TRANSPORTS)
    ):
        raise ValueError("the query of the target is not understood")
    return "tls" if secure else said


def check_target(target: str, schemes: tuple[str, ...], *, host_needed: bool = True) -> None:
    """Raises UsageError unless `target` is a URL of one of `schemes` with a host, and with a port where none is usual;
    repeats no secrets.
    """
    allowed = ", ".join(f"{scheme}://" for scheme in schemes)
    # What is no proper URL has no proper place for its secrets either: only what can hold none is repeated.
    shown = f"The target {target!r}" if target.isascii() and not set(target) & set("@?#") else "The target"
    try:
        parts = urlsplit(target)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError(f"{shown} is not a URL that can be read: its host or its port is wrong.") from None
    if parts.scheme not in schemes or "://" not in target:
        raise UsageError(f"{shown} must begin with one of {allowed}.")
    if not host and (host_needed or parts.netloc):
        raise UsageError(f"{shown} names no host.")
    if not port and parts.scheme in _WITHOUT_A_USUAL_PORT:
        raise UsageError(f"{shown} names no port.")
    if any(c.isspace() or not c.isprintable() for c in target):
        raise UsageError(f"{shown} contains white space or a control character.")


def target_problem(type_: str, target: str) -> str | None:
    """What a target of this type, which is a proper URL, has too much or too little."""
    parts = urlsplit(target)
    if type_ == "http":
        return None
    if type_ in ("stun", "turn"):
        return _stun_problem(target)
    if type_ == "mqtt":
        return _broker_problem(parts)
    if "@" in parts.netloc or parts.query or parts.fragment:
        return "a target of this scheme has neither user info nor query."
    if type_ == "dns":
        if _DNS_NAME.fullmatch(parts.path) and len(parts.path) <= 255:
            return None
        return "names no domain; one looks like dns://192.0.2.53/example.org, or dns:///example.org for this machine's resolver."
    if parts.path not in ("", "/"):
        return "a target of this scheme has no path."
    if type_ in ("tcp", "tls") and not parts.port:
        return f"names no port; one looks like {type_}://db.example.org:5432."
    if type_ == "ping" and parts.port is not None:
        return "a target of ping:// has no port."
    return None


def _stun_problem(target: str) -> str | None:
    parts = urlsplit(target)
    if "@" in parts.netloc or parts.fragment or parts.path not in ("", "/"):
        return "a target of this scheme has neither user info nor path; a login has keys of its own."
    try:
        transport_of(target)
    except ValueError:
        if parts.scheme in ("stuns", "turns"):
            return "a target of this scheme has no query but ?transport=tcp: TLS is spoken over TCP only."
        return "a target of this scheme has no query but ?transport=udp, tcp or tls."
    return None


def _broker_problem(parts: SplitResult) -> str | None:
    if parts.query or parts.fragment:
        return "a target of this scheme has no query."
    if "+" not in parts.scheme and parts.path not in ("", "/"):
        return "a target of this scheme has no path; that of a WebSocket looks like mqtt+wss://broker.example.org/mqtt."
    return None
