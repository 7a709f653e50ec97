"""Looking up the host names of targets, and whose fault it is when that fails.

Every lookup is one getaddrinfo in a thread of its own, so that a name whose servers are silent holds up no other lookup
(libcurl's own pool of 20 threads is full with ten such names, and then every other target seems to time out).

getaddrinfo tells "there is no such name" from "ask again later". The second means that this node reaches no resolver,
or that the name's own servers do not answer. To tell these apart, a name that cannot exist is asked for as well
(RFC 6761 reserves `invalid`): whoever denies it is a resolver that works.

A lookup that has been given up goes on in its thread until the resolver gives up too. Whoever asks for the same name meanwhile
waits for that one, so a name that hangs costs no more threads, however often it is asked for. There are LOOKUPS_MAX threads, of
which an eighth (UNPROVEN_SHARE) is kept for names that were found the last time: these never wait for names that hang. A
name that was not found yet waits when the other 896 threads hang, until one of them ends or its own probe's time is over: that
is an error of this node's and no blame. Each name that hangs delays it by the resolver's patience / 896 at most: 11 ms where
that is 10 s, the C library's default for one server.

Not guaranteed: a resolver on this very machine may deny `invalid` while it is cut off itself, so that the target is blamed. A
false alarm is preferred there to a silent outage of a target's name servers.
"""

import copy
import errno
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import outcome
import trio

from demesh.failure import Failed
from demesh.limits import CHECKS_MAX, LOOKUPS_MAX, UNPROVEN_SHARE
from demesh.metrics import REFUSED
from demesh.outcome import Outcome

_CANNOT_EXIST = "demesh.invalid"
_NO_SUCH_NAME = frozenset(
    code for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if (code := getattr(socket, name, None)) is not None
)

_NOT_PUBLIC = "the host name leads to no public address, and this node asks public servers at no other"

Admits = Callable[[str], bool]
"""Whether an address may be asked."""

Lookup = Callable[[str], list[str]]
"""Blocks; returns a name's addresses, the preferred ones first; raises OSError (gaierror is one) if there are none."""


class Unresolved(Failed):
    """A name has no address to try."""


