"""Intake: the one door through which entries, and proofs of forks, come in from elsewhere, by gossip or by sync.

Guarantees: an entry is checked by the chain's rules, then stored, then shown to the view, in that order and one offer at a
time; what is refused is counted (`demesh.mesh.showing` decides what of it is shown, and when). When gossip comes faster than it
can be stored, messages are dropped and counted: sync brings them again. Not guaranteed: that stored entries survive a power cut
(they can be fetched again).
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain

import trio

from demesh import limits
from demesh.clock import Clock
from demesh.errors import EntryError
from demesh.log.chain import Logs
from demesh.log.entry import Entry, by_log
from demesh.log.evidence import Proof
from demesh.log.state import LogState
from demesh.log.storage import Storage
from demesh.log.store import Carried
from demesh.log.taken import Gap, Refusal, Taken
from demesh.mesh.gossip import read_message
from demesh.mesh.preview import Preview
from demesh.mesh.showing import FirstHand, Showing, Shown
from demesh.mesh.sync import Adoption
from demesh.metrics import ENTRIES, REFUSED
from demesh.pulse import NEVER_MS, Turned

log = logging.getLogger(__name__)

GoneLogs = Callable[[Sequence[bytes]], None]
"""Called with the ids of logs that are gone: a carry names them, or they gave way to newer ones."""

Ended = Callable[[LogState], Awaitable[None]]
"""Called for each log that ends in front of a fork from now on, once the store has it so."""

Accused = Callable[[bytes], None]
"""Called with the id of the log that this node is writing, if somebody proves that its key has signed another history of it."""

Gaps = Callable[[bytes, Sequence[Gap]], None]
"""(peer, gaps): called when a peer's message shows that entries are missing, or, without gaps, another history of a log."""

_PARTED = frozenset({"fork", "wrong_link"})
"""Why an entry is refused that may be of another history than the one that is held."""


