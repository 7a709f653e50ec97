"""Syncer: decides when to pull from whom, and serves those who pull from us.

It pulls from a peer when it connects, when its messages show a gap, when a member has become suspect, and from a random
peer every SYNC_INTERVAL_SECONDS: whatever gossip lost, the next vector finds. At most one pull per peer runs at a time; a
session that takes longer than SYNC_SESSION_SECONDS_MAX is given up and goes on with the next one.
"""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import trio

from demesh import limits
from demesh.clock import Clock
from demesh.errors import EntryError, NetworkError, SyncDeclined, SyncError
from demesh.identity import peer_id
from demesh.log.chain import Logs
from demesh.log.entry import Entry, Envelope
from demesh.log.evidence import Proof, proof_of, segment_of
from demesh.log.storage import Storage
from demesh.mesh import session
from demesh.mesh.claims import Claims
from demesh.mesh.gossip import accusation
from demesh.mesh.intake import Intake
from demesh.mesh.network import Network, Stream
from demesh.mesh.pulling import Pulling
from demesh.mesh.sync import Refused, Row, Want, WantKept
from demesh.mesh.sync_puller import Here, Puller, lacked
from demesh.mesh.sync_server import Server
from demesh.metrics import REFUSED, SYNCS
from demesh.pulse import Turned

log = logging.getLogger(__name__)
_SUSPECT_PEERS = 3
_BAD_SESSION = (NetworkError, SyncError, EntryError)

Pulled = Callable[[bytes, Mapping[bytes, Row]], None]
"""(peer, what it said it holds, by log): called after each pull that came to its end."""

Writes = Callable[[bytes, bytes], None]
"""(peer, log): called when a peer says which log it is writing now."""


