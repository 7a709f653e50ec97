"""What peers hold of this node's own logs, and what follows from it: whether the log goes on after a start, and when it must end.

Guarantees: of a node that may have been rolled back nothing is signed in the old log before enough members have said that they
know no more of it (`demesh.log.epoch.judge`), and no longer than START_ASK_SECONDS_MAX is waited for them. Should a peer turn out
later to know more, or something else, the log ends there and a new epoch begins: whoever was rolled back unnoticed, or runs
twice, signs as little as possible that contradicts what is out.

Not guaranteed: that nothing was signed until then; see the limits in `demesh.log.epoch`.
"""

from collections.abc import Collection, Mapping

import trio

from demesh import limits
from demesh.log.chain import Logs
from demesh.log.epoch import Ask, Continue, Decision, NewEpoch, judge
from demesh.log.storage import Storage
from demesh.mesh.sync import Row


class Witnesses:
    """Weighs what each pull shows of the logs of `own_key`."""

    def __init__(self, own_key: bytes, readers: Collection[bytes], logs: Logs, storage: Storage) -> None:
        """`readers` are the members to ask at a start; `logs` holds what is in the store then."""
        self._own_key = own_key
        self._readers = readers
        self._logs = logs
        self._storage = storage
        self._held_at_start = self._own_heads()
        self._said: dict[bytes, Mapping[bytes, Row]] = {}
        self._agree: dict[bytes, bool] = {}
        self._over = ""
        self._news = trio.Event()

    def end(self, why: str) -> None:
        """The own log is over, for a reason that is no peer's answer."""
        self._over = why
        self._news.set()

    def said(self, peer: bytes, held: Mapping[bytes, Row]) -> None:
        """A pull from `peer` has ended; `held` is what it holds, and all of it that can be taken is in `logs` now."""
        self._said[peer] = held
        self._news.set()

    async def settle(self, decision: Decision, stop: trio.Event) -> Continue | NewEpoch | None:
        """What becomes of the own log, once the members have been asked if that is to be done. Raises StoreError.

        None if `stop` is set meanwhile.
        """
        if not isinstance(decision, Ask):
            return decision
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + limits.START_ASK_SECONDS_MAX
            nursery.start_soon(_cancel_on, stop, nursery.cancel_scope)
            while judge(decision, self._readers, self._agree) is None:
                await self._listen(decision.log)
            nursery.cancel_scope.cancel()
        return None if stop.is_set() else judge(decision, self._readers, self._agree, over=True)

    async def contradiction(self, own_log: bytes) -> str:
        """Wait until a peer holds of `own_log` what this node does not; returns why it must end. Raises StoreError."""
        while True:
            if self._over:
                why, self._over = self._over, ""
                return why
            for peer, held in self._taken():
                row = held.get(own_log)
                if row and not await self._is_ours(row):
                    self._agree[peer] = False
                    return "A peer holds other entries of this log than this node wrote: its disk was rolled back, or runs twice."
            await self._wait()

    async def _listen(self, own_log: bytes) -> None:
        """Weigh what has been said since, or wait for more."""
        await self._wait()
        for peer, held in self._taken():
            row = held.get(own_log)
            ours = row is None or await self._is_ours(row)
            self._agree[peer] = ours and self._own_heads(besides=own_log) == self._held_before(own_log)

    async def _wait(self) -> None:
        await self._news.wait()
        self._news = trio.Event()

    def _taken(self) -> list[tuple[bytes, Mapping[bytes, Row]]]:
        said, self._said = self._said, {}
        return sorted(said.items(), key=lambda each: each[0])

    async def _is_ours(self, row: Row) -> bool:
        """Whether the head that a peer holds of a log is an entry of that log as this node has it."""
        state = self._logs.get(row.log)
        if state is None or row.head_seq > state.head.seq:
            return False
        if row.head_seq < state.pruned_to:
            return True  # forgotten here; whoever holds so little knows no more
        held = await self._storage.call(lambda store: store.hash_at(row.log, row.head_seq))
        return held is None or held[:8] == row.head_hash8

    def _own_heads(self, besides: bytes = b"") -> dict[bytes, int]:
        """The heads of the logs of the own key: what was pulled of them is news of this node from elsewhere."""
        states = self._logs.states()
        return {each.log: each.head.seq for each in states if each.public_key == self._own_key and each.log != besides}

    def _held_before(self, own_log: bytes) -> dict[bytes, int]:
        return {log: seq for log, seq in self._held_at_start.items() if log != own_log}


async def _cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
