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
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import suppress
from itertools import chain
from typing import Protocol

import trio

from demesh import limits
from demesh.carrying import carry, earlier_epochs, over
from demesh.clock import Clock
from demesh.errors import HistoryError
from demesh.log.carry import CarriedRow
from demesh.log.chain import Logs
from demesh.log.checkpoint import checkpoint_payloads
from demesh.log.codec import Value
from demesh.log.entry import Entry, Kind
from demesh.log.rollup import rollup_payloads
from demesh.log.state import LogState
from demesh.log.storage import Storage
from demesh.log.store import Store
from demesh.log.summed import unsummed_from
from demesh.log.sums import DAY_MS, HOUR_MS, Sums
from demesh.view.history import Checkpointed, History, Signed, behind
from demesh.view.snapshot import Votes, encode_votes
from demesh.view.uptime import OpenHistory, Past

log = logging.getLogger(__name__)
_FOLD_SECONDS = 5
_FLOODED_SECONDS = 1  # once no more comes, those who wait for uptime need not wait longer
_CARRY_LOOK_MS = 600_000
_SAVE_MS = 300_000
_LOOK_BACK_MS_MIN = 30_000
_LOOK_BACK_SHARE = 50  # looking back takes at most this fraction of the time
_PAGE_BYTES = 131_072
_ENTRIES_AT_ONCE = 4  # between two of which other tasks run
_LATE_RESULTS_MS = 600_000  # so long after an hour has ended it is summed: results speak for the time before them


