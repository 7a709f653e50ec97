"""What is shown of the logs that come in, and when.

    near its end, as far as the sender holds it    each entry, as it is stored
    far from it                                    nothing; once its end has come, or no more is sent: what a start would read
    lacked by much                                 its end at once, as a preview (`demesh.mesh.preview`), and what gossip adds

Most of a long log says nothing of how things are now, and to fold each entry of it would keep a newcomer from saying what it
could.

Guarantees: what is shown of a log never goes back behind what was shown of it, unless a preview is given up. That happens when
the log or its owner is refused, when it has another history, when it does not come to its end, and when the peer that showed
it is gone.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from demesh import limits
from demesh.log.chain import Logs
from demesh.log.entry import Entry
from demesh.log.state import LogState
from demesh.mesh.preview import Preview, Previews

FirstHand = Callable[[Entry, bytes], bool]
"""(entry, owner's public key) -> whether it came fresh from its author."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Who is told what becomes known. Times are monotonic ms of arrival, the last argument is whether it came first hand."""

    accepted: Callable[[bytes, Entry, int, bool], None]
    """(owner's public key, entry, time, first hand): an entry that follows what was shown of its log."""
    loaded: Callable[[LogState], Awaitable[None]]
    """What was shown of a log gives way to what the store has."""
    heard: Callable[[bytes, Entry, int, bool], None]
    """As `accepted`, of the newest entry of a log that was loaded just before."""
    preview: Callable[[Preview, int, bool], None]
    """(preview, time, first hand): the end of a log of which the rest is still to come."""
    withdrawn: Callable[[bytes], None]
    """A log of which only a preview was shown is not taken."""


class Showing:
    """To be called under one lock: what is stored is shown in the order in which it was stored."""

    def __init__(self, mesh_id: bytes, logs: Logs, shown: Shown) -> None:
        self._logs = logs
        self._shown = shown
        self._previews = Previews(mesh_id)
        self._unshown: set[bytes] = set()

    def previewed_to(self, log: bytes) -> int:
        """How far the preview of a log reaches; -1 without one."""
        return self._previews.head_seq(log)

    async def stored(
        self, owner: bytes, run: Sequence[Entry], received_ms: int, first_hand: FirstHand, held_seq: int
    ) -> None:
        """Show what was stored of one log just now, unless there is much more to come: its sender holds up to `held_seq`."""
        log, newest = run[0].log, run[-1]
        end_seq = max(held_seq, self.previewed_to(log))
        is_far = log in self._previews or end_seq - run[0].seq >= limits.SHOWN_BEHIND_MAX
        if not is_far and log not in self._unshown:
            for entry in run:
                self._shown.accepted(owner, entry, received_ms, first_hand(entry, owner))
        elif newest.seq < end_seq:
            self._unshown.add(log)
        else:
            self._previews.drop(log)
            await self._load(log)
            self._shown.heard(owner, newest, received_ms, first_hand(newest, owner))

    def not_taken(self, log: bytes, run: Sequence[Entry], received_ms: int, first_hand: FirstHand) -> None:
        """Show what goes on from a log's preview, though there is a gap before it."""
        owner, followed = self._previews.follow(log, run)
        for entry in followed:
            self._shown.accepted(owner, entry, received_ms, first_hand(entry, owner))

    async def adopted(self, log: bytes) -> None:
        """A log was taken up in its middle."""
        if log in self._previews:
            self._unshown.add(log)
        else:
            await self._load(log)

    def preview(self, preview: Preview, peer: bytes, received_ms: int, first_hand: FirstHand) -> None:
        """Show the end of a log that `peer` has sent, and of which the rest is to be pulled from it now."""
        state = self._logs.get(preview.log)
        is_late = state is not None and (state.fork is not None or state.head.seq >= preview.newest.seq)
        if is_late:
            return
        is_first_hand = first_hand(preview.newest, preview.public_key)
        if self._previews.take(preview, peer):
            self._shown.preview(preview, received_ms, is_first_hand)
        elif is_first_hand and preview.newest.seq == self.previewed_to(preview.log):
            self._shown.heard(preview.public_key, preview.newest, received_ms, True)

    def ended(self, log: bytes) -> None:
        """A log ends in front of a fork, and whoever does that shows it anew."""
        self._previews.drop(log)
        self._unshown.discard(log)

    async def give_up(self, log: bytes) -> None:
        """The rest of a log does not come: what is stored of it, if anything, is all there is to show."""
        was_previewed = self._previews.drop(log)
        if self._logs.get(log) is None:
            self._unshown.discard(log)
            if was_previewed:
                self._shown.withdrawn(log)
        elif was_previewed or log in self._unshown:
            await self._load(log)

    async def lost(self, peer: bytes) -> None:
        """Give up what a peer showed that is connected no more."""
        for log in self._previews.of(peer):
            await self.give_up(log)

    async def rest(self) -> None:
        """A session has ended: show what was stored in it of logs of which it brought neither the end nor a preview."""
        for log in sorted(self._unshown):
            if log not in self._previews:
                await self._load(log)

    async def _load(self, log: bytes) -> None:
        self._unshown.discard(log)
        state = self._logs.get(log)
        if state is not None:
            await self._shown.loaded(state)
