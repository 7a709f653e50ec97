"""The historian: folds stored logs into history in the background, and keeps the result.

    log.db ─entries─> History (open hours) ─signed sums─> view.db ─┬─> Past of every check, for status
                                                                  ╰─> rollups, checkpoints and carries of the own log

Guarantees: each log is folded from where it was saved, in order, without gaps but those of retention; what is lost with the
process is folded again. It reads the store, not the news: nothing is summed that is not durable. `view.db` may be deleted
or damaged at any time: then history is folded anew, while the node goes on.

Not guaranteed: that the past is complete right after a start, or when many entries come in, as for a late joiner: these are all
let in first. `behind` says how many entries are still to be folded.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import trio

from demesh import limits
from demesh.clock import Clock
from demesh.errors import HistoryError
from demesh.log.carry import CarriedRow
from demesh.log.chain import Logs
from demesh.log.entry import Entry
from demesh.log.state import LogState
from demesh.log.storage import Storage
from demesh.log.summed import unsummed_from
from demesh.view.history import Checkpointed, History, Signed, behind
from demesh.view.record import Record
from demesh.view.snapshot import Votes, encode_votes
from demesh.view.uptime import OpenHistory, Past

log = logging.getLogger(__name__)
_FOLD_SECONDS = 5
_FLOODED_SECONDS = 1  # once no more comes, those who wait for uptime need not wait longer
_SAVE_MS = 300_000
_LOOK_BACK_MS_MIN = 30_000
_LOOK_BACK_SHARE = 50  # looking back takes at most this fraction of the time
_PAGE_BYTES = 131_072
_ENTRIES_AT_ONCE = 4  # between two of which other tasks run


class HistoryStorage(Protocol):
    """The history's store for running tasks; see `demesh.view.history_store.HistoryStore`. Raises HistoryError."""

    async def save(
        self, history: History, signed: Sequence[Signed], dirty: Sequence[bytes], gone: Sequence[bytes]
    ) -> None: ...

    async def save_votes(self, rows: Sequence[tuple[bytes, int, bytes]]) -> None: ...

    async def look_back(self, open_: OpenHistory, now_ms: int) -> dict[str, Past]: ...

    async def days_signed(self, first_ms: int, end_ms: int) -> set[tuple[bytes, str, int]]: ...

    async def records(self, now_ms: int) -> dict[str, dict[bytes, Record]]: ...

    async def days_in(self, logs: Sequence[bytes]) -> dict[bytes, list[CarriedRow]]: ...

    async def forget(self, hours_before_ms: int) -> None: ...

    async def scrub(self, rows_max: int) -> bool: ...

    async def make_anew(self) -> None: ...


Folded = Callable[[], Iterable[tuple[bytes, int, Votes]]]
"""For each log: its id, the sequence number up to which the view has folded it, and the votes as of there."""


