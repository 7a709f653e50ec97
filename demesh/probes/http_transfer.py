"""One HTTP request to one address as a libcurl transfer: what is set beforehand, and what is kept of the answer."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import pycurl

from demesh.limits import HTTP_BODY_BYTES_MAX
from demesh.probes.base import HttpOptions, ProbeSpec
from demesh.probes.certificates import earliest_expiry_s
from demesh.probes.http_request import Request
from demesh.trust import trust

_CONNECTION_OPTIONS = (
    (pycurl.DNS_CACHE_TIMEOUT, 0),
    (pycurl.FRESH_CONNECT, 1),
    (pycurl.FORBID_REUSE, 1),
    (pycurl.SSL_SESSIONID_CACHE, 0),  # a resumed session shows no certificates
    (pycurl.OPT_CERTINFO, 1),
)
# What OpenSSL offers by itself begins with two key shares, one of them post-quantum: a tenth of what a probe costs.
_USUAL_GROUPS = "X25519:P-256:P-384:P-521:X448"
_VERSION_NAMES = {
    pycurl.CURL_HTTP_VERSION_1_0: "1.0",
    pycurl.CURL_HTTP_VERSION_1_1: "1.1",
    pycurl.CURL_HTTP_VERSION_2: "2",
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One address to ask: what was spent on finding it, and the time there is for all, and for the connection.

    `address` is None where a proxy finds it.
    """

    spec: ProbeSpec
    options: HttpOptions
    request: Request
    address: str | None
    lookup_us: int
    left_ms: int
    connect_ms: int
    usual_groups: bool = True
    """Whether only the usual groups for the key exchange are offered; else all that OpenSSL has."""

    def with_all_groups(self, spent_us: int) -> "Attempt":
        left_ms = max(self.left_ms - spent_us // 1000, 1)
        return replace(self, left_ms=left_ms, connect_ms=left_ms, usual_groups=False)


class Received:
    """What libcurl has read of an answer: the body up to its bound, and the headers wanted; nothing else is kept."""

    __slots__ = ("_ended", "_wanted", "chunks", "headers", "keep_body", "size")

    def __init__(self, keep_body: bool, wanted: Collection[str] = ()) -> None:
        """`wanted`: names of headers, in small letters."""
        self.keep_body = keep_body
        self.chunks: list[bytes] = []
        self.size = 0
        self.headers: dict[str, list[str]] = {}
        self._wanted = wanted
        self._ended = False

    def write(self, chunk: bytes) -> int:
        room = HTTP_BODY_BYTES_MAX - self.size
        if self.keep_body:
            self.chunks.append(chunk if len(chunk) <= room else chunk[:room])
        self.size += min(len(chunk), room)
        return len(chunk) if len(chunk) <= room else -1  # which ends the transfer with E_WRITE_ERROR

    def header(self, line: bytes) -> None:
        """Takes the headers of the last answer: interim ones (1xx) come before it, trailers after."""
        if line.startswith(b"HTTP/"):
            self.headers.clear()
            self._ended = False
        elif not line.strip():
            self._ended = True
        elif not self._ended:
            name, _, value = line.decode("utf-8", "replace").partition(":")
            if (name := name.strip().lower()) in self._wanted:
                self.headers.setdefault(name, []).append(value.strip())

    @property
    def cut(self) -> bool:
        return self.size == HTTP_BODY_BYTES_MAX


def prepare(handle: pycurl.Curl, attempt: Attempt, received: Received) -> None:
    """Raises OSError if the file of CA certificates cannot be read, pycurl.error or ValueError if it is no URL for libcurl."""
    setopt, spec, options, request = handle.setopt, attempt.spec, attempt.options, attempt.request
    for option, value in _CONNECTION_OPTIONS:
        setopt(option, value)
    setopt(pycurl.URL, request.place.url)
    setopt(pycurl.TIMEOUT_MS, attempt.left_ms)
    setopt(pycurl.CONNECTTIMEOUT_MS, attempt.connect_ms)
    setopt(pycurl.WRITEFUNCTION, received.write)
    if spec.expect.header:
        setopt(pycurl.HEADERFUNCTION, received.header)
    if attempt.options.proxy is not None:
        setopt(pycurl.PROXY, attempt.options.proxy)
        setopt(pycurl.NOPROXY, "")
    elif attempt.address is not None and not request.place.version:
        setopt(pycurl.CONNECT_TO, [f"::{bracketed(attempt.address)}:"])
    if options.http_version == "1.1":
        setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    elif options.http_version == "2" and not request.place.is_tls:  # over TLS it is offered anyway
        setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)
    if request.user is not None:
        setopt(pycurl.HTTPAUTH, pycurl.HTTPAUTH_BASIC)
        setopt(pycurl.USERNAME, request.user.encode())
        setopt(pycurl.PASSWORD, request.password.encode())
    if request.method != "GET" or request.headers or request.body is not None:
        _set_request(handle, request)
    if not request.place.is_tls:
        return
    if attempt.usual_groups:
        setopt(pycurl.SSL_EC_CURVES, _USUAL_GROUPS)
    if spec.verify_tls:
        trust(handle, spec.ca_file)
    else:
        setopt(pycurl.SSL_VERIFYPEER, 0)
        setopt(pycurl.SSL_VERIFYHOST, 0)