class HistoryStorage(Protocol):
    """The history's store for running tasks; see `demesh.view.history_store.HistoryStore`. Raises HistoryError."""

    async def save(
        self, history: History, signed: Sequence[Signed], dirty: Sequence[bytes], gone: Sequence[bytes]
    ) -> None: ...

    async def save_votes(self, rows: Sequence[tuple[bytes, int, bytes]]) -> None: ...

    async def look_back(self, open_: OpenHistory, now_ms: int) -> dict[str, Past]: ...

    async def days_signed(self, first_ms: int, end_ms: int) -> set[tuple[bytes, str, int]]: ...

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
        self._votes_saved: dict[bytes, int] = {}
        self._clock = clock
        self._own_key = own_key
        self._dirty: set[bytes] = set()
        self._unsaved: list[Signed] = []
        self._gone: set[bytes] = set()
        self._began_ms = self._carry_look_ms = clock.monotonic_ms()
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
            if state is None or self._applied(state) >= state.head.seq:
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
        first = self._applied(state) + 1
        if state.head.seq - first >= limits.HISTORY_PASSED_OVER_MIN:
            matters_from, others = await self._storage.call(lambda store: _page_to_unsummed(store, state.log, first))
            if others:
                return others
            if matters_from > first:
                first = matters_from
                self._history.pass_over(state.public_key, state.log, first - 1)
        return await self._storage.read_on(state.log, first, _PAGE_BYTES)

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

    def checkpoint(self, public_key: bytes) -> Checkpointed | None:
        """The newest checkpoint of a member."""
        return self._history.checkpoints.get(public_key)

    async def forget(self, open_before_ms: int, hours_before_ms: int) -> None:
        """Forget open and signed hours before these times (Unix), as the logs do."""
        async with self._one_at_a_time:
            self._dirty.update(self._history.forget_open(open_before_ms))
        with suppress(HistoryError):  # made anew in the next round
            await self._kept.forget(hours_before_ms)

    async def sums_due(self, own_log: bytes, wall_ms: int) -> list[tuple[Kind, Value]]:
        """The rollups, checkpoints and carries that the own log owes now. The caller lets nothing be appended meanwhile."""
        await self.catch_up(own_log)
        due: list[tuple[Kind, Value]] = []
        last_hour = (wall_ms - _LATE_RESULTS_MS) // HOUR_MS - 1
        folded = self._history.logs.get(own_log)
        for hour, rows in sorted(folded.open.items()) if folded else ():
            if hour <= last_hour:
                due += ((Kind.ROLLUP, payload) for payload in rollup_payloads(hour, rows))
        if due:
            return due  # a day is summed from hours that are in the log
        if not await self._knows_its_past(own_log):
            return []  # a day that is signed now would lack what is still to come, or sum what was summed before
        last_day = (wall_ms - 2 * _LATE_RESULTS_MS) // DAY_MS - 1
        held, known = self._logs.states(), self._history.checkpoints.get(self._own_key)
        days = await self._days_due(own_log, last_day)
        if not days and await self._checks_nothing(own_log, last_day):
            days[last_day] = {}
        if not days:
            return [(Kind.CARRY, payload) for payload in await self._carry_due(own_log, wall_ms, last_day)]
        day = min(days)  # one at a time: the next one names this one as its predecessor
        previous = (known.log, known.head) if known else None
        return [(Kind.CHECKPOINT, payload) for payload in checkpoint_payloads(day, previous, days[day], held)]

    async def _knows_its_past(self, own_log: bytes) -> bool:
        """Whether this node holds all of its earlier epochs, and has folded them: a store that was lost comes back from peers.

        When it has run for an hour it takes what it has for all there is.
        """
        ran_ms = self._clock.monotonic_ms() - self._began_ms
        if ran_ms >= limits.PAST_SETTLED_MS:
            return True
        mine = [state for state in self._logs.states() if state.public_key == self._own_key]
        if len(mine) < 2 or any(self._applied(state) < state.head.seq for state in mine):
            return False
        epochs = await self._storage.call(lambda store: earlier_epochs(store, mine, own_log, ran_ms))
        return all(epoch.is_whole for epoch in epochs)

    async def _checks_nothing(self, own_log: bytes, last_day: int) -> bool:
        """Whether `last_day` has no checkpoint although this node was there: one without rows is a witness all the same."""
        known = self._history.checkpoints.get(self._own_key)
        if known is not None:
            return known.day < last_day
        began_ms = await self._storage.call(lambda store: store.wall_ms_at(own_log, 0))
        return began_ms is not None and began_ms // DAY_MS <= last_day

    async def _days_due(self, own_log: bytes, last_day: int) -> dict[int, dict[str, Sums]]:
        """By day and check: signed hours without a checkpoint, and what earlier epochs of this node left open."""
        own = self._history.logs.get(own_log)
        days = {day: dict(rows) for day, rows in own.undayed.items() if day <= last_day} if own else {}
        left: list[tuple[int, str, Sums]] = []
        for log_id, folded in self._history.logs.items():
            if folded.public_key == self._own_key and log_id != own_log:
                open_ = [(hour * HOUR_MS // DAY_MS, rows) for hour, rows in folded.open.items()]
                left += (
                    (day, name, sums)
                    for day, rows in [*folded.undayed.items(), *open_]
                    if day <= last_day
                    for name, sums in rows.items()
                )
        if left:
            async with self._one_at_a_time:
                await self._save()
            first, last = min(day for day, _, _ in left), max(day for day, _, _ in left)
            done = await self._kept.days_signed(first * DAY_MS, (last + 1) * DAY_MS)
            for day, name, sums in left:
                if (self._own_key, name, day * DAY_MS) not in done:
                    total = Sums()
                    total.add(days.get(day, {}).get(name, Sums()))
                    total.add(sums)
                    days.setdefault(day, {})[name] = total
        return days

    async def _carry_due(self, own_log: bytes, wall_ms: int, last_day: int) -> list[Value]:
        """What carries the epochs of this node that are over, if there are many."""
        now_ms = self._clock.monotonic_ms()
        mine = [state for state in self._logs.states() if state.public_key == self._own_key]
        if now_ms < self._carry_look_ms or len(mine) <= limits.EPOCHS_OVER_MAX:
            return []
        self._carry_look_ms = now_ms + _CARRY_LOOK_MS
        ran_ms = now_ms - self._began_ms
        found = over(
            await self._storage.call(lambda store: earlier_epochs(store, mine, own_log, ran_ms)), wall_ms, last_day
        )
        if not found:
            return []
        async with self._one_at_a_time:
            await self._save()
            done = await self._kept.days_signed(0, (last_day + 1) * DAY_MS)
            found = [epoch for epoch in found if self._is_summed(epoch.state, done)]
            days = await self._kept.days_in([epoch.state.log for epoch in found])
        before = await self._storage.call(lambda store: store.carried_nonces().get(self._own_key, []))
        return carry(found, days, before)

    def _is_summed(self, state: LogState, done: Container[tuple[bytes, str, int]]) -> bool:
        """Whether each day that a log of this node holds is in a signed day row, which are `done`."""
        folded = self._history.logs.get(state.log)
        if folded is None or folded.applied_seq < state.head.seq:
            return False
        open_ = ((hour * HOUR_MS // DAY_MS, rows) for hour, rows in folded.open.items())
        held = ((day, name) for day, rows in chain(folded.undayed.items(), open_) for name in rows)
        return all((self._own_key, name, day * DAY_MS) in done for day, name in held)

    async def _round(self) -> None:
        if not self._is_flooded():
            for state in self._logs.states():
                while self._applied(state) < state.head.seq and await self._fold_page(state.log):
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

    def _applied(self, state: LogState) -> int:
        folded = self._history.logs.get(state.log)
        return folded.applied_seq if folded else -1

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


def _page_to_unsummed(store: Store, log_id: bytes, first: int) -> tuple[int, Sequence[Entry]]:
    """From where on results matter, and the next entries before that which are none."""
    matters_from = unsummed_from(store, log_id, first, entries_max=limits.HISTORY_LOOKED_BACK_ENTRIES_MAX)
    if matters_from == first:
        return first, []
    return matters_from, store.read_but_results(log_id, first, matters_from, bytes_max=_PAGE_BYTES)
