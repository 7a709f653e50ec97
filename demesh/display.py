"""What becomes known of logs, put before the view: the far end of `demesh.mesh.showing`.

Guarantees: whatever changes the view makes the lookout look soon. A log is loaded as a start would load it.
"""

from collections.abc import Callable, Iterable

from demesh.clock import Clock
from demesh.log.entry import Entry
from demesh.log.replay import startup_entries
from demesh.log.state import LogState
from demesh.log.storage import Storage
from demesh.mesh.preview import Preview
from demesh.mesh.showing import Shown
from demesh.view.fold import View
from demesh.view.snapshot import Votes


class Display:
    def __init__(self, view: View, storage: Storage, clock: Clock, changed: Callable[[], None]) -> None:
        self._view = view
        self._storage = storage
        self._clock = clock
        self._changed = changed

    @property
    def shown(self) -> Shown:
        return Shown(self.accepted, self._load, self._hear, self._preview, self._withdraw)

    def accepted(self, owner: bytes, entry: Entry, received_ms: int, first_hand: bool) -> None:
        self._view.apply(owner, entry, received_ms, first_hand=first_hand)
        self._changed()

    async def ended(self, state: LogState) -> bool:
        """Show a log that ends in front of a fork from now on; returns whether less of it counts than before."""
        assert state.fork is not None
        known = self._view.log(state.log)
        if known and known.fork and known.fork.seq == state.fork.seq > 0:
            self._view.note_fork(state.log, state.fork)  # by another proof, with the same end
            return False
        before, tail = await self._storage.call(lambda store: startup_entries(store, state))
        self._view.end(state.public_key, state.log, state.fork, [*before, *tail])
        self._changed()
        return True

    def folded(self, previewed_to: Callable[[bytes], int]) -> Iterable[tuple[bytes, int, Votes]]:
        """The votes that the store bears out: not those of a preview."""
        return [each for each in self._view.folded() if previewed_to(each[0]) < 0]

    async def _load(self, state: LogState) -> None:
        before, tail = await self._storage.call(lambda store: startup_entries(store, state))
        self._view.load_anew(state.public_key, state.log, [*before, *tail], self._clock.monotonic_ms())
        self._view.note_fork(state.log, state.fork)
        self._changed()

    def _hear(self, owner: bytes, entry: Entry, received_ms: int, first_hand: bool) -> None:
        self._view.hear(owner, entry, received_ms, first_hand=first_hand)
        self._changed()

    def _preview(self, preview: Preview, received_ms: int, first_hand: bool) -> None:
        self._view.preview(preview.public_key, preview.log, preview.entries, self._clock.monotonic_ms())
        self._hear(preview.public_key, preview.newest, received_ms, first_hand)

    def _withdraw(self, log_id: bytes) -> None:
        self._view.withdraw(log_id)
        self._changed()
