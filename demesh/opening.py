"""What a start reads from the store: the view, the history, and whether the own log goes on or a new epoch begins.

Damaged entries are passed over: what they said is not known, and `demesh log verify` names them. The own log does not go on
if its hello is among them, since no newcomer could take it up.
"""

import logging
from dataclasses import dataclass

from nacl.signing import SigningKey

from demesh.clock import Clock
from demesh.log.chain import LogState
from demesh.log.entry import log_id
from demesh.log.epoch import Continue, Marker, NewEpoch, decide_epoch
from demesh.log.head import Head
from demesh.log.hello import Hello, is_hello_of
from demesh.log.replay import history_context, startup_entries
from demesh.log.store import Store
from demesh.log.writer import Writer
from demesh.view.fold import View
from demesh.view.history import History
from demesh.view.history_store import HistoryStore
from demesh.view.standing import NOTE, decode_standings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """`previous` is the epoch before the own log's, if known, and `nonce` the eight bytes that the own log's id is made of."""

    view: View
    history: History
    writer: Writer
    previous: tuple[bytes, Head] | None
    nonce: bytes


def open_logs(
    key: SigningKey,
    mesh_id: bytes,
    clock: Clock,
    store: Store,
    kept: HistoryStore,
    marker: Marker | None,
    epoch_nonce: bytes,
) -> Opened:
    """Read what is stored. `epoch_nonce` is used up if a new epoch begins. Raises StoreError."""
    public_key = bytes(key.verify_key)
    states = store.logs()
    view, history = View(public_key, clock.monotonic_ms()), kept.load(public_key)
    for state in states:
        load_log(view, store, state, kept)
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
        hash_at=lambda seq: store.hash_at(own[0], seq) if own else None,
    )
    if isinstance(decision, Continue):
        hello = _own_hello(view, store, decision.log)
        if hello is not None:
            writer = Writer(key, mesh_id, clock.boot8, decision.log, decision.head)
            return Opened(view, history, writer, hello.previous, hello.epoch_nonce)
        decision = NewEpoch(
            "The hello of the old log is damaged or missing; demesh log repair saves what is intact.", own
        )
    log.info("Beginning a new epoch of the log. %s", decision.why)
    writer = Writer(key, mesh_id, clock.boot8, log_id(public_key, epoch_nonce), None)
    return Opened(view, history, writer, decision.previous, epoch_nonce)


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
