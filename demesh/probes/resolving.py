"""Looking up the host names of targets, and whose fault it is when that fails.

Every lookup is one getaddrinfo in a thread of its own, so that a name whose servers are silent holds up no other lookup
(libcurl's own pool of 20 threads is full with ten such names, and then every other target seems to time out).

getaddrinfo tells "there is no such name" from "ask again later". The second means that this node reaches no resolver,
or that the name's own servers do not answer. To tell these apart, a name that cannot exist is asked for as well
(RFC 6761 reserves `invalid`): whoever denies it is a resolver that works.

Not guaranteed: a lookup that has been given up goes on in its thread until the resolver gives up too; and a resolver on
this very machine may deny `invalid` while it is cut off itself, so that the target is blamed. A false alarm is
preferred there to a silent outage of a target's name servers.
"""

import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import outcome
import trio

from demesh.failure import Failed
from demesh.limits import LOOKUPS_MAX
from demesh.outcome import Outcome

_CANNOT_EXIST = "demesh.invalid"
_NO_SUCH_NAME = frozenset(
    code for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if (code := getattr(socket, name, None)) is not None
)

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

    def __init__(self, lookup: Lookup = system_lookup, admits: Admits | None = None) -> None:
        """With `admits`, probes that use this resolver ask nobody at another address, by name or by address."""
        self._lookup = lookup
        self._admits = admits
        self._threads = 0

    def admit(self, address: str) -> None:
        """Called with every address that stands in a target itself. Raises Unresolved if it may not be asked."""
        if self._admits is not None and not self._admits(address):
            raise Unresolved(Outcome.ERROR, "this node asks public addresses only, and this is none")

    async def resolve(self, host: str, within_s: float) -> list[str]:
        """The preferred address of `host`, and the first of the other family if there is one. Raises Unresolved."""
        if self._admits is None:
            return await self._resolve(host, within_s)
        # Whether a name is known inside this node's network is not told: it is as if there were none.
        none = Unresolved(Outcome.FAIL, "the host name has no public address")
        try:
            addresses = await self._resolve(host, within_s)
        except Unresolved as error:
            raise none if error.outcome == Outcome.FAIL else error from None
        if not (admitted := [address for address in addresses if self._admits(address)]):
            raise none
        return admitted

    async def _resolve(self, host: str, within_s: float) -> list[str]:
        if self._threads >= LOOKUPS_MAX:
            await trio.lowlevel.checkpoint()
            raise Unresolved(Outcome.ERROR, f"this node waits for {LOOKUPS_MAX} other names to be resolved")
        deadline = trio.current_time() + within_s
        question = self._ask(host)
        with trio.move_on_after(within_s / 2):
            await question.ended.wait()
        if (addresses := question.addresses()) is None:  # slow, or no answer: is it the name or the resolver?
            impossible = self._ask(_CANNOT_EXIST)
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
        return _one_per_family(addresses)

    def _ask(self, host: str) -> "_Question":
        question = _Question()
        token = trio.lowlevel.current_trio_token()

        def take(answer: outcome.Outcome[list[str]]) -> None:
            self._threads -= 1
            question.end(answer)

        def deliver(answer: outcome.Outcome[list[str]]) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(take, answer)

        try:
            trio.lowlevel.start_thread_soon(partial(self._lookup, host), deliver, name="lookup")
        except RuntimeError:
            raise Unresolved(Outcome.ERROR, "this node cannot start another thread") from None
        self._threads += 1
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


def _one_per_family(addresses: list[str]) -> list[str]:
    preferred = addresses[0]
    other = next((address for address in addresses if (":" in address) != (":" in preferred)), None)
    return [preferred] if other is None else [preferred, other]