class Historian:
    def __init__(
        self,
        history: History,
        kept: HistoryStorage,
        storage: Storage,
        logs: Logs,
        folded: Folded,
        clock: Clock,
        own_key: bytes,
    ) -> None:
        self.past: dict[str, Past] = {}
        """By check, as of the last look back."""
        self._history = history
        self._kept = kept
        self._storage = storage
        self._logs = logs
        self._folded = folded
        self._unsummed: dict[bytes, tuple[int, int]] = {}
        self._votes_saved: dict[bytes, int] = {}
        self._clock = clock
        self._own_key = own_key
        self._dirty: set[bytes] = set()
        self._unsaved: list[Signed] = []
        self._gone: set[bytes] = set()
        self._save_due_ms = clock.monotonic_ms() + _SAVE_MS
        self._look_due_ms = self._scrub_due_ms = clock.monotonic_ms()
        self._held = sum(state.head.seq for state in logs.states())
        self._looked_ms = clock.monotonic_ms()
        self._waited_ms = 0
        self._one_at_a_time = trio.Lock()

    @property
    def behind(self) -> int:
        """Stored entries that are not folded yet."""
        return behind(self._history.logs, self._logs.states())

    async def run(self) -> None:
        """Fold what is stored, and look back now and then, until cancelled. Raises StoreError."""
        try:
            while True:
                try:
                    await self._round()
                except HistoryError as error:
                    log.warning("%s It is derived from the logs and made anew.", error)
                    await self._begin_anew()
                await trio.sleep(_FLOODED_SECONDS if self._waited_ms else _FOLD_SECONDS)
        finally:
            with trio.CancelScope(shield=True), suppress(HistoryError):
                await self.save()

    async def catch_up(self, log_id: bytes) -> None:
        """Fold everything of a log that is stored now. Raises StoreError."""
        while await self._fold_page(log_id):
            pass

    async def fold_anew(self, log_id: bytes) -> None:
        """Forget what a log contributed, of which some is no longer held: the rest is folded again. Raises StoreError."""
        try:
            async with self._one_at_a_time:
                self._history.forget_logs([log_id])
                self._votes_saved.pop(log_id, None)
                await self._save()  # now: what is folded of it from here on shall stay
        except HistoryError as error:
            log.warning("%s It is derived from the logs and made anew.", error)
            await self._begin_anew()

    async def _fold_page(self, log_id: bytes) -> bool:
        """Fold the next entries of a log; returns whether there were any. Others may take a turn after each page."""
        async with self._one_at_a_time:
            state = self._logs.get(log_id)
            if state is None or self.applied(state) >= state.head.seq:
                return False
            entries = await self._next(state)
            if entries:
                self._dirty.add(log_id)
            for index, entry in enumerate(entries):
                self._history.apply(state.public_key, entry)
                if index % _ENTRIES_AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()
            self._take()
            if len(self._unsaved) >= limits.HISTORY_UNSAVED_MAX:
                await self._save()
            return bool(entries)

    async def _next(self, state: LogState) -> Sequence[Entry]:
        """The next entries of a log to fold. Results that rollups sum are passed over, where there are many."""
        first = self.applied(state) + 1
        if state.head.seq - first < limits.HISTORY_PASSED_OVER_MIN:
            self._unsummed.pop(state.log, None)
        else:
            matters_from = await self._unsummed_from(state, first)
            if first < matters_from:
                others = await self._storage.call(
                    lambda store: store.read_but_results(state.log, first, matters_from, bytes_max=_PAGE_BYTES)
                )
                if others:
                    return others
                self._history.pass_over(state.public_key, state.log, matters_from - 1)
                first = matters_from
        return await self._storage.read_on(state.log, first, _PAGE_BYTES)

    async def _unsummed_from(self, state: LogState, first: int) -> int:
        """From where on results of a log matter, as of not long ago: to look costs as much as to fold many pages."""
        found, head_seq = self._unsummed.get(state.log, (0, -limits.HISTORY_LOOKED_BACK_ENTRIES_MAX))
        if state.head.seq - head_seq >= limits.HISTORY_LOOKED_BACK_ENTRIES_MAX:
            entries_max = limits.HISTORY_LOOKED_BACK_ENTRIES_MAX
            found = await self._storage.call(
                lambda store: unsummed_from(store, state.log, first, entries_max=entries_max)
            )
            self._unsummed[state.log] = found, state.head.seq
        return found

    async def save(self) -> None:
        """Save the history and the votes, so that the next start goes on from here. Raises StoreError."""
        async with self._one_at_a_time:
            await self._save()
        rows: list[tuple[bytes, int, bytes]] = []
        for log_id, seq, votes in list(self._folded()):
            if self._votes_saved.get(log_id) != seq:
                rows.append((log_id, seq, encode_votes(votes)))
                await trio.lowlevel.checkpoint()
        await self._storage.call(lambda store: store.make_durable())
        await self._kept.save_votes(rows)
        self._votes_saved.update((log_id, seq) for log_id, seq, _ in rows)

    @property
    def history(self) -> History:
        """As it is now: it may be another one after the next pause."""
        return self._history

    async def records(self, now_ms: int) -> dict[str, dict[bytes, Record]]:
        """What each vantage has recorded of each check (by its key), as far as it is signed, as of `now_ms` (Unix time); nothing
        while that cannot be read, until it is made anew.
        """
        with suppress(HistoryError):
            return await self._kept.records(now_ms)
        return {}

    @asynccontextmanager
    async def saved(self) -> AsyncGenerator[HistoryStorage]:
        """All that is folded is saved, and nothing is folded meanwhile. Raises StoreError, HistoryError."""
        async with self._one_at_a_time:
            await self._save()
            yield self._kept

    def applied(self, state: LogState) -> int:
        """The entry of a log up to which it is folded; -1 before the first."""
        folded = self._history.logs.get(state.log)
        return folded.applied_seq if folded else -1

    def checkpoint(self, public_key: bytes) -> Checkpointed | None:
        """The newest checkpoint of a member."""
        return self._history.checkpoints.get(public_key)

    async def forget(self, open_before_ms: int, hours_before_ms: int) -> None:
        """Forget open and signed hours before these times (Unix), as the logs do."""
        async with self._one_at_a_time:
            self._dirty.update(self._history.forget_open(open_before_ms))
        with suppress(HistoryError):  # made anew in the next round
            await self._kept.forget(hours_before_ms)

    async def _round(self) -> None:
        if not self._is_flooded():
            for state in self._logs.states():
                while self.applied(state) < state.head.seq and await self._fold_page(state.log):
                    pass
        await self._forget_gone()
        now_ms = self._clock.monotonic_ms()
        if now_ms >= self._scrub_due_ms and await self._kept.scrub(limits.HISTORY_SCRUBBED_ROWS):
            self._scrub_due_ms = now_ms + limits.HISTORY_SCRUBBED_AGAIN_MS
        if now_ms >= self._save_due_ms:
            await self.save()
            self._save_due_ms = now_ms + _SAVE_MS
        if now_ms >= self._look_due_ms:
            await self._look_back()
            took_ms = self._clock.monotonic_ms() - now_ms
            self._look_due_ms = now_ms + max(_LOOK_BACK_MS_MIN, _LOOK_BACK_SHARE * took_ms)

    def _is_flooded(self) -> bool:
        """Whether so much comes in that all of it shall come first: folding would slow that down."""
        now_ms, held = self._clock.monotonic_ms(), sum(state.head.seq for state in self._logs.states())
        came, self._held = held - self._held, held
        took_ms, self._looked_ms = now_ms - self._looked_ms, now_ms
        if came * 1_000 <= limits.HISTORY_FLOOD_ENTRIES_PER_SECOND * took_ms:
            self._waited_ms = 0
        else:
            self._waited_ms += took_ms
        return 0 < self._waited_ms <= limits.HISTORY_WAITED_SECONDS_MAX * 1_000

    async def _begin_anew(self) -> None:
        async with self._one_at_a_time:
            await self._kept.make_anew()
            self._history = History(self._own_key)
            self._unsaved, self._dirty, self._gone = [], set(), set()
            self._votes_saved = {}

    async def _forget_gone(self) -> None:
        """Forget what logs contributed that are no longer held. Those that were carried went as the carry was folded."""
        async with self._one_at_a_time:
            gone = [log_id for log_id in self._history.logs if self._logs.get(log_id) is None]
            if gone and not self.behind:
                self._history.forget_logs(gone)
                await self._save()

    def _take(self) -> None:
        self._unsaved += self._history.take_signed()
        self._gone |= self._history.take_gone()

    async def _save(self) -> None:
        self._take()  # folding may have been cancelled half way through a page
        unsaved, dirty, gone = self._unsaved, sorted(self._dirty), sorted(self._gone)
        if unsaved or dirty or gone:
            await self._storage.call(lambda store: store.make_durable())  # view.db shall never know more than log.db
            await self._kept.save(self._history, unsaved, dirty, gone)
            self._unsaved, self._dirty, self._gone = [], set(), set()

    async def _look_back(self) -> None:
        async with self._one_at_a_time:
            if self._unsaved:
                await self._save()
            open_ = OpenHistory.of(self._history.logs.values())
        self.past = await self._kept.look_back(open_, self._clock.wall_ms())
