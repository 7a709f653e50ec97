"""What a start reads from the store: the view, the history, and what there is to decide about the own log.

Damaged entries are passed over: what they said is not known, and `demesh log verify` names them. The own log does not go on
if its hello is among them, since no newcomer could take it up.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from demesh import limits
from demesh.clock import Clock
from demesh.log.epoch import Decision, Marker, NewEpoch, decide_epoch
from demesh.log.hello import Hello, is_hello_of
from demesh.log.replay import history_context, startup_entries
from demesh.log.state import LogState
from demesh.log.store import Store
from demesh.view.fold import View
from demesh.view.history import History
from demesh.view.history_store import HistoryStore
from demesh.view.standing import NOTE, decode_standings


@dataclass(frozen=True, slots=True)
class Opened:
    """`hello` is the newest one of the log that goes on, or may; None where a new epoch begins."""

    view: View
    history: History
    decision: Decision
    hello: Hello | None


def open_logs(
    public_key: bytes,
    clock: Clock,
    store: Store,
    kept: HistoryStore,
    marker: Marker | None,
    machine: str,
    starting: Callable[[str], None] = lambda _: None,
) -> Opened:
    """Read what is stored. `machine` is this machine's id; `starting` is told before each log. Raises StoreError."""
    states = store.logs()
    view, history = View(public_key, clock.monotonic_ms()), kept.load(public_key)
    for state in states:
        starting(f"reading {len(states)} logs")
        load_log(view, store, state, kept)
        view.note_fork(state.log, state.fork)
        folded = history.logs.get(state.log)
        if folded:
            history.learn(state.public_key, history_context(store, state.log, folded.applied_seq + 1))
    view.heed_forgets()
    view.restore_standings(decode_standings(store.note(NOTE)))
    own = store.own_log(public_key)  # with another key in its place, the node is another member
    decision = decide_epoch(
        own_log=own,
        marker=marker,
        boot8=clock.boot8,
        store_file=store.file_identity(),
        in_its_place=store.settled_at() == store.place(machine),
        hash_at=lambda seq: store.hash_at(own[0], seq) if own else None,
    )
    if own and any(state.log == own[0] and state.fork for state in states):
        decision = NewEpoch("Two histories of the old log were signed with this node's key.", own)
    hello = None if isinstance(decision, NewEpoch) else _own_hello(view, store, decision.log)
    if hello is None and not isinstance(decision, NewEpoch):
        decision = NewEpoch(
            "The hello of the old log is damaged or missing; demesh log repair saves what is intact.", own
        )
    return Opened(view, history, decision, hello)


def readers(view: View, own_key: bytes) -> Collection[bytes]:
    """The members to whom the own log was published lately: all but those of whom nothing new has come for a week.

    A week is counted back from the newest entry of all, by its author's clock: it only says whom to ask.
    """
    dated = {
        member.public_key: member.current.newest.wall_ms
        for member in view.members()
        if member.current.newest is not None
    }
    since_ms = max(dated.values(), default=0) - limits.START_ASK_MEMBER_MS_MAX
    return {key for key, wall_ms in dated.items() if key != own_key and wall_ms >= since_ms}


def _own_hello(view: View, store: Store, log: bytes) -> Hello | None:
    """The newest hello of the own log; None if there is none, or if the log is whole and does not begin with one."""
    known = view.log(log)
    if known is None or known.hello is None:
        return None
    if store.pruned_to(log) == 0:
        first, _ = store.read(log, 0, 0)
        if not first or not is_hello_of(known.public_key, first[0]):
            return None
    return known.hello


def load_log(view: View, store: Store, state: LogState, kept: HistoryStore | None) -> None:
    """Load what a view needs of a log: from the votes in `kept` on, if there are any. Raises StoreError."""
    saved = kept.votes(state.log) if kept else None
    before, tail = startup_entries(store, state, since=saved[0] + 1 if saved else 0)
    view.load(state.public_key, before)
    if saved:
        view.restore(state.log, *saved)
    view.load(state.public_key, tail)
