"""How long what is stored takes to be known again: audited and folded from first to last, and at the start of a node."""

from pathlib import Path

from demesh.identity import new_swarm_key
from demesh.log.audit import audit
from demesh.log.store import Store
from demesh.opening import load_log
from demesh.view.fold import View
from demesh.view.history_store import HistoryStore
from tests.bench.figure import Budget, Figure
from tests.bench.logs import RESULTS_PER_ENTRY, fill, write_log
from tests.bench.machine import Stopwatch
from tests.bench.node import MeasuredNode
from tests.bench.scope import Scope
from tests.log.builders import public_key_of

_MEMBERS = 10


def loading(scope: Scope) -> list[Figure]:
    """One log that is read as a whole; then a store of ten logs, read as a start does, in this process and in a node's."""
    swarm_key = new_swarm_key()
    key_file = scope.place / "swarm.key"
    key_file.write_text(swarm_key.text())
    key_file.chmod(0o600)
    mesh_id = swarm_key.first_mesh_id()
    return [*_read_all(scope, mesh_id), *_start(scope, mesh_id, key_file)]


def _read_all(scope: Scope, mesh_id: bytes) -> list[Figure]:
    count = scope.choose(547, 55)
    results = count * RESULTS_PER_ENTRY
    path = scope.place / "one.db"
    with Store(path, mesh_id=mesh_id) as store:
        fill(store, "ann", write_log("ann", mesh_id, count))
    seconds = min(_read_verify_fold(path, mesh_id) for _ in range(3))
    return [Figure(f"{results:,} results read, verified, folded: CPU time", seconds, "s", budget=Budget(1))]


def _read_verify_fold(path: Path, mesh_id: bytes) -> float:
    watch = Stopwatch()
    with Store(path, readonly=True) as store:
        (state,) = store.logs()
        entries, bad = store.read(state.log, 0, state.head.seq)
        faults = list(audit(mesh_id, state, entries))
        if bad or faults:
            raise AssertionError("the store is damaged")
        View(public_key_of("ben"), 0).load(state.public_key, entries)
        return watch.cpu_seconds()


def _start(scope: Scope, mesh_id: bytes, key_file: Path) -> list[Figure]:
    count = scope.choose(1_563, 20)
    results = _MEMBERS * count * RESULTS_PER_ENTRY
    full, empty = (MeasuredNode(scope.place / name, name, swarm_key=key_file) for name in ("full", "empty"))
    with Store(full.home / "log.db", mesh_id=mesh_id) as store:
        for number in range(_MEMBERS):
            fill(store, f"{number}", write_log(f"{number}", mesh_id, count))
    ready: dict[str, list[float]] = {"full": [], "empty": []}
    used: dict[str, list[float]] = {"full": [], "empty": []}
    resident: dict[str, float] = {}
    for _ in range(scope.choose(2, 1)):
        for node in (empty, full):
            with node:
                ready[node.name].append(node.start_and_wait())
                used[node.name].append(node.cpu_seconds())
                resident[node.name] = node.resident_mb()
                node.stop()
    with (
        Store(full.home / "log.db", readonly=True) as store,
        HistoryStore(full.home / "view.db", readonly=True) as kept,
    ):
        load_seconds = min(_load_view(store, kept) for _ in range(scope.choose(2, 1)))
    what = f"{results:,} results of {_MEMBERS} members in the store"
    return [
        Figure(f"{what}: CPU time to load the view", load_seconds, "s"),
        Figure(f"{what}: node ready", min(ready["full"]), "s", min(ready["empty"]), "empty store", Budget(2)),
        Figure(f"{what}: CPU time until ready", min(used["full"]), "s", min(used["empty"]), "empty store"),
        Figure(f"{what}: resident", resident["full"], "MB", resident["empty"], "empty store"),
    ]


def _load_view(store: Store, kept: HistoryStore) -> float:
    """As a node does it before anything runs (`demesh.opening`)."""
    watch = Stopwatch()
    view = View(public_key_of("ben"), 0)
    for state in store.logs():
        load_log(view, store, state, kept)
    return watch.cpu_seconds()
