"""Which of a node's own earlier epochs its next carry takes over (docs/architecture.md, "History, and what is forgotten"). Pure
but for what it reads of the store it is handed.

    earlier epochs by date     ▒▒▒▒▒▒▒▒▒▒▒▒ ████████████████      ▒ over: their days are carried, and they are forgotten
                                            16 newest, kept       current one

An epoch is *over* when this node holds all of it, each day in it is in a signed day row, and its newest entry is older than
the periods that are told from hours (8 days); where there are very many, merely older than the last day that was summed.
Carries are few and large: nothing is carried before there are more than EPOCHS_OVER_MAX, then all but the newest
EPOCHS_WHOLE_MAX at once.

A carry is bounded. An epoch that holds more than half of what fits one, mostly of earlier carries, is left for good: carrying
it again would only copy it. There is one such for every few megabytes of days, and none for most nodes.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from demesh import limits
from demesh.errors import EntryError
from demesh.log.carry import CarriedRow, carry_payloads, row_bytes
from demesh.log.codec import Value
from demesh.log.entry import Kind
from demesh.log.hello import read_hello
from demesh.log.state import LogState
from demesh.log.store import Store
from demesh.log.sums import CONTENT_BYTES_MAX, DAY_MS, Sums

_ROWS_BYTES_MAX = (limits.CARRY_PARTS_WRITTEN_MAX - 8) * (
    CONTENT_BYTES_MAX - 1_024
)  # the rest for nonces, and ends of parts


@dataclass(frozen=True, slots=True)
class Epoch:
    """An earlier epoch of this node. `newest_ms` is the wall clock of its head."""

    state: LogState
    nonce: bytes
    newest_ms: int
    is_whole: bool
    """Whether this node holds all of it, as far as it can know."""


def earlier_epochs(store: Store, states: Iterable[LogState], own_log: bytes, ran_ms: int) -> list[Epoch]:
    """What the store tells of the epochs in `states`, all of one key, the oldest first; `own_log` is the current one.

    The hello of the epoch behind it tells how long one is. Where none does (a store was lost), peers have had the time to
    send what is missing once the node has run for an hour; it runs for `ran_ms`. An epoch without a hello cannot be carried.
    """
    held = list(states)
    nonces: dict[bytes, bytes] = {}
    named: dict[bytes, int] = {}
    for state in held:
        for entry in store.newest(state.log, Kind.HELLO):
            with suppress(EntryError):
                hello = read_hello(entry)
                nonces[state.log] = hello.epoch_nonce
                if hello.previous:
                    log, head = hello.previous
                    named[log] = max(head.seq, named.get(log, -1))
    dates = {state.log: store.wall_ms_at(state.log, state.head.seq) for state in held}
    return sorted(
        (
            Epoch(state, nonces[state.log], newest_ms, _is_whole(named.get(state.log), state, ran_ms))
            for state in held
            if state.log != own_log and state.log in nonces and (newest_ms := dates[state.log]) is not None
        ),
        key=lambda epoch: (epoch.newest_ms, epoch.state.log),
    )


def over(epochs: Sequence[Epoch], now_ms: int, last_day: int) -> list[Epoch]:
    """Which of `epochs`, in order of date, are over if all their days are summed; `last_day` is the last that was."""
    until_ms = now_ms - limits.EPOCH_OVER_MS
    if len(epochs) > limits.EPOCHS_PRESSING_MAX:
        until_ms = max(until_ms, min(now_ms, (last_day + 1) * DAY_MS))
    old = [epoch for epoch in epochs[: -limits.EPOCHS_WHOLE_MAX] if epoch.is_whole and epoch.newest_ms < until_ms]
    is_due = len(epochs) > limits.EPOCHS_PRESSING_MAX or len(old) > limits.EPOCHS_OVER_MAX - limits.EPOCHS_WHOLE_MAX
    return old if is_due else []


def carry(epochs: Sequence[Epoch], days: Mapping[bytes, Sequence[CarriedRow]], carried: Sequence[bytes]) -> list[Value]:
    """The payloads of a carry of `epochs`, or the oldest of them that fit it; none if there is nothing to carry.

    `days` are what they hold, by log; `carried` the nonces that earlier carries named.
    """
    sums: dict[int, dict[str, Sums]] = {}
    nonces: list[bytes] = []
    room = _ROWS_BYTES_MAX
    for epoch in epochs:
        rows = days.get(epoch.state.log, ())
        size = sum(row_bytes(row.name, row.sums) for row in rows)
        if size > _ROWS_BYTES_MAX // 2:
            continue
        room -= size
        if room < 0:
            break
        nonces.append(epoch.nonce)
        for row in rows:
            sums.setdefault(row.day, {}).setdefault(row.name, Sums()).add(row.sums)
    if not nonces:
        return []
    return carry_payloads([*carried, *nonces][-limits.CARRIED_LOGS_MAX :], sums)


def _is_whole(named_seq: int | None, state: LogState, ran_ms: int) -> bool:
    if state.fork is not None:
        return True  # what it lacks of what was named does not count any more
    return ran_ms >= limits.PAST_SETTLED_MS if named_seq is None else state.head.seq >= named_seq
