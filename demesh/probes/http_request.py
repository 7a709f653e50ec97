"""What the HTTP probe asks for, and how a redirect changes it. Pure.

Guaranteed: what the user added to a request (user and password, headers, a body) goes to the origin of the target alone:
scheme, host and port. A redirect to another origin is followed without them, but for headers that hold no secrets by what
they are; one that would take a body there is refused. Only http and https are ever followed.

libcurl's own following of redirects does less: it takes every header of the user's but Authorization and Cookie along.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from demesh.failure import Failed, Failure
from demesh.limits import CHECKS_MAX
from demesh.outcome import Outcome
from demesh.probes.base import HttpOptions

_PORTS = {"http": 80, "https": 443}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_LINE_ENDS = re.compile(r"[\r\n\0]")
_KEPT_ELSEWHERE = frozenset(("accept", "accept-encoding", "accept-language", "cache-control", "pragma", "user-agent"))
NO_URL = Failure(Outcome.ERROR, "the target is not a URL that can be asked")
BAD_REDIRECT = Failure(Outcome.MISMATCH, "redirects to a URL that cannot be read")
_BECOMES_GET = {301: ("POST",), 302: ("POST",), 303: ("POST", "PUT", "PATCH", "DELETE")}  # RFC 9110, section 15.4


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes: `url` is in ASCII and has no user info, `host` has no brackets."""

    url: str
    origin: tuple[str, str, int]
    """Scheme, host and port."""
    version: int
    """4 or 6 if the host is an address, 0 if it is a name."""
    user: str | None
    password: str

    @property
    def host(self) -> str:
        return self.origin[1]

    @property
    def is_tls(self) -> bool:
        return self.origin[0] == "https"


@dataclass(frozen=True, slots=True)
class Request:
    place: Place
    method: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    user: str | None
    password: str

    def follow(self, status: int, location: str) -> "Request":
        """The request that a redirect to `location` (absolute) asks for. Raises Failed if it will not be made."""
        scheme = location.partition(":")[0].lower()
        if scheme not in _PORTS:
            raise Failed(Outcome.MISMATCH, "redirects to something other than http and https, which is refused")
        place = place_of(location)
        if place is None:
            raise Failed(BAD_REDIRECT.outcome, BAD_REDIRECT.sentence)
        method, body = ("GET", None) if self.method in _BECOMES_GET.get(status, ()) else (self.method, self.body)
        if place.origin == self.place.origin:
            user, password = (self.user, self.password) if place.user is None else (place.user, place.password)
            return replace(self, place=place, method=method, body=body, user=user, password=password)
        if body is not None:
            raise Failed(Outcome.MISMATCH, "redirects a request with a body to another host, which is refused")
        headers = tuple(each for each in self.headers if each[0].lower() in _KEPT_ELSEWHERE)
        return Request(place, method, headers, None, place.user, place.password)


def first_request(target: str, options: HttpOptions) -> Request:
    """Raises Failed if `target` or one of the options is nothing that can be sent."""
    place = _place_of_target(target)
    if place is None:
        raise Failed(NO_URL.outcome, NO_URL.sentence)
    if options.headers or options.method != "GET":
        _check(options)
    user, password = (options.user, options.password) if options.user else (place.user, place.password)
    return Request(place, options.method.upper(), options.headers, options.body, user, password)


def _check(options: HttpOptions) -> None:
    if not _TOKEN.fullmatch(options.method):
        raise Failed(Outcome.ERROR, "the method is none that can be sent")
    for name, value in options.headers:
        if not _TOKEN.fullmatch(name) or _LINE_ENDS.search(value):
            raise Failed(Outcome.ERROR, "one of the headers is none that can be sent")


def place_of(url: str) -> Place | None:
    """None if `url` is none of ours. pycurl's libcurl takes ASCII only, and knows no international host names."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or parts.port == 0:  # reading the port finds one that is none
            return None
        host = (parts.hostname or "").encode("idna").decode()
        user_info, at, host_port = parts.netloc.rpartition("@")
        rest = parts[2:4]
        if not url.isascii() or " " in url:
            host_port = host_port.encode("idna").decode()
            rest = tuple(quote(part, safe="/%?&=+;,:@!$'()*~") for part in rest)
        url = urlunsplit((parts.scheme, host_port, *rest, ""))
    except ValueError:
        return None
    if not host or not url.isprintable() or " " in url:
        return None
    user, _, password = user_info.partition(":")
    origin = (parts.scheme, host, parts.port or _PORTS[parts.scheme])
    return Place(url, origin, _version(host), unquote(user) if at else None, unquote(password))


_place_of_target = lru_cache(CHECKS_MAX)(place_of)  # not of redirects: a server could fill it


def _version(host: str) -> int:
    try:
        return ip_address(host.partition("%")[0]).version
    except ValueError:
        return 0
