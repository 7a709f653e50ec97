"""The HTTP probe: one request over a connection of its own, told apart into phases.

Guaranteed:

- Every run looks the name up, connects and shakes hands anew: no name, connection or TLS session is kept in between.
- One address per attempt, recorded. The machine's preferred address is tried; only if it gives no connection, one of
  the other family. So a name is up if one of those two is, and the result is about the address it names. Where only one
  family is wanted (`ip_version`), the other is never tried.
- At most HTTP_REDIRECTS_MAX redirects are followed, to http and https only; each is a request of its own, for which all of
  this holds. Phases are sums over all of them, the expiry of certificates is the earliest of all, the address the last
  one's. What the user added to the request goes to no other origin (see `http_request`). Who expects a status from 300
  to 399 gets the first answer instead: then no redirect is followed.
- At most HTTP_BODY_BYTES_MAX of the body are read; a longer one is cut there, which ends the transfer, and what was
  read is what the expectation sees. No compressed body is asked for.
- The result holds nothing of the URL, of the request, of headers or of the body, but lengths and keyed hashes (see `actual`).
  It has a latency if the target answered.
- When a certificate is refused, libcurl does not show the chain. So the same address is then asked once more for its
  certificates alone (a handshake without a request, within what is left of the timeout) and their expiry is reported.
- The usual groups for the key exchange are offered; a server that shakes hands with none of them is asked once more with
  all that OpenSSL has, post-quantum ones included.
- A proxy is used only if the check names one, never for the environment's sake. What keeps this node from its proxy is
  its own trouble, not the target's.

Not guaranteed: behind a proxy it is the proxy that looks names up and picks the address, so none is recorded, and
`ip_version` does not matter.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import pycurl
import trio

from demesh.curl import CurlEngine
from demesh.curl_failure import explain_transfer
from demesh.failure import Failed, Failure
from demesh.limits import HTTP_REDIRECTS_MAX
from demesh.outcome import Outcome, ProbeResult, fit_detail
from demesh.probes.base import HttpOptions, ProbeSpec
from demesh.probes.http_expect import HttpAnswer, broken_expectations
from demesh.probes.http_phases import phase_reached, phases_done_us, phases_us
from demesh.probes.http_proxy import check_proxy, explain_proxy
from demesh.probes.http_request import BAD_REDIRECT, NO_URL, Request, first_request
from demesh.probes.http_transfer import (
    Attempt,
    Received,
    chain_expiry_s,
    http_version,
    prepare,
    prepare_for_certificates,
    refused_usual_groups,
)
from demesh.probes.resolving import Resolver, of_family

_REDIRECT_STATUS = range(300, 400)
_DEFAULTS = HttpOptions()


class HttpProbe:
    """A `Probe` for http:// and https:// targets. `wall_ms` (Unix time) only serves to judge a certificate's expiry."""

    def __init__(self, engine: CurlEngine, wall_ms: Callable[[], int], resolver: Resolver | None = None) -> None:
        self._engine = engine
        self._wall_ms = wall_ms
        self._resolver = resolver or Resolver()

    async def __call__(self, spec: ProbeSpec) -> ProbeResult:
        options = spec.options if isinstance(spec.options, HttpOptions) else _DEFAULTS
        deadline = spec.deadline_s(trio.current_time())
        way = _Way()
        try:
            if options.proxy is not None:
                check_proxy(options.proxy)
            request = first_request(spec.target, options)
            follows = options.follow_redirects and not _expects_redirect(spec)
            while True:
                hop = await self._hop(spec, options, request, deadline, redirected=way.redirects > 0)
                way.add(hop)
                if (failure := hop.failure) is not None:
                    if failure is NO_URL and way.redirects:
                        failure = BAD_REDIRECT
                    return way.failed(Failed(failure.outcome, failure.sentence))
                if not follows or hop.location is None:
                    return self._judge(spec, options, hop, way)
                request = request.follow(hop.status, hop.location)
                way.redirects += 1
                if way.redirects > HTTP_REDIRECTS_MAX:
                    return way.failed(Failed(Outcome.MISMATCH, f"more than {HTTP_REDIRECTS_MAX} redirects"))
        except Failed as failed:
            return way.failed(failed)

    async def _hop(
        self, spec: ProbeSpec, options: HttpOptions, request: Request, deadline: float, *, redirected: bool
    ) -> "_Hop":
        """One request and its answer. Raises Failed if there is no address to ask."""
        place, started = request.place, trio.current_time()
        left_ms = max(round((deadline - started) * 1000), 1)
        if options.proxy is not None:
            return await self._attempt(Attempt(spec, options, request, None, 0, left_ms, left_ms))
        if place.version:
            if spec.ip_version not in (0, place.version):
                what = "a redirect's target" if redirected else "the target"
                sentence = f"{what} is an IPv{place.version} address, and only IPv{spec.ip_version} may be used"
                return _Hop(Failure(Outcome.MISMATCH if redirected else Outcome.ERROR, sentence))
            self._resolver.admit(place.host)
            return await self._attempt(Attempt(spec, options, request, place.host, 0, left_ms, left_ms))
        addresses = of_family(await self._resolver.resolve(place.host, left_ms / 1000), spec.ip_version)
        lookup_us = round((trio.current_time() - started) * 1_000_000)
        without_connection: list[_Hop] = []
        for others_left in reversed(range(len(addresses))):
            left_ms = max(round((deadline - trio.current_time()) * 1000), 1)
            connect_ms = max(left_ms // (1 + others_left), 1)
            address = addresses[-1 - others_left]
            hop = await self._attempt(Attempt(spec, options, request, address, lookup_us, left_ms, connect_ms))
            if hop.connected:
                return hop
            without_connection.append(hop)
        # That this node lacks one family says nothing if the target refused in the other.
        blaming = (hop for hop in without_connection if hop.failure and hop.failure.outcome.blames_target)
        return next(blaming, without_connection[0])

    async def _attempt(self, attempt: Attempt) -> "_Hop":
        expect = attempt.spec.expect
        wanted = {name.lower() for name, _ in expect.header} if expect.header else ()
        received = Received(keep_body=expect.body is not None or bool(expect.json), wanted=wanted)
        with self._engine.handle() as handle:
            try:
                prepare(handle, attempt, received)
            except OSError:
                return _Hop(Failure(Outcome.ERROR, "the file of CA certificates cannot be read"))
            except (pycurl.error, ValueError):
                return _Hop(NO_URL)
            code = await self._engine.perform(handle)
            if code == 0 or (code == pycurl.E_WRITE_ERROR and received.cut):
                return _answered(handle, attempt, received)
            if refused_usual_groups(handle, attempt, code):
                return await self._attempt(attempt.with_all_groups(handle.getinfo(pycurl.TOTAL_TIME_T)))
            return await self._failed(handle, attempt, code)

    async def _failed(self, handle: pycurl.Curl, attempt: Attempt, code: int) -> "_Hop":
        """A transfer without an answer, or with half of one."""
        info = handle.getinfo
        connected = code not in (pycurl.E_COULDNT_CONNECT, pycurl.E_OPERATION_TIMEDOUT) or bool(
            info(pycurl.CONNECT_TIME_T)
        )
        if code == pycurl.E_OPERATION_TIMEDOUT:
            reached = phase_reached(handle, attempt.request.place.is_tls)
            failure = Failure(Outcome.TIMEOUT, f"no complete answer within {attempt.spec.timeout_ms} ms, {reached}")
        elif code == pycurl.E_URL_MALFORMAT:
            failure = NO_URL
        else:
            failure = explain_transfer(handle, code)
        if attempt.options.proxy is not None:
            failure = explain_proxy(handle, code, failure)
        expires_s = chain_expiry_s(handle)
        if code == pycurl.E_PEER_FAILED_VERIFICATION and expires_s is None and attempt.address is not None:
            expires_s = await self._unverified_expiry_s(attempt, info(pycurl.TOTAL_TIME))
        return _Hop(
            failure,
            status=info(pycurl.RESPONSE_CODE),
            address=attempt.address and (info(pycurl.PRIMARY_IP) or attempt.address),
            phases_us=phases_done_us(handle, attempt.lookup_us),
            certificate_expires_s=expires_s,
            connected=connected,
        )

    async def _unverified_expiry_s(self, attempt: Attempt, spent_s: float) -> int | None:
        assert attempt.address is not None
        with self._engine.handle() as handle:
            left_s = max(attempt.left_ms / 1000 - spent_s, 0)
            prepare_for_certificates(handle, attempt.request, attempt.address, left_s)
            await self._engine.perform(handle)
            return chain_expiry_s(handle)

    def _judge(self, spec: ProbeSpec, options: HttpOptions, hop: "_Hop", way: "_Way") -> ProbeResult:
        """The result of the last answer."""
        answer = HttpAnswer(
            hop.status,
            sum(way.phases_us.values()),
            way.certificate_expires_s,
            hop.http_version,
            b"".join(hop.received.chunks),
            hop.content_type,
            hop.received.headers,
        )
        broken = broken_expectations(spec, options, answer, self._wall_ms)
        return ProbeResult(
            Outcome.MISMATCH if broken else Outcome.PASS,
            answer.latency_us,
            fit_detail("; ".join(dict.fromkeys(broken.values()))) if broken else "",
            way.phases_us,
            way.certificate_expires_s,
            hop.address,
            hop.status,
            broken,
            {"http_version": hop.http_version},
        )


@dataclass(slots=True)
class _Hop:
    """How one request ended: with an answer, or with a failure."""

    failure: Failure | None
    status: int = 0
    address: str | None = None
    phases_us: dict[str, int] = field(default_factory=dict[str, int])
    certificate_expires_s: int | None = None
    connected: bool = True
    """Whether there was a connection at all."""
    http_version: str = ""
    content_type: str = ""
    location: str | None = None
    """Where a redirect leads to; empty if that cannot be read."""
    received: Received = field(default_factory=lambda: Received(keep_body=False))


@dataclass(slots=True)
class _Way:
    """What the requests of one run came to so far, one after each redirect."""

    redirects: int = 0
    phases_us: dict[str, int] = field(default_factory=dict[str, int])
    certificate_expires_s: int | None = None
    last: _Hop | None = None

    def add(self, hop: _Hop) -> None:
        if self.last is None:
            self.phases_us, self.certificate_expires_s = hop.phases_us, hop.certificate_expires_s
        else:
            for phase, us in hop.phases_us.items():
                self.phases_us[phase] = self.phases_us.get(phase, 0) + us
            expiries = [each for each in (self.certificate_expires_s, hop.certificate_expires_s) if each is not None]
            self.certificate_expires_s = min(expiries, default=None)
        self.last = hop

    def failed(self, failed: Failed) -> ProbeResult:
        sentence, last = str(failed), self.last
        if self.redirects and self.redirects <= HTTP_REDIRECTS_MAX:
            sentence = f"after {self.redirects} redirect{'s' * (self.redirects > 1)}: {sentence}"
        return ProbeResult(
            failed.outcome,
            detail=fit_detail(sentence),
            phases_us=self.phases_us,
            certificate_expires_s=self.certificate_expires_s,
            address=last.address if last else None,
            status=(last.status or None) if last else None,
        )


def _answered(handle: pycurl.Curl, attempt: Attempt, received: Received) -> _Hop:
    info, info_raw = handle.getinfo, handle.getinfo_raw
    location = None
    if (status := info(pycurl.RESPONSE_CODE)) in _REDIRECT_STATUS:
        where: bytes | None = info_raw(pycurl.REDIRECT_URL)
        location = None if where is None else where.decode("utf-8", "replace")
    content_type: bytes = (received.keep_body and info_raw(pycurl.CONTENT_TYPE)) or b""
    return _Hop(
        None,
        status,
        attempt.address and (info(pycurl.PRIMARY_IP) or attempt.address),
        phases_us(handle, attempt.lookup_us),
        chain_expiry_s(handle) if attempt.request.place.is_tls else None,
        True,
        http_version(handle),
        content_type.decode("latin-1"),
        location,
        received,
    )


def _expects_redirect(spec: ProbeSpec) -> bool:
    return spec.expect.status is not None and any(status in _REDIRECT_STATUS for status in spec.expect.status)
