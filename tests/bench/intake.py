"""Results that come from peers: bytes decoded, verified and stored; and how fast the view folds them."""

import gc
from collections.abc import Callable, Sequence
from pathlib import Path

from demesh.log.chain import Logs
from demesh.log.codec import decode
from demesh.log.entry import Entry, Kind, entry_of
from demesh.log.store import Store
from demesh.view.fold import View
from tests.bench.figure import Budget, Figure
from tests.bench.logs import RESULTS_PER_ENTRY, envelopes, pages, write_log
from tests.bench.machine import Stopwatch
from tests.bench.scope import Scope
from tests.log.builders import MESH, NO_LOG, fields_of, public_key_of

_OWNER = "ann"


def intake(scope: Scope) -> list[Figure]:
    """The best of several rounds, each into a new store, in results per CPU-second of this process."""
    entries = write_log(_OWNER, MESH, scope.choose(1_000, 100))
    results = sum(entry.kind == Kind.RESULTS for entry in entries) * RESULTS_PER_ENTRY
    as_pages = [envelopes(page) for page in pages(entries)]
    one_by_one = [envelopes([entry]) for entry in entries]
    rounds = scope.choose(4, 1)

    def best(what: Callable[[Path], float]) -> float:
        return results / min(what(scope.place / f"{turn}.db") for turn in range(rounds))

    per_entry = f"{RESULTS_PER_ENTRY} an entry"
    return [
        Figure(
            f"results verified and stored per CPU-second, in pages, {per_entry}",
            best(lambda path: _take(path, as_pages)),
            "",
            budget=Budget(200_000, at_least=True),
        ),
        Figure(
            f"results verified and stored per CPU-second, entry by entry, {per_entry}",
            best(lambda path: _take(path, one_by_one)),
            "",
        ),
        Figure(f"results folded per CPU-second, {per_entry}", best(lambda _: _fold(entries)), ""),
    ]


def _take(path: Path, messages: Sequence[bytes]) -> float:
    """CPU seconds from the bytes of `messages` to a store with what they carry."""
    path.unlink(missing_ok=True)
    logs = Logs(MESH, NO_LOG)
    with Store(path, mesh_id=MESH) as store:
        gc.collect()
        watch = Stopwatch()
        for message in messages:
            taken = logs.offer([entry_of(envelope) for envelope in fields_of(decode(message))])
            keys = {state.log: state.public_key for state in logs.states()}
            store.commit(taken.accepted, public_keys=keys, own=False)
        return watch.cpu_seconds()


def _fold(entries: Sequence[Entry]) -> float:
    """CPU seconds to fold `entries` as they would arrive."""
    view = View(public_key_of("ben"), 0)
    gc.collect()
    watch = Stopwatch()
    for number, entry in enumerate(entries):
        view.apply(public_key_of(_OWNER), entry, number, first_hand=True)
    return watch.cpu_seconds()
