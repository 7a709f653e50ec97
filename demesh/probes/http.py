"""The HTTP probe: one GET over a connection of its own, told apart into phases.

Guaranteed:

- Every run looks the name up, connects and shakes hands anew: no name, connection or TLS session is kept in between.
- One address per attempt, recorded. The machine's preferred address is tried; only if it gives no connection, one of
  the other family. So a name is up if one of those two is, and the result is about the address it names.
- At most HTTP_REDIRECTS_MAX redirects are followed, to http and https only; phases are sums over all of them. Who
  expects a status from 300 to 399 gets the first answer instead: then no redirect is followed.
- At most HTTP_BODY_BYTES_MAX of the body are read; a longer one is cut there, which ends the transfer, and what was
  read is what the expectation sees. No compressed body is asked for.
- The result holds nothing of the URL, of headers or of the body, but lengths. It has a latency if the target answered.
- When a certificate is refused, libcurl does not show the chain. So the same address is then asked once more for its
  certificates alone (a handshake without a request, within what is left of the timeout) and their expiry is reported.

Not guaranteed: the hosts that redirects lead to are looked up and connected to by libcurl, which picks the address (RFC
8305); when such a hop fails no address is recorded. A regular expression that takes for ever holds up the node.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import quote, urlsplit, urlunsplit

import pycurl
import trio

from demesh.curl import CurlEngine
from demesh.curl_failure import Failure, explain_transfer
from demesh.limits import CHECKS_MAX, HTTP_BODY_BYTES_MAX, HTTP_REDIRECTS_MAX
from demesh.outcome import Outcome, ProbeResult, fit_detail
from demesh.probes.base import ProbeSpec
from demesh.probes.certificates import earliest_expiry_s
from demesh.probes.http_expect import HttpAnswer, broken_expectations
from demesh.probes.http_phases import phase_reached, phases_done_us, phases_us, url_reached
from demesh.probes.resolving import Resolver, Unresolved
from demesh.trust import trust

_CONNECTION_OPTIONS = (
    (pycurl.DNS_CACHE_TIMEOUT, 0),
    (pycurl.FRESH_CONNECT, 1),
    (pycurl.FORBID_REUSE, 1),
    (pycurl.SSL_SESSIONID_CACHE, 0),  # a resumed session shows no certificates
    (pycurl.OPT_CERTINFO, 1),
)
_REDIRECT_STATUS = range(300, 400)
_BAD_REDIRECT = Failure(Outcome.MISMATCH, "redirects to a URL that cannot be read")


class HttpProbe:
    """A `Probe` for http:// and https:// targets. `wall_ms` (Unix time) only serves to judge a certificate's expiry."""

    def __init__(self, engine: CurlEngine, wall_ms: Callable[[], int], resolver: Resolver | None = None) -> None:
        self._engine = engine
        self._wall_ms = wall_ms
        self._resolver = resolver or Resolver()

    async def __call__(self, spec: ProbeSpec) -> ProbeResult:
        place = _place(spec.target)
        if place is None:
            return ProbeResult(Outcome.ERROR, detail="the target is not a URL that can be asked")
        if place.is_address:
            result, _ = await self._attempt(_Attempt(spec, place, place.host, 0, spec.timeout_ms, spec.timeout_ms))
            return result
        return await self._try_addresses(spec, place)

    async def _try_addresses(self, spec: ProbeSpec, place: "_Place") -> ProbeResult:
        started = trio.current_time()
        try:
            addresses = await self._resolver.resolve(place.host, spec.timeout_ms / 1000)
        except Unresolved as unresolved:
            return ProbeResult(unresolved.outcome, detail=fit_detail(str(unresolved)))
        lookup_us = round((trio.current_time() - started) * 1_000_000)
        without_connection: list[ProbeResult] = []
        for others_left in reversed(range(len(addresses))):
            left_ms = max(spec.timeout_ms - int((trio.current_time() - started) * 1000), 1)
            connect_ms = max(left_ms // (1 + others_left), 1)
            address = addresses[-1 - others_left]
            attempt = _Attempt(spec, place, address, lookup_us, left_ms, connect_ms)
            result, connected = await self._attempt(attempt)
            if connected:
                return result
            without_connection.append(result)
        # That this node lacks one family says nothing if the target refused in the other.
        return next((result for result in without_connection if result.outcome.blames_target), without_connection[0])

    async def _attempt(self, attempt: "_Attempt") -> tuple[ProbeResult, bool]:
        """The result of asking one address, and whether it gave a connection at all."""
        body = _Body(kept=attempt.spec.expect.body is not None)
        with self._engine.handle() as handle:
            try:
                _prepare(handle, attempt, body)
            except OSError:
                return ProbeResult(Outcome.ERROR, detail="the file of CA certificates cannot be read"), True
            except (pycurl.error, ValueError):
                return ProbeResult(Outcome.ERROR, detail="the target is not a URL that can be asked"), True
            code = await self._engine.perform(handle)
            if code == 0 or (code == pycurl.E_WRITE_ERROR and body.cut):
                return self._judge(handle, attempt, body), True
            connected = code not in (pycurl.E_COULDNT_CONNECT, pycurl.E_OPERATION_TIMEDOUT) or bool(
                handle.getinfo(pycurl.CONNECT_TIME_T)
            )
            return await self._explain(handle, attempt, code), connected

    def _judge(self, handle: pycurl.Curl, attempt: "_Attempt", body: "_Body") -> ProbeResult:
        """The result of an answer that came."""
        info = handle.getinfo
        status: int = info(pycurl.RESPONSE_CODE)
        latency_us: int = attempt.lookup_us + info(pycurl.TOTAL_TIME_T)
        expires_s = _chain_expiry_s(handle)
        content_type: bytes = handle.getinfo_raw(pycurl.CONTENT_TYPE) or b""
        answer = HttpAnswer(status, latency_us, expires_s, b"".join(body.chunks), content_type.decode("latin-1"))
        broken = broken_expectations(attempt.spec.expect, answer, self._wall_ms)
        return ProbeResult(
            Outcome.MISMATCH if broken else Outcome.PASS,
            latency_us,
            fit_detail("; ".join(broken)),
            phases_us(handle, attempt.lookup_us),
            expires_s,
            info(pycurl.PRIMARY_IP) or attempt.address,
            status,
        )

    async def _explain(self, handle: pycurl.Curl, attempt: "_Attempt", code: int) -> ProbeResult:
        """The result of a transfer that failed."""
        info = handle.getinfo
        failure = explain_transfer(handle, code)
        url = url_reached(handle)
        status: int = info(pycurl.RESPONSE_CODE)
        redirects: int = info(pycurl.REDIRECT_COUNT)
        address: str | None = info(pycurl.PRIMARY_IP) or (None if redirects else attempt.address)
        expires_s = _chain_expiry_s(handle)
        left_s = max(attempt.left_ms / 1000 - info(pycurl.TOTAL_TIME), 0)
        if code == pycurl.E_COULDNT_RESOLVE_HOST:  # only of a redirect: the target's name has been resolved before
            failure = await self._why_unresolved(url, left_s)
        elif code == pycurl.E_PEER_FAILED_VERIFICATION and expires_s is None and address is not None:
            expires_s = await self._unverified_expiry_s(url, address, left_s)
        elif code == pycurl.E_OPERATION_TIMEDOUT:
            sentence = f"no complete answer within {attempt.spec.timeout_ms} ms{phase_reached(handle)}"
            failure = Failure(Outcome.TIMEOUT, sentence)
        elif code == pycurl.E_UNSUPPORTED_PROTOCOL and not url.startswith(("http:", "https:")):
            failure = Failure(Outcome.MISMATCH, "redirects to something other than http and https, which is refused")
        elif code == pycurl.E_URL_MALFORMAT and status in _REDIRECT_STATUS:
            failure = _BAD_REDIRECT
        elif code == pycurl.E_TOO_MANY_REDIRECTS:
            failure = Failure(Outcome.MISMATCH, f"more than {HTTP_REDIRECTS_MAX} redirects")
        elif redirects:
            failure = Failure(failure.outcome, f"after {redirects} redirect{'s' * (redirects > 1)}: {failure.sentence}")
        return ProbeResult(
            failure.outcome,
            detail=fit_detail(failure.sentence),
            phases_us=phases_done_us(handle, attempt.lookup_us),
            certificate_expires_s=expires_s,
            address=address,
            status=status or None,
        )

    async def _why_unresolved(self, url: str, left_s: float) -> Failure:
        try:
            await self._resolver.resolve(urlsplit(url).hostname or "", left_s)
        except Unresolved as unresolved:
            return Failure(unresolved.outcome, f"after a redirect: {unresolved}")
        except ValueError:
            return _BAD_REDIRECT
        return Failure(Outcome.ERROR, "after a redirect: this node's resolver failed, and answered when asked again")

    async def _unverified_expiry_s(self, url: str, address: str, left_s: float) -> int | None:
        """Shakes hands with `address` without believing it or saying anything to it, to see its certificates."""
        with self._engine.handle() as handle:
            for option, value in _CONNECTION_OPTIONS:
                handle.setopt(option, value)
            handle.setopt(pycurl.URL, url.encode("latin-1"))
            handle.setopt(pycurl.CONNECT_TO, [f"::{_bracketed(address)}:"])
            handle.setopt(pycurl.CONNECT_ONLY, 1)
            handle.setopt(pycurl.SSL_VERIFYPEER, 0)
            handle.setopt(pycurl.SSL_VERIFYHOST, 0)
            handle.setopt(pycurl.TIMEOUT_MS, max(int(left_s * 1000), 1))
            await self._engine.perform(handle)
            return _chain_expiry_s(handle)


@dataclass(frozen=True, slots=True)
class _Place:
    """What a target's URL says, in the form libcurl takes it."""

    url: str
    host: str
    is_address: bool


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One address to ask: what was spent on finding it, and the time there is for all, and for the connection."""

    spec: ProbeSpec
    place: _Place
    address: str
    lookup_us: int
    left_ms: int
    connect_ms: int


class _Body:
    """What libcurl has read of a body, up to the bound; nothing is kept if nobody looks at it."""

    __slots__ = ("chunks", "kept", "size")

    def __init__(self, kept: bool) -> None:
        self.kept = kept
        self.chunks: list[bytes] = []
        self.size = 0

    def write(self, chunk: bytes) -> int:
        room = HTTP_BODY_BYTES_MAX - self.size
        if self.kept:
            self.chunks.append(chunk if len(chunk) <= room else chunk[:room])
        self.size += min(len(chunk), room)
        return len(chunk) if len(chunk) <= room else -1  # which ends the transfer with E_WRITE_ERROR

    @property
    def cut(self) -> bool:
        return self.size == HTTP_BODY_BYTES_MAX


def _prepare(handle: pycurl.Curl, attempt: _Attempt, body: _Body) -> None:
    setopt, spec, place = handle.setopt, attempt.spec, attempt.place
    for option, value in _CONNECTION_OPTIONS:
        setopt(option, value)
    setopt(pycurl.URL, place.url)
    setopt(pycurl.TIMEOUT_MS, attempt.left_ms)
    setopt(pycurl.CONNECTTIMEOUT_MS, attempt.connect_ms)
    setopt(pycurl.WRITEFUNCTION, body.write)
    if not place.is_address:
        setopt(pycurl.CONNECT_TO, [f"{place.host}::{_bracketed(attempt.address)}:"])
    if spec.expect.status is None or not any(status in _REDIRECT_STATUS for status in spec.expect.status):
        setopt(pycurl.FOLLOWLOCATION, 1)
        setopt(pycurl.MAXREDIRS, HTTP_REDIRECTS_MAX)
    if spec.verify_tls:
        trust(handle, spec.ca_file)
    else:
        setopt(pycurl.SSL_VERIFYPEER, 0)
        setopt(pycurl.SSL_VERIFYHOST, 0)


@lru_cache(CHECKS_MAX)
def _place(target: str) -> _Place | None:
    """None if `target` is no URL of ours. pycurl's libcurl takes ASCII only, and knows no international host names."""
    try:
        parts = urlsplit(target)
        if parts.scheme not in ("http", "https") or parts.port == 0:  # reading the port finds one that is none
            return None
        host = (parts.hostname or "").encode("idna").decode()
        url = target
        if not target.isascii():
            user, at, host_port = parts.netloc.rpartition("@")
            netloc = quote(user, safe=":%") + at + host_port.encode("idna").decode()
            url = urlunsplit((parts.scheme, netloc, *(quote(part, safe="/%?&=+;,:@!$'()*~") for part in parts[2:])))
    except ValueError:
        return None
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return _Place(url, host, is_address=False) if host else None
    return _Place(url, host, is_address=True)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _chain_expiry_s(handle: pycurl.Curl) -> int | None:
    if not handle.getinfo(pycurl.APPCONNECT_TIME_T):
        return None
    return earliest_expiry_s(handle.getinfo_raw(pycurl.INFO_CERTINFO))
