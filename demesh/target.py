"""Targets as they may be shown: scheme, host, port and path. User info, query and fragment stay on the node that probes."""

from urllib.parse import urlsplit, urlunsplit

from demesh.errors import UsageError


def public_target(target: str) -> str:
    """`target` without user info, query and fragment.

    >>> public_target("https://me:secret@example.org:8443/health?token=x#y")
    'https://example.org:8443/health'
    """
    parts = urlsplit(target)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def check_target(target: str, schemes: tuple[str, ...]) -> None:
    """Raises UsageError unless `target` is a URL of one of `schemes` with a host and a valid port; repeats no secrets."""
    allowed = ", ".join(f"{scheme}://" for scheme in schemes)
    try:
        parts = urlsplit(target)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"The target is not a URL that can be read: {error}.") from None
    if parts.scheme not in schemes:
        said = f"{parts.scheme}://" if "://" in target else "no scheme"
        raise UsageError(f"The target {public_target(target)!r} has {said}; supported are {allowed}.")
    if not host:
        raise UsageError(f"The target {public_target(target)!r} names no host.")
    if any(c.isspace() or not c.isprintable() for c in target):
        raise UsageError(f"The target {public_target(target)!r} contains white space or a control character.")
