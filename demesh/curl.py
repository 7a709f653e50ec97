"""libcurl's multi interface under trio: many transfers at once, no threads of ours, one place that waits.

libcurl names the sockets it wants watched (M_SOCKETFUNCTION) and the time it wants to be called at (M_TIMERFUNCTION).
All its sockets go into *one* epoll set. The set's own descriptor is pollable, so a single trio task waits for it and
hands every ready socket to libcurl in one batch; a second task is the timer. A task per socket would cost 2.5 times as
much CPU.

Guaranteed: `perform` returns libcurl's code and never raises for what a server does; a cancelled transfer is taken out
of libcurl before the cancellation goes on, and its socket is closed; when `run` ends, every transfer still under way
returns ENGINE_TROUBLE, and no connection is left. Every handle lent speaks http and https only, redirects included,
ignores the proxy variables of the environment, raises no signals, and keeps nothing of the transfer before.

Not guaranteed: names are looked up by threads of libcurl (getaddrinfo cannot be interrupted), so a lookup that has
been given up may live on for a while; and what OpenSSL and libcurl do between two socket events (a handshake's
arithmetic, the first loading of a CA bundle) holds up the event loop.
"""

import select
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import outcome
import pycurl
import trio

from demesh import __version__
from demesh.curl_failure import ENGINE_TROUBLE, explain_transfer
from demesh.errors import NetworkError
from demesh.limits import HTTP_BODY_BYTES_MAX, PROBE_PLACES_MAX
from demesh.target import public_target
from demesh.trust import trust

_HTTP_ONLY = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
# A bit mask each, because pycurl does not know the string forms of the protocol options.
_SAFE_OPTIONS: tuple[tuple[int, int | str], ...] = (
    (pycurl.NOSIGNAL, 1),
    (pycurl.PROXY, ""),
    (pycurl.NOPROXY, "*"),
    (pycurl.PROTOCOLS, _HTTP_ONLY),
    (pycurl.REDIR_PROTOCOLS, _HTTP_ONLY),
    (pycurl.USERAGENT, f"demesh/{__version__}"),
)
_EPOLL_EVENTS = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}
_READY_SOCKETS_PER_BATCH = 512
_CLOSE_SECONDS_MAX = 0.5


class CurlEngine:
    """One multi handle. `run` must be running while `perform` is called; all calls come from the same trio thread."""

    def __init__(self) -> None:
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._epoll = select.epoll()
        self._watched: set[int] = set()
        self._unwatchable = False
        self._deadline: float | None = None
        self._timer_changed = trio.Event()
        self._waiting: dict[pycurl.Curl, trio.lowlevel.Task] = {}
        self._idle: list[pycurl.Curl] = []
        self._closed = False

    @property
    def transfers_in_flight(self) -> int:
        return len(self._waiting)

    @property
    def descriptors_watched(self) -> int:
        """Sockets, and one that libcurl wakes itself up with while it has anything to do."""
        return len(self._watched)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Drives all transfers until cancelled; an engine runs once."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run_timer)
                nursery.start_soon(self._run_sockets)
                task_status.started()
        finally:
            await self._close()

    @contextmanager
    def handle(self) -> Generator[pycurl.Curl]:
        """Lends an easy handle with safe options set; it is wiped and goes back to the pool at the end of the block."""
        handle = self._idle.pop() if self._idle else pycurl.Curl()
        try:
            for option, value in _SAFE_OPTIONS:
                handle.setopt(option, value)
            yield handle
        finally:
            if self._closed or len(self._idle) >= PROBE_PLACES_MAX:
                handle.close()
            else:
                handle.reset()  # lets go of URL, callbacks and bodies: an idle handle holds no secrets
                self._idle.append(handle)

    async def perform(self, handle: pycurl.Curl) -> int:
        """Runs one transfer: returns libcurl's code, 0 when it went well, ENGINE_TROUBLE when it could not be run."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            return ENGINE_TROUBLE
        self._multi.add_handle(handle)
        self._waiting[handle] = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            del self._waiting[handle]
            self._multi.remove_handle(handle)
            return trio.lowlevel.Abort.SUCCEEDED

        return await trio.lowlevel.wait_task_rescheduled(abort)

    def _watch(self, what: int, fd: int, _multi: object, _data: object) -> None:
        # Called by libcurl, which has no use for an exception.
        if self._closed:
            return
        try:
            if what == pycurl.POLL_REMOVE:
                self._watched.discard(fd)
                self._epoll.unregister(fd)
            elif fd in self._watched:
                self._epoll.modify(fd, _EPOLL_EVENTS[what])
            else:
                self._watched.add(fd)
                self._epoll.register(fd, _EPOLL_EVENTS[what])
        except OSError:
            if what != pycurl.POLL_REMOVE:  # else it is closed already, which the set has noticed by itself
                self._watch_afresh(fd, _EPOLL_EVENTS[what])

    def _watch_afresh(self, fd: int, events: int) -> None:
        """The set and our idea of it differ (a number closed and used again); if that is not it, we are in trouble."""
        try:
            self._epoll.modify(fd, events)
        except OSError:
            try:
                self._epoll.register(fd, events)
            except OSError:  # no memory, or the limit of watches: a transfer would hang and its target be blamed
                self._unwatchable = True

    def _set_timer(self, timeout_ms: int) -> None:
        if self._closed:  # then there may be no trio in this thread
            return
        self._deadline = None if timeout_ms < 0 else trio.current_time() + timeout_ms / 1000
        self._timer_changed.set()

    async def _run_sockets(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            try:
                for fd, ready in self._epoll.poll(0, _READY_SOCKETS_PER_BATCH):
                    action = (pycurl.CSELECT_IN if ready & select.EPOLLIN else 0) | (
                        pycurl.CSELECT_OUT if ready & select.EPOLLOUT else 0
                    )
                    if ready & ~(select.EPOLLIN | select.EPOLLOUT):
                        action |= pycurl.CSELECT_ERR
                    self._multi.socket_action(fd, action)
                self._collect()
            except (pycurl.error, OSError, ValueError):
                self._fail_all()

    async def _run_timer(self) -> None:
        while True:
            self._timer_changed = trio.Event()
            if self._deadline is None:
                await self._timer_changed.wait()
            elif self._deadline > trio.current_time():
                with trio.move_on_at(self._deadline):
                    await self._timer_changed.wait()
            else:
                self._deadline = None
                try:
                    self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
                    self._collect()
                except (pycurl.error, ValueError):
                    self._fail_all()
                await trio.lowlevel.checkpoint()  # a timer that is always due must not starve the others

    def _collect(self) -> None:
        """Wakes the tasks whose transfers are over."""
        queued = 1
        while queued:
            queued, done, failed = self._multi.info_read()
            for handle in done:
                self._finish(handle, 0)
            for handle, code, _ in failed:  # libcurl's own text may repeat the URL with its secrets
                self._finish(handle, code)
        if self._unwatchable:
            self._unwatchable = False
            self._fail_all()

    def _finish(self, handle: pycurl.Curl, code: int) -> None:
        self._multi.remove_handle(handle)
        trio.lowlevel.reschedule(self._waiting.pop(handle), outcome.Value(code))

    def _fail_all(self) -> None:
        for handle in list(self._waiting):
            self._finish(handle, ENGINE_TROUBLE)

    async def _close(self) -> None:
        self._fail_all()
        self._closed = True
        self._watched.clear()
        self._epoll.close()
        for handle in self._idle:
            handle.close()
        self._idle.clear()
        # libcurl waits here for its threads that look up names, and a silent resolver keeps those for many seconds.
        with trio.move_on_after(_CLOSE_SECONDS_MAX, shield=True):
            await trio.to_thread.run_sync(self._multi.close, abandon_on_cancel=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said to `fetch`; `body` is cut at the caller's bound."""

    status: int
    body: bytes
    date_ms: int | None = None
    """The server's wall time (Unix, in ms), if its Date header tells it."""


