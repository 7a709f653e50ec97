"""Rotation: brings a new swarm key to every member that may have it, and drops the old one once all do.

Protocol `/demesh/key/1`, one offer and one answer a stream, over connections whose far end Noise has proved. Around the
decisions of `demesh.mesh.key_change`; what they say is on the disk before a peer hears of it.

Guaranteed: the key is offered to members on the change's list only, as long as this node still trusts them; it is in no
entry, no log line and no answer. What a peer does ends one talk with it, never the node. Not guaranteed: that the change ends
by itself while a member on the list stays away; `finish` ends it then, and that member needs an invitation.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from demesh import limits
from demesh.errors import DemeshError, EntryError, NetworkError, SyncError, UsageError
from demesh.identity import SwarmKey, new_swarm_key, peer_id
from demesh.mesh.key_change import (
    Change,
    Declined,
    Refusal,
    answered,
    consider,
    decode_change,
    encode_change,
    refusal,
)
from demesh.mesh.key_storage import KeyStorage
from demesh.mesh.network import Stream
from demesh.mesh.session import Frames
from demesh.metrics import REFUSED
from demesh.swarm_key_files import SwarmKeys

log = logging.getLogger(__name__)
PROTOCOL = "/demesh/key/1"
_RETRY_SECONDS = 5
_FAILED = (NetworkError, SyncError, EntryError)


class KeyNetwork(Protocol):
    """What is needed of a network beyond `demesh.mesh.network.Network`."""

    def peers(self) -> frozenset[bytes]: ...

    async def open_stream(self, peer: bytes, protocol: str) -> Stream: ...

    async def use_swarm_keys(self, keys: Sequence[SwarmKey]) -> None: ...


class Rotation:
    """`me` is this node's public key; `trusted` gives the members that this node knows from logs and has nothing against."""

    def __init__(
        self,
        files: KeyStorage,
        keys: SwarmKeys,
        network: KeyNetwork,
        me: bytes,
        trusted: Callable[[], frozenset[bytes]],
    ) -> None:
        self.keys = keys
        self._files = files
        self._network = network
        self._me = me
        self._trusted = trusted
        self._wake = trio.Event()
        self._lock = trio.Lock()
        self._serving: set[bytes] = set()
        self._talking: set[bytes] = set()
        self._due_at: dict[bytes, float] = {}
        self._told: dict[bytes, Change] = {}
        self._known: frozenset[bytes] = frozenset()
        self._complained: set[tuple[bytes, int]] = set()

    async def begin(self, without: frozenset[bytes] = frozenset()) -> None:
        """Make a new swarm key for all trusted members but `without`. Raises UsageError."""
        if self._files.elsewhere:
            raise UsageError(
                f"The swarm key of this node is in {self._files.path}, which `swarm_key_file` names and demesh does not "
                "write. Rotate on a node that keeps its key in its data directory; or make a key with `demesh swarm-key new`, "
                "put it in that place for every node, and restart them all."
            )
        async with self._lock:
            if self.keys.change:
                raise UsageError(
                    f"A change of the swarm key, begun by {peer_id(self.keys.change.by)}, is under way. "
                    "`demesh swarm-key rotate --status` says who has the new key, --finish drops the old one."
                )
            members = (self._trusted() | {self._me}) - without
            change = Change(
                self.keys.current.digest, new_swarm_key(), self._me, members, confirmed=frozenset({self._me})
            )
            await self._keep(change)
        log.warning("The swarm key changes to %s, for %d members.", change.key.fingerprint, len(members))

    async def finish(self) -> None:
        """Drop the old key, if it is being changed, here and with every member that can be reached. Raises UsageError."""
        async with self._lock:
            if self.keys.change:
                await self._keep(self.keys.change.joined((), finished=True))

    async def run(self) -> None:
        """Carry changes through until cancelled."""
        if self.keys.overruled:
            self._say_overruled()
        async with trio.open_nursery() as nursery:
            while True:
                change = self.keys.change
                if change is None:
                    await self._wait(None)
                    continue
                trusted = self._trusted()
                self._known |= trusted
                left = self._known - trusted  # a member that was never known may be one that is not known yet
                if change.by == self._me and not change.missing() - left and not change.finished:
                    await self._finish_by_itself()
                    continue
                if change.finished:
                    await self._go_over()
                    continue
                for peer in sorted(self._network.peers() & change.members & trusted):
                    if peer not in self._talking and self._is_due(peer, change):
                        self._talking.add(peer)
                        nursery.start_soon(self._talk, peer, change)
                await self._wait(limits.KEY_ROUND_SECONDS)

    async def _finish_by_itself(self) -> None:
        try:
            await self.finish()
        except DemeshError as error:
            log.error("The change of the swarm key cannot be finished yet: %s", error)
            await trio.sleep(_RETRY_SECONDS)

    async def answer(self, stream: Stream) -> None:
        """Take a peer's offer; never raises for what the peer does."""
        peer = stream.peer
        busy = peer in self._serving or len(self._serving) >= limits.KEY_EXCHANGES_INBOUND_MAX
        if not busy:
            self._serving.add(peer)
        frames = Frames(stream)
        try:
            with trio.move_on_after(limits.KEY_EXCHANGE_SECONDS_MAX):
                try:
                    if busy:
                        raise Declined("this node hears enough offers at the moment; try later", Refusal.BUSY)
                    await frames.send(await self._considered(decode_change(await frames.expect()), peer))
                except Declined as why:
                    REFUSED.labels("key", Refusal(why.code).name.lower()).inc()
                    self._complain(peer, why.code, "A swarm key that %s offers is not taken: %s", why)
                    await frames.send(refusal(Refusal(why.code), str(why)))
                except EntryError as why:
                    REFUSED.labels("key", "malformed").inc()
                    log.info("What %s offers as a swarm key is none: %s", peer_id(peer), why)
                    await frames.send(refusal(Refusal.MALFORMED, "this node does not understand that offer"))
        except _FAILED as error:
            log.info("A talk about the swarm key with %s broke off: %s", peer_id(peer), error)
        finally:
            if not busy:
                self._serving.discard(peer)
            await stream.close()

    async def _considered(self, offered: Change, peer: bytes) -> bytes:
        async with self._lock:
            taken = consider(
                offered,
                peer,
                own=self.keys.change,
                current=self.keys.current,
                settled=self.keys.settled,
                me=self._me,
                trusted=self._trusted(),
            )
            if taken.change and self.keys.overruled:
                self._say_overruled()
                raise Declined("this node's swarm key lies elsewhere, and is not the last one yet", Refusal.BUSY)
            if taken.change:
                new = self.keys.change is None
                try:
                    await self._keep(taken.change)
                except DemeshError as error:
                    log.error("The new swarm key cannot be kept: %s", error)
                    raise Declined("this node cannot store the key; try later", Refusal.BUSY) from None
                if new:
                    log.warning(
                        "The swarm key changes to %s, begun by %s.",
                        taken.change.key.fingerprint,
                        peer_id(taken.change.by),
                    )
            return taken.answer

    async def _talk(self, peer: bytes, change: Change) -> None:
        try:
            with trio.fail_after(limits.KEY_EXCHANGE_SECONDS_MAX):
                await self._offer(peer, change)
            self._told[peer] = change
            self._due_at[peer] = trio.current_time() + limits.KEY_REPEAT_SECONDS
        except Declined as why:
            self._due_at[peer] = trio.current_time() + _RETRY_SECONDS
            self._complain(peer, why.code, "%s does not take the new swarm key: %s", why)
        except (*_FAILED, trio.TooSlowError) as error:
            self._due_at[peer] = trio.current_time() + _RETRY_SECONDS
            log.info("%s could not be given the new swarm key: %s", peer_id(peer), error or "it does not answer")
        except DemeshError as error:
            log.error("Who has the new swarm key cannot be noted: %s", error)
        finally:
            self._talking.discard(peer)

    async def _offer(self, peer: bytes, change: Change) -> None:
        stream = await self._network.open_stream(peer, PROTOCOL)
        try:
            frames = Frames(stream)
            await frames.send(encode_change(change))
            said = await frames.expect()
        finally:
            await stream.close()
        async with self._lock:
            if self.keys.change and self.keys.change.key == change.key:
                await self._keep(answered(said, self.keys.change, peer))

    async def _keep(self, change: Change) -> None:
        """Have a change on the disk, then act by it. The lock is held. Raises DemeshError."""
        if change == self.keys.change:
            return
        await self._files.save(change)
        new = self.keys.change is None
        self.keys = SwarmKeys(self.keys.current, change)
        if new:
            await self._network.use_swarm_keys(self.keys.accepted)
        self._wake.set()

    async def _go_over(self) -> None:
        """Say that the change is finished, then drop the old key."""
        change = self.keys.change
        assert change is not None
        with trio.move_on_after(limits.KEY_FINISH_SECONDS_MAX):
            async with trio.open_nursery() as nursery:
                for peer in self._network.peers() & change.members & self._trusted():
                    nursery.start_soon(self._talk, peer, change)
        async with self._lock:
            try:
                self.keys = await self._files.finish(change)
            except DemeshError as error:
                log.error("The old swarm key cannot be dropped yet: %s", error)
            else:
                await self._network.use_swarm_keys(self.keys.accepted)
        if self.keys.change:
            await trio.sleep(_RETRY_SECONDS)
            return
        self._told.clear()
        self._due_at.clear()
        log.warning("The swarm key was changed: it is %s now, and the old one is worthless.", change.key.fingerprint)
        if self.keys.overruled:
            self._say_overruled()

    def _is_due(self, peer: bytes, change: Change) -> bool:
        now = trio.current_time()
        if now >= self._due_at.get(peer, now):
            return True
        return peer in self._told and self._told[peer] != change

    async def _wait(self, seconds: float | None) -> None:
        with trio.move_on_after(float("inf") if seconds is None else seconds):
            await self._wake.wait()
            self._wake = trio.Event()

    def _complain(self, peer: bytes, code: int, what: str, why: Exception) -> None:
        """Say it once, unless it will pass by itself."""
        passing = code in (Refusal.BUSY, Refusal.STRANGER)
        if (peer, code) not in self._complained:
            if len(self._complained) < limits.REFUSALS_TOLD_MAX:
                self._complained.add((peer, code))
            log.log(logging.INFO if passing else logging.WARNING, what, peer_id(peer), f"{why}.")

    def _say_overruled(self) -> None:
        log.warning(
            "The swarm key in %s is the old one; this node uses the new one (fingerprint %s). Copy swarm.key there from a "
            "member that keeps it in its data directory, and restart; until then this node takes no other.",
            self._files.path,
            self.keys.current.fingerprint,
        )