class Syncer:
    def __init__(
        self,
        mesh_id: bytes,
        logs: Logs,
        storage: Storage,
        intake: Intake,
        network: Network,
        clock: Clock,
        rng: random.Random,
        pulled: Pulled = lambda peer, held: None,
        writes: Writes = lambda peer, log: None,
        turned: Turned = lambda _: None,
    ) -> None:
        """`turned` is called at each turn of `run`."""
        self._mesh_id = mesh_id
        self._logs = logs
        self._storage = storage
        self._intake = intake
        self._network = network
        self._clock = clock
        self._rng = rng
        self._pulled = pulled
        self._writes = writes
        self._turned = turned
        self._wanted: dict[bytes, None] = {}
        self._pulling: set[bytes] = set()
        self._serving: set[bytes] = set()
        self._held: dict[bytes, Mapping[bytes, Row]] = {}
        self._askers: dict[bytes, Puller] = {}
        self._ended: dict[bytes, dict[bytes, int]] = {}
        self._lost: set[bytes] = set()
        self._left_off = False
        self._has_pulled = False
        self._claims = Claims()
        self._wake = trio.Event()
        self._of_another_mesh: set[bytes] = set()

    def holders(self, log: bytes, seq: int) -> set[bytes]:
        """The peers that were seen to hold a log up to entry `seq`, in the last sync with each."""
        return {peer for peer, held in self._held.items() if log in held and held[log].head_seq >= seq}

    def forget(self, peer: bytes) -> None:
        """It is connected no more: what it held is not known any longer."""
        self._held.pop(peer, None)
        self._ended.pop(peer, None)
        self._lost.add(peer)
        self._wake.set()

    def furthest(self, log: bytes) -> int:
        """The furthest that any peer was seen to hold a log, in the last sync with each; -1 if none was."""
        return max((held[log].head_seq for held in self._held.values() if log in held), default=-1)

    def missing(self) -> dict[bytes, int]:
        """How many entries of which logs connected peers said they hold and this node does not have, of those it takes; but for
        what a peer did not give when it was asked.
        """
        found: dict[bytes, int] = {}
        said = {**self._held, **{peer: puller.held for peer, puller in self._askers.items() if puller.held}}
        for peer, held in said.items():
            ended = self._ended.get(peer, {})
            for row in held.values():
                state = self._logs.get(row.log)
                first, last = lacked(state, row)
                is_ended = ended.get(row.log) == (state.head.seq if state else -1)
                if last >= first and not is_ended and not self._is_unwanted(row.log):
                    found[row.log] = max(found.get(row.log, 0), last + 1 - first)
        return found

    @property
    def left_off(self) -> bool:
        """Whether a pull that had something to get, or the first one, ended before it had all, and none has come to its end
        since; or the first one is under way.
        """
        return self._left_off or (bool(self._pulling) and not self._has_pulled)

    def pull_from(self, peer: bytes) -> None:
        """Ask for a pull from `peer` soon; asking again before it began changes nothing."""
        self._wanted[peer] = None
        self._wake.set()

    def pull_from_some(self) -> None:
        """Ask for a pull from a few random peers: somebody may know what we have not heard."""
        peers = sorted(self._network.peers())
        for peer in self._rng.sample(peers, min(_SUSPECT_PEERS, len(peers))):
            self.pull_from(peer)

    async def run(self) -> None:
        """Pull as asked and now and then, until cancelled. Raises StoreError."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_now_and_then)
            places = trio.CapacityLimiter(limits.SYNC_PULLS_MAX)
            while True:
                self._turned(self._clock.monotonic_ms() + 2 * limits.SYNC_INTERVAL_SECONDS * 1_000)
                await self._wake.wait()
                self._wake = trio.Event()
                while self._lost:
                    await self._intake.lost(self._lost.pop())
                for peer in [each for each in self._wanted if each not in self._pulling]:
                    del self._wanted[peer]
                    self._pulling.add(peer)
                    nursery.start_soon(self._pull, peer, places)

    async def serve(self, stream: Stream) -> None:
        """Answer a peer that pulls from us; never raises for what the peer does.

        There is one session for a peer at a time, and not more than SYNC_SESSIONS_INBOUND_MAX in all. Raises StoreError.
        """
        busy = stream.peer in self._serving or len(self._serving) >= limits.SYNC_SESSIONS_INBOUND_MAX
        if not busy:
            self._serving.add(stream.peer)
        try:
            with trio.move_on_after(limits.SYNC_SESSION_SECONDS_MAX):
                if busy:
                    REFUSED.labels("sync", "busy").inc()
                    await session.refuse(stream, Refused.BUSY, "this node serves enough peers at the moment; try later")
                else:
                    server = Server(self._mesh_id, self._logs.offered(), self._logs.writes, self._clock.up_ms())
                    greeted = partial(self._greeted, stream.peer)
                    stored = session.Stored(self._read_page, self._proof)
                    if not await session.serve(stream, server, stored, greeted):
                        REFUSED.labels("sync", "greeting").inc()
        except NetworkError as error:
            log.info("A sync session of %s broke off: %s", peer_id(stream.peer), error)
        except (SyncError, EntryError) as error:
            REFUSED.labels("sync", "malformed").inc()
            log.info("A sync session of %s ended early: %s", peer_id(stream.peer), error)
            with suppress(NetworkError):
                await session.refuse(stream, Refused.MALFORMED, "this node does not understand that message")
        finally:
            if not busy:
                self._serving.discard(stream.peer)
            await stream.close()

    async def _ask_now_and_then(self) -> None:
        while True:
            await trio.sleep(limits.SYNC_INTERVAL_SECONDS * self._rng.uniform(0.7, 1.3))
            peers = sorted(self._network.peers())
            if peers:
                self.pull_from(self._rng.choice(peers))
            self._wake.set()

    async def _pull(self, peer: bytes, places: trio.CapacityLimiter) -> None:
        outcome = "timeout"
        try:
            async with places:
                with trio.move_on_after(limits.SYNC_SESSION_SECONDS_MAX):
                    outcome = await self._pull_once(peer)
        except _BAD_SESSION as error:
            outcome = "failed"
            if not isinstance(error, NetworkError | SyncDeclined):
                REFUSED.labels("sync", "bad_answer").inc()
            if isinstance(error, SyncError) and error.code == Refused.MESH:
                self._meet_another_mesh(peer, error)
            else:
                log.warning("Sync with %s failed: %s", peer_id(peer), error)
        finally:
            SYNCS.labels(outcome).inc()
            self._pulling.discard(peer)
            if peer in self._wanted:
                self._wake.set()
        await self._intake.show_rest()

    def _meet_another_mesh(self, peer: bytes, error: SyncError) -> None:
        REFUSED.labels("sync", "mesh").inc()
        if peer not in self._of_another_mesh and len(self._of_another_mesh) < limits.REFUSALS_TOLD_MAX:
            self._of_another_mesh.add(peer)
            log.warning(
                "%s has this node's swarm key, but is of another mesh than this node, which is of %s. It says: %s. "
                "If they are to be one, move the data directory of the smaller one away and let it `demesh join` with a "
                "`demesh invite` of the other; if not, give one of them a swarm key of its own.",
                peer_id(peer),
                self._mesh_id.hex()[:8],
                str(error).removeprefix("the peer refused: "),
            )

    async def _pull_once(self, peer: bytes) -> str:
        puller = self._puller_of(peer)
        pulling = Pulling(peer, puller, self._logs, self._intake, self._clock)

        def greeted(writes: bytes) -> None:
            pulling.greeted()
            self._greeted(peer, writes)

        stream = await self._network.open_stream(peer)
        self._askers[peer] = puller
        try:
            taking = session.Taking(
                pulling.adopt, pulling.take, self._prove, self._hash_at, self._parted, pulling.preview
            )
            await session.pull(stream, puller, taking, greeted)
            await pulling.give_up_what_did_not_come()
            self._left_off, self._has_pulled = False, True
        except BaseException:
            self._left_off = self._left_off or not self._has_pulled or bool(self.missing())
            raise
        finally:
            del self._askers[peer]
            self._claims.release(peer)
            for reason in puller.refused:
                REFUSED.labels("preview", reason).inc()
            await stream.close()
        self._held[peer] = puller.held
        self._note_ended(peer, puller)
        self._pulled(peer, puller.held)
        return "done"

    def _puller_of(self, peer: bytes) -> Puller:
        def may_take(log: bytes, at_once: bool) -> bool:
            state = self._logs.get(log)
            at_once = at_once and state is not None and state.public_key == peer
            return self._claims.claim(peer, log, self._clock.monotonic_ms(), at_once=at_once)

        here = Here(
            self._logs.get,
            self._is_unwanted,
            may_take,
            lambda log, hello: self._logs.owner_of(log, hello, self._clock.monotonic_ms()),
            self._intake.previewed_to,
        )
        return Puller(self._mesh_id, self._logs.offered(), self._logs.writes, here, self._rng.randbytes(16))

    def _note_ended(self, peer: bytes, puller: Puller) -> None:
        """Of a log that a peer said it holds further, and did not give, nothing more is missed until it gives more of it."""
        ended = self._ended.setdefault(peer, {})
        for log_id in puller.ended:
            state = self._logs.get(log_id)
            REFUSED.labels("sync", "not_given").inc()
            ended[log_id] = state.head.seq if state else -1

    async def _prove(self, proof: Proof) -> None:
        await self._intake.prove(proof)

    async def _parted(self, theirs: Sequence[Entry]) -> None:
        """A peer holds `theirs` where this node holds something else: that is a proof, which the others shall have."""
        first = theirs[0]
        ours = segment_of(
            await self._storage.call(
                lambda store: store.read_on(first.log, first.seq, bytes_max=limits.PROOF_SEGMENT_BYTES_MAX)
            )
        )
        try:
            proof = proof_of(ours, theirs)
        except EntryError as error:
            REFUSED.labels("sync", error.reason).inc()
            return
        if await self._intake.prove(proof) and (message := accusation(proof)):
            await self._network.broadcast(message)

    async def _hash_at(self, log: bytes, seq: int) -> bytes | None:
        return await self._storage.call(lambda store: store.hash_at(log, seq))

    async def _proof(self, log: bytes) -> Proof | None:
        return await self._storage.call(lambda store: store.proof(log))

    def _is_unwanted(self, log: bytes) -> bool:
        return self._logs.is_gone(log) or bool(self._logs.refusal(log, self._clock.monotonic_ms()))

    def _greeted(self, peer: bytes, writes: bytes) -> None:
        if writes:
            self._writes(peer, writes)

    async def _read_page(self, want: Want | WantKept, bytes_max: int) -> Sequence[Entry | Envelope]:
        if isinstance(want, WantKept):
            return await self._storage.call(
                lambda store: store.kept_before(
                    want.log, want.below, bytes_max=bytes_max, count_max=limits.SYNC_PAGE_ENTRIES_MAX
                )
            )
        last = min(want.last, want.first + limits.SYNC_PAGE_ENTRIES_MAX - 1)
        envelopes, bad = await self._storage.call(
            lambda store: store.read_envelopes(want.log, want.first, last, bytes_max=bytes_max)
        )
        for row in bad:
            log.error("Entry %d of log %s is damaged in the store; it is not passed on", row.seq, row.log.hex()[:8])
        return envelopes