async def fetch(
    engine: CurlEngine,
    url: str,
    *,
    timeout_ms: int,
    json: bytes | None = None,
    bearer: str | None = None,
    ca_file: str | None = None,
    body_bytes_max: int = HTTP_BODY_BYTES_MAX,
    shown: str | None = None,
) -> Answer:
    """GETs `url`, or POSTs `json` (an encoded document) to it, and returns whatever status came. `bearer` is a token to show.

    Redirects are not followed, certificates are verified, connections are kept for the next request. Raises
    NetworkError, which shows nothing of the URL but its public part (or `shown` in its place), when there was no complete answer
    in time.
    """
    shown = public_target(url) if shown is None else shown
    chunks: list[bytes] = []
    size = 0

    def keep(chunk: bytes) -> int:
        nonlocal size
        chunks.append(chunk)
        size += len(chunk)
        return -1 if size > body_bytes_max else len(chunk)

    date_ms: int | None = None

    def note(line: bytes) -> None:
        nonlocal date_ms
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"date":
            date_ms = _date_ms(value.decode("latin-1"))

    with engine.handle() as handle:
        try:
            handle.setopt(pycurl.URL, url.encode())
            handle.setopt(pycurl.TIMEOUT_MS, timeout_ms)
            handle.setopt(pycurl.WRITEFUNCTION, keep)
            handle.setopt(pycurl.HEADERFUNCTION, note)
            headers = [f"Authorization: Bearer {bearer}"] if bearer else []
            if json is not None:
                # The empty Expect spares a large document the second that libcurl waits for "100 Continue".
                headers += ["Content-Type: application/json", "Expect:"]
                handle.setopt(pycurl.POSTFIELDS, json)
            handle.setopt(pycurl.HTTPHEADER, headers)
            trust(handle, ca_file)
        except (pycurl.error, OSError, ValueError):
            raise NetworkError(f"{shown}: the URL or the CA file cannot be used.") from None
        code = await engine.perform(handle)
        if code and not (code == pycurl.E_WRITE_ERROR and size > body_bytes_max):
            raise NetworkError(f"{shown}: {explain_transfer(handle, code).sentence}.")
        return Answer(handle.getinfo(pycurl.RESPONSE_CODE), b"".join(chunks)[:body_bytes_max], date_ms)


def _date_ms(text: str) -> int | None:
    """The time in a Date header (RFC 9110, section 5.6.7); None for anything else."""
    try:
        return round(parsedate_to_datetime(text).timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None