def prepare_for_certificates(handle: pycurl.Curl, request: Request, address: str, left_s: float) -> None:
    """For a handshake with `address` without believing it or saying anything to it, to see its certificates."""
    for option, value in _CONNECTION_OPTIONS:
        handle.setopt(option, value)
    handle.setopt(pycurl.URL, request.place.url)
    handle.setopt(pycurl.CONNECT_TO, [f"::{bracketed(address)}:"])
    handle.setopt(pycurl.CONNECT_ONLY, 1)
    handle.setopt(pycurl.SSL_VERIFYPEER, 0)
    handle.setopt(pycurl.SSL_VERIFYHOST, 0)
    handle.setopt(pycurl.TIMEOUT_MS, max(int(left_s * 1000), 1))


def refused_usual_groups(handle: pycurl.Curl, attempt: Attempt, code: int) -> bool:
    """Whether a handshake may have failed only because the server wants a key exchange that was not offered."""
    return code == pycurl.E_SSL_CONNECT_ERROR and attempt.usual_groups and b"handshake failure" in handle.errstr_raw()


def chain_expiry_s(handle: pycurl.Curl) -> int | None:
    if not handle.getinfo(pycurl.APPCONNECT_TIME_T):
        return None
    return earliest_expiry_s(handle.getinfo_raw(pycurl.INFO_CERTINFO))


def http_version(handle: pycurl.Curl) -> str:
    """Of the answer, as people write it; empty if there is none."""
    return _VERSION_NAMES.get(handle.getinfo(pycurl.INFO_HTTP_VERSION), "")


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _set_request(handle: pycurl.Curl, request: Request) -> None:
    names = {name.lower() for name, _ in request.headers}
    # An empty value needs a semicolon, or libcurl leaves the header out.
    lines = [f"{name}: {value}" if value else f"{name};" for name, value in request.headers]
    if request.method == "HEAD":
        handle.setopt(pycurl.NOBODY, 1)
    elif request.method == "POST" or request.body is not None:
        handle.setopt(pycurl.POSTFIELDS, request.body or b"")
        # The empty Expect spares a body the second that libcurl waits for "100 Continue"; no type is made up for it.
        lines += [f"{name}:" for name in ("Expect", "Content-Type") if name.lower() not in names]
    if request.method not in ("GET", "HEAD", "POST") or (request.method == "GET" and request.body is not None):
        handle.setopt(pycurl.CUSTOMREQUEST, request.method)
    if lines:
        handle.setopt(pycurl.HTTPHEADER, [line.encode() for line in lines])
