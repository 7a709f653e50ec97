"""What a node owes of sums: the rollups, checkpoints and carries that its own log is to hold next. The author writes them.

Guarantees: an hour is summed when its results are in, a day when its hours are, and nothing is summed twice: neither by what
this node's earlier epochs left open, nor after its store was lost and came back from peers.
"""

from collections.abc import Container
from itertools import chain

from demesh import limits
from demesh.carrying import carry, earlier_epochs, over
from demesh.clock import Clock
from demesh.historian import Historian
from demesh.log.chain import Logs
from demesh.log.checkpoint import checkpoint_payloads
from demesh.log.codec import Value
from demesh.log.entry import Kind
from demesh.log.rollup import rollup_payloads
from demesh.log.state import LogState
from demesh.log.storage import Storage
from demesh.log.sums import DAY_MS, HOUR_MS, Sums

_CARRY_LOOK_MS = 600_000
_LATE_RESULTS_MS = 600_000  # so long after an hour has ended it is summed: results speak for the time before them


class OwnSums:
    """`own_key` is the public key of this node."""

    def __init__(self, historian: Historian, storage: Storage, logs: Logs, clock: Clock, own_key: bytes) -> None:
        self._historian = historian
        self._storage = storage
        self._logs = logs
        self._clock = clock
        self._own_key = own_key
        self._began_ms = self._carry_look_ms = clock.monotonic_ms()

    async def due(self, own_log: bytes, wall_ms: int) -> list[tuple[Kind, Value]]:
        """The rollups, checkpoints and carries that the own log owes now. The caller lets nothing be appended meanwhile."""
        await self._historian.catch_up(own_log)
        due: list[tuple[Kind, Value]] = []
        last_hour = (wall_ms - _LATE_RESULTS_MS) // HOUR_MS - 1
        folded = self._historian.history.logs.get(own_log)
        for hour, rows in sorted(folded.open.items()) if folded else ():
            if hour <= last_hour:
                due += ((Kind.ROLLUP, payload) for payload in rollup_payloads(hour, rows))
        if due:
            return due  # a day is summed from hours that are in the log
        if not await self._knows_its_past(own_log):
            return []  # a day that is signed now would lack what is still to come, or sum what was summed before
        last_day = (wall_ms - 2 * _LATE_RESULTS_MS) // DAY_MS - 1
        held, known = self._logs.states(), self._historian.history.checkpoints.get(self._own_key)
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
        if len(mine) < 2 or any(self._historian.applied(state) < state.head.seq for state in mine):
            return False
        epochs = await self._storage.call(lambda store: earlier_epochs(store, mine, own_log, ran_ms))
        return all(epoch.is_whole for epoch in epochs)

    async def _checks_nothing(self, own_log: bytes, last_day: int) -> bool:
        """Whether `last_day` has no checkpoint although this node was there: one without rows is a witness all the same."""
        known = self._historian.history.checkpoints.get(self._own_key)
        if known is not None:
            return known.day < last_day
        began_ms = await self._storage.call(lambda store: store.wall_ms_at(own_log, 0))
        return began_ms is not None and began_ms // DAY_MS <= last_day

    async def _days_due(self, own_log: bytes, last_day: int) -> dict[int, dict[str, Sums]]:
        """By day and check: signed hours without a checkpoint, and what earlier epochs of this node left open."""
        own = self._historian.history.logs.get(own_log)
        days = {day: dict(rows) for day, rows in own.undayed.items() if day <= last_day} if own else {}
        left: list[tuple[int, str, Sums]] = []
        for log_id, folded in self._historian.history.logs.items():
            if folded.public_key == self._own_key and log_id != own_log:
                open_ = [(hour * HOUR_MS // DAY_MS, rows) for hour, rows in folded.open.items()]
                left += (
                    (day, name, sums)
                    for day, rows in [*folded.undayed.items(), *open_]
                    if day <= last_day
                    for name, sums in rows.items()
                )
        if left:
            first, last = min(day for day, _, _ in left), max(day for day, _, _ in left)
            async with self._historian.saved() as kept:
                done = await kept.days_signed(first * DAY_MS, (last + 1) * DAY_MS)
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
        async with self._historian.saved() as kept:
            done = await kept.days_signed(0, (last_day + 1) * DAY_MS)
            found = [epoch for epoch in found if self._is_summed(epoch.state, done)]
            days = await kept.days_in([epoch.state.log for epoch in found])
        before = await self._storage.call(lambda store: store.carried_nonces().get(self._own_key, []))
        return carry(found, days, before)

    def _is_summed(self, state: LogState, done: Container[tuple[bytes, str, int]]) -> bool:
        """Whether each day that a log of this node holds is in a signed day row, which are `done`."""
        folded = self._historian.history.logs.get(state.log)
        if folded is None or folded.applied_seq < state.head.seq:
            return False
        open_ = ((hour * HOUR_MS // DAY_MS, rows) for hour, rows in folded.open.items())
        held = ((day, name) for day, rows in chain(folded.undayed.items(), open_) for name in rows)
        return all((self._own_key, name, day * DAY_MS) in done for day, name in held)
