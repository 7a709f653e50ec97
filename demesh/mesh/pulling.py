"""What becomes of the pages of one pull: the intake's door, from the side of a session with one peer.

Guarantees: what a peer has only just written itself counts as heard from it, and as heard when it was made; what is old when
it comes counts as it arrives, first hand from nobody.
"""

from collections.abc import Sequence

from demesh.clock import Clock
from demesh.log.chain import Logs
from demesh.log.entry import Entry
from demesh.log.hello import is_hello_of
from demesh.mesh.intake import Intake, parted
from demesh.mesh.preview import Preview
from demesh.mesh.showing import FirstHand
from demesh.mesh.sync import Adoption
from demesh.mesh.sync_puller import Puller

_WORTHLESS = frozenset({"bad_signature", "no_signature"})
"""Why a page is refused that is as good as none."""


class Pulling:
    """One pull by `puller` from `peer`."""

    def __init__(self, peer: bytes, puller: Puller, logs: Logs, intake: Intake, clock: Clock) -> None:
        self._peer = peer
        self._puller = puller
        self._logs = logs
        self._intake = intake
        self._clock = clock
        self._greeted_ms = clock.monotonic_ms()

    def greeted(self) -> None:
        """The peer has said who it is and what it holds."""
        self._greeted_ms = self._clock.monotonic_ms()

    async def take(self, entries: Sequence[Entry], fresh_seq: int) -> bool:
        """See `demesh.mesh.session.TakePage`."""
        log = entries[0].log
        came = self._arrived(entries[-1], fresh_seq, is_own=self._is_of_the_peer(entries[0]))
        taken = await self._intake.take(entries, *came, held_seq=self._puller.held[log].head_seq)
        for refusal in parted(taken):
            at = refusal.seq - 1 if refusal.reason == "wrong_link" else refusal.seq
            self._puller.conflict(refusal.log, at)
        is_taken = not taken.refusals and not taken.gaps
        if not is_taken:
            if taken.refusals and all(refusal.reason in _WORTHLESS for refusal in taken.refusals):
                self._puller.ended.add(log)
            await self._intake.give_up(log)
        return is_taken

    async def adopt(self, adoption: Adoption) -> bool:
        """See `demesh.mesh.session.Adopt`."""
        is_taken = await self._intake.adopt(adoption)
        if not is_taken:
            await self._intake.give_up(adoption.log)
        return is_taken

    async def preview(self, preview: Preview, fresh_seq: int) -> None:
        """See `demesh.mesh.session.Taking`."""
        came = self._arrived(preview.newest, fresh_seq, is_own=preview.public_key == self._peer)
        await self._intake.preview(preview, self._peer, *came)

    async def give_up_what_did_not_come(self) -> None:
        """A peer that was asked for all it said it holds has not given the rest of a log that it showed the end of."""
        for log_id, row in self._puller.held.items():
            if log_id in self._puller.left_over:
                continue
            state = self._logs.get(log_id)
            if self._intake.previewed_to(log_id) >= 0 and (state is None or state.head.seq < row.head_seq):
                await self._intake.give_up(log_id)

    def _arrived(self, newest: Entry, fresh_seq: int, *, is_own: bool) -> tuple[int, FirstHand]:
        """When `newest`, and what came with it, is held to have come, and what of it came first hand: of a log that is the
        peer's own, whatever it says that it writes.
        """
        received_ms = self._clock.monotonic_ms()
        is_fresh = is_own and newest.seq == fresh_seq and self._puller.age_ms(newest) <= newest.next_ms
        if is_fresh:
            # As if it had come when it was made: else its author's silence would be noticed later by its age.
            received_ms = min(received_ms, self._greeted_ms - self._puller.age_ms(newest))

        def is_first_hand(entry: Entry, owner: bytes) -> bool:
            """The newest entry of the log that a peer is writing, from the peer itself, is as good as a message of its."""
            return is_fresh and entry is newest

        return received_ms, is_first_hand

    def _is_of_the_peer(self, first: Entry) -> bool:
        """Whether the log that `first` stands in is the peer's own."""
        state = self._logs.get(first.log)
        return state.public_key == self._peer if state is not None else is_hello_of(self._peer, first)