class Intake:
    def __init__(
        self,
        logs: Logs,
        storage: Storage,
        clock: Clock,
        mesh_id: bytes,
        shown: Shown,
        gone: GoneLogs,
        gaps: Gaps,
        ended: Ended,
        accused: Accused,
        turned: Turned = lambda _: None,
    ) -> None:
        """`turned` is called when a message is begun, and when the next one is waited for."""
        self._logs = logs
        self._storage = storage
        self._clock = clock
        self._showing = Showing(mesh_id, logs, shown)
        self._gone = gone
        self._gaps = gaps
        self._ended = ended
        self._accused = accused
        self._turned = turned
        self._one_at_a_time = trio.Lock()
        self._told: set[tuple[bytes, str]] = set()
        self._put, self._get = trio.open_memory_channel[tuple[bytes, bytes, int]](limits.INTAKE_QUEUE_BATCHES_MAX)

    def message(self, forwarder: bytes, data: bytes) -> None:
        """Queue a gossip message for `run`; never blocks, never raises."""
        try:
            self._put.send_nowait((forwarder, data, self._clock.monotonic_ms()))
        except trio.WouldBlock:
            REFUSED.labels("intake", "queue_full").inc()

    async def run(self) -> None:
        """Take queued messages in until cancelled. Raises StoreError."""
        self._turned(NEVER_MS)
        async for forwarder, data, received_ms in self._get:
            self._turned(self._clock.monotonic_ms())
            await self._take_in(forwarder, data, received_ms)
            self._turned(NEVER_MS)

    async def _take_in(self, forwarder: bytes, data: bytes, received_ms: int) -> None:
        """Take one message in. Raises StoreError."""
        try:
            found = read_message(data)
        except EntryError as error:
            REFUSED.labels("intake", error.reason).inc()
            return
        if isinstance(found, Proof):
            await self.prove(found)
            return
        taken = await self.take(found, received_ms, lambda entry, key: key == forwarder, forwarder)
        if taken.gaps or parted(taken):
            self._gaps(forwarder, taken.gaps)

    async def take(
        self,
        entries: Sequence[Entry],
        received_ms: int,
        first_hand: FirstHand,
        news_of: bytes | None = None,
        *,
        held_seq: int = -1,
    ) -> Taken:
        """Check, store and show `entries`. `news_of` is the key of the node that sends them, if it just wrote its own among them.

        They are of one log, if the sender says how far it holds it (`held_seq`).
        """
        async with self._one_at_a_time:
            taken = self._logs.offer(entries, news_of=news_of, now_ms=self._clock.monotonic_ms())
            carried: Carried = {}
            if taken.accepted:
                owners = {entry.log: self._owner(entry.log) for entry in taken.accepted}
                with trio.CancelScope(shield=True):  # the heads have moved on: what they stand for is stored
                    carried = await self._storage.commit(taken.accepted, public_keys=owners, own=False)
                    await self._drop(taken.dropped)
                for log_id, run in by_log(taken.accepted).items():
                    await self._showing.stored(owners[log_id], run, received_ms, first_hand, held_seq)
                await self._end(carried, taken.dropped)
            if taken.gaps:
                runs = by_log(entries)
                for gap in taken.gaps:
                    self._showing.not_taken(gap.log, runs[gap.log], received_ms, first_hand)
        self._count(taken)
        return taken

    def previewed_to(self, log_id: bytes) -> int:
        """How far the preview of a log reaches; -1 without one."""
        return self._showing.previewed_to(log_id)

    async def preview(self, preview: Preview, peer: bytes, received_ms: int, first_hand: FirstHand) -> None:
        """Show the end of a log that `peer` has sent, and of which the rest is to be pulled from it now."""
        async with self._one_at_a_time:
            self._showing.preview(preview, peer, received_ms, first_hand)

    async def give_up(self, log_id: bytes) -> None:
        """The rest of a log does not come. Raises StoreError."""
        async with self._one_at_a_time:
            await self._showing.give_up(log_id)

    async def lost(self, peer: bytes) -> None:
        """A peer is connected no more. Raises StoreError."""
        async with self._one_at_a_time:
            await self._showing.lost(peer)

    async def show_rest(self) -> None:
        """A session has ended: of what it brought, nothing shall stay unshown. Raises StoreError."""
        async with self._one_at_a_time:
            await self._showing.rest()

    async def prove(self, proof: Proof) -> bool:
        """Let a log end where its owner is proven to have signed two histories; whether that is news. Raises StoreError."""
        async with self._one_at_a_time:
            try:
                if not self._logs.convict(proof, self._clock.monotonic_ms()):
                    return False
            except EntryError as error:
                self._refuse(Refusal(proof.log, proof.seq, error.reason))
                if error.reason == "own_log":
                    self._accused(proof.log)
                return False
            known = self._logs.get(proof.log)
            with trio.CancelScope(shield=True):
                state = await self._storage.call(lambda store: store.end_at_fork(proof))
                if state is None:
                    self._refuse(Refusal(proof.log, proof.seq, "another_history"))
                    return False
                self._logs.ended(state)
                if known is None or known.fork is None or known.fork.end != proof.fork.end:
                    said = "The key of log %s has signed two histories; what it says from entry %d on counts no more."
                    log.error(said, proof.log.hex()[:8], proof.fork.end)
                self._showing.ended(proof.log)
                await self._ended(state)
            return True

    async def adopt(self, adoption: Adoption) -> bool:
        """Take up a log whose beginning the peer has forgotten; whether that may go on with what follows."""
        async with self._one_at_a_time:
            try:
                now_ms = self._clock.monotonic_ms()
                adopted = self._logs.adopt(
                    adoption.log, adoption.before, adoption.kept, adoption.following, now_ms=now_ms
                )
            except EntryError as error:
                self._refuse(Refusal(adoption.log, adoption.before.seq, error.reason))
                return False
            if adopted is not None:
                state = adopted.state
                carried: Carried = {}
                with trio.CancelScope(shield=True):
                    carried = await self._storage.call(
                        lambda store: store.commit_kept(
                            adoption.kept,
                            log=adoption.log,
                            public_key=state.public_key,
                            before=adoption.before,
                        )
                    )
                    await self._drop(adopted.dropped)
                await self._showing.adopted(adoption.log)
                await self._end(carried, adopted.dropped)
            return True

    async def _drop(self, logs: Sequence[bytes]) -> None:
        if logs:
            await self._storage.call(lambda store: store.drop(logs))

    async def _end(self, carried: Carried, dropped: Sequence[bytes]) -> None:
        self._logs.end(carried)
        gone = [*dropped, *chain.from_iterable(carried.values())]
        for log_id in gone:
            await self._showing.give_up(log_id)
        if gone:
            self._gone(gone)

    def _owner(self, log_id: bytes) -> bytes:
        state = self._logs.get(log_id)
        assert state is not None
        return state.public_key

    def _count(self, taken: Taken) -> None:
        ENTRIES.labels("accepted").inc(len(taken.accepted))
        ENTRIES.labels("repeated").inc(taken.repeated)
        for refusal in taken.refusals:
            self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        REFUSED.labels("chain", refusal.reason).inc()
        about = (refusal.log, refusal.reason)
        if refusal.reason == "gone":
            return  # nothing is amiss: the peer will learn of it
        if about not in self._told and len(self._told) < limits.REFUSALS_TOLD_MAX:
            self._told.add(about)
            log.warning("Refused entry %d of log %s: %s", refusal.seq, refusal.log.hex()[:8], refusal.reason)


def parted(taken: Taken) -> list[Refusal]:
    """What was refused as it may be of another history of a log."""
    return [refusal for refusal in taken.refusals if refusal.reason in _PARTED]