def system_lookup(host: str) -> list[str]:
    """What the machine says: its hosts file, resolver and preferences (RFC 6724)."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Resolver:
    """Looks up names for all probes of a node."""

    def __init__(
        self,
        lookup: Lookup = system_lookup,
        most: int = LOOKUPS_MAX,
        admits: Admits | None = None,
        *,
        discreet: bool = True,
    ) -> None:
        """With `admits`, probes that use this resolver ask nobody at another address, by name or by address.

        `discreet`: that a name leads to such an address is not told; it fails as one does that there is not.
        """
        self._lookup = lookup
        self._most = most
        self._admits = admits
        self._discreet = discreet
        self._threads = trio.Semaphore(most)
        self._unproven_threads = trio.Semaphore(int(most * UNPROVEN_SHARE))
        self._found: set[str] = set()
        self._left_behind: dict[str, _Question] = {}
        self._pinned: Mapping[str, str] = {}

    def pinned(self, host: str, address: str) -> "Resolver":
        """The same, which finds `host` at this address alone, and does not look it up."""
        other = copy.copy(self)
        other._pinned = {host: address}
        return other

    def admit(self, address: str) -> None:
        """Called with every address that stands in a target itself. Raises Unresolved if it may not be asked."""
        if self._admits is not None and not self._admits(address):
            raise Unresolved(Outcome.ERROR, "this node asks public addresses only, and this is none")

    async def resolve(self, host: str, within_s: float) -> list[str]:
        """The preferred address of `host`, and the first of the other family if there is one. Raises Unresolved."""
        if (address := self._pinned.get(host)) is not None:
            return [address]
        return await self._find(host, within_s, _one_per_family)

    async def resolve_all(self, host: str, within_s: float) -> list[str]:
        """All addresses of `host`, the preferred ones first. Raises Unresolved."""
        return await self._find(host, within_s, _each_once)

    async def _find(self, host: str, within_s: float, chosen: Callable[[list[str]], list[str]]) -> list[str]:
        """What is `chosen` of the addresses of `host`, as far as it may be asked. Raises Unresolved."""
        if self._admits is None:
            return chosen(await self._resolve(host, within_s))
        # Whether a name is known inside this node's network is not told: it is as if there were none.
        none = Unresolved(Outcome.FAIL, "the host name has no public address")
        try:
            addresses = chosen(await self._resolve(host, within_s))
        except Unresolved as error:
            raise none if self._discreet and error.outcome == Outcome.FAIL else error from None
        if not (admitted := [address for address in addresses if self._admits(address)]):
            raise none if self._discreet else Unresolved(Outcome.ERROR, _NOT_PUBLIC)
        return admitted

    async def _resolve(self, host: str, within_s: float) -> list[str]:
        halfway, deadline = trio.current_time() + within_s / 2, trio.current_time() + within_s
        question = self._left_behind.get(host)
        if question is not None:
            with trio.move_on_at(halfway):
                await question.ended.wait()
        if question is None or (question.ended.is_set() and not question.addresses()):
            question = await self._ask_in_turn(host, deadline)
        try:
            addresses = await self._answer(question, halfway, deadline, within_s)
        finally:
            self._found.discard(host)
            if not question.ended.is_set():
                self._left_behind[host] = question
        if len(self._found) >= CHECKS_MAX:  # names come and go
            self._found.clear()
        self._found.add(host)
        return addresses

    async def _answer(self, question: "_Question", halfway: float, deadline: float, within_s: float) -> list[str]:
        with trio.move_on_at(halfway):
            await question.ended.wait()
        if (addresses := question.addresses()) is None:  # slow, or no answer: is it the name or the resolver?
            impossible = self._left_behind.get(_CANNOT_EXIST) or self._ask(_CANNOT_EXIST)
            self._left_behind[_CANNOT_EXIST] = impossible
            with trio.move_on_at(deadline):
                await question.ended.wait()
                addresses = question.addresses()
                await (question if addresses else impossible).ended.wait()
            if addresses is None and impossible.code not in _NO_SUCH_NAME:
                raise Unresolved(Outcome.ERROR, "no resolver answers this node")
        if addresses is None and not question.ended.is_set():
            raise Unresolved(Outcome.TIMEOUT, f"the host name was not resolved within {within_s:.3g} s")
        if addresses is None:
            raise Unresolved(Outcome.FAIL, "the host name could not be resolved, though the resolver answers")
        return addresses

    async def _ask_in_turn(self, host: str, deadline: float) -> "_Question":
        """Ask when there is a thread to wait in. Raises Unresolved."""
        places = (self._threads,) if host in self._found else (self._unproven_threads, self._threads)
        taken: list[trio.Semaphore] = []
        try:
            with trio.fail_at(deadline):
                for each in places:
                    await each.acquire()
                    taken.append(each)
            return self._ask(host, taken)
        except BaseException as error:
            for each in taken:
                each.release()
            if isinstance(error, trio.TooSlowError):
                REFUSED.labels("probes", "lookups").inc()
                sentence = f"this node waits for {self._most} other names to be resolved"
                raise Unresolved(Outcome.ERROR, sentence) from None
            raise

    def _ask(self, host: str, places: Sequence[trio.Semaphore] = ()) -> "_Question":
        """Ask at once, and give `places` back when there is an answer. Raises Unresolved."""
        question = _Question()
        token = trio.lowlevel.current_trio_token()

        def take(answer: outcome.Outcome[list[str]]) -> None:
            for each in places:
                each.release()
            if self._left_behind.get(host) is question:
                del self._left_behind[host]
            question.end(answer)

        def deliver(answer: outcome.Outcome[list[str]]) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(take, answer)

        try:
            trio.lowlevel.start_thread_soon(partial(self._lookup, host), deliver, name="lookup")
        except RuntimeError:
            raise Unresolved(Outcome.ERROR, "this node cannot start another thread") from None
        return question


class _Question:
    """One lookup under way in a thread: not a task, so that it can be left behind without waiting for it."""

    __slots__ = ("_found", "code", "ended")

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.code = 0
        """getaddrinfo's, or the errno that kept it from asking."""
        self._found: list[str] | None = None

    def end(self, answer: outcome.Outcome[list[str]]) -> None:
        try:
            self._found = answer.unwrap()
        except UnicodeError:  # a label that is empty or too long: no such name can be
            self.code = socket.EAI_NONAME
        except OSError as error:
            self.code = socket.EAI_FAIL if error.errno is None else error.errno
        self.ended.set()

    def addresses(self) -> list[str] | None:
        """What was found, None if there is no answer. Raises Unresolved when the answer says enough by itself."""
        if self.code in _NO_SUCH_NAME:
            raise Unresolved(Outcome.FAIL, "no such host")
        if self.code in (errno.EMFILE, errno.ENFILE):
            raise Unresolved(Outcome.ERROR, "this node is out of file descriptors")
        return self._found


def of_family(addresses: Sequence[str], version: int) -> list[str]:
    """Those of a name's addresses that are of IPv4 or IPv6; 0: all. Raises Unresolved if there are none."""
    found = [address for address in addresses if not version or version == (6 if ":" in address else 4)]
    if not found:
        raise Unresolved(Outcome.FAIL, f"the host name has no IPv{version} address")
    return found


def _each_once(addresses: list[str]) -> list[str]:
    return list(dict.fromkeys(addresses))


def _one_per_family(addresses: list[str]) -> list[str]:
    preferred = addresses[0]
    other = next((address for address in addresses if (":" in address) != (":" in preferred)), None)
    return [preferred] if other is None else [preferred, other]
