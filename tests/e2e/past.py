"""The past of nodes: logs of earlier days, with all the sums that a node signs, in homes in which none has run yet.

A node that starts there goes on with its very log, since it finds the marker of one that ran in this boot.
"""

from collections.abc import Sequence
from pathlib import Path

from demesh.clock import SystemClock
from demesh.home import Home, MarkerFile
from demesh.identity import read_or_make_node_key
from demesh.log.checkpoint import checkpoint_payloads
from demesh.log.codec import Value
from demesh.log.entry import Entry, Kind, log_id
from demesh.log.epoch import Marker
from demesh.log.hello import Hello
from demesh.log.plan import QUORUM_MAJORITY, PlanRow, split_plan
from demesh.log.results import Result, Results
from demesh.log.rollup import rollup_payloads
from demesh.log.store import Store
from demesh.log.sums import DAY_MS, HOUR_MS
from demesh.log.writer import Writer
from demesh.outcome import Outcome
from demesh.view.history import History
from tests.e2e.harness import NodeProcess

STEP_MS = HOUR_MS
_BOOT8, _NONCE = b"longpast", b"dayspast"
_PROMISE_MS = 15_000  # who is not heard of after a start has twice that time
_ROLLUP_DUE_MS, _CHECKPOINT_DUE_MS = 600_000, 1_200_000


class _Past:
    def __init__(self, home: Path, name: str, mesh_id: bytes, check: str) -> None:
        key = read_or_make_node_key(home / "node.key")
        self.public_key = bytes(key.verify_key)
        self.log = log_id(self.public_key, _NONCE)
        self.entries: list[Entry] = []
        self._writer = Writer(key, mesh_id, _BOOT8, self.log, None)
        self._history = History(self.public_key)
        self._hello = Hello(self.public_key, _NONCE, name, "0.1")
        self._row = PlanRow(
            name=check,
            type="tcp",
            target="tcp://192.0.2.7:25",
            definition=bytes(16),
            runs=True,
            interval_ms=STEP_MS,
            timeout_ms=1_000,
            retry_interval_ms=STEP_MS,
            fail_after=2,
            recover_after=2,
            quorum=QUORUM_MAJORITY,
            severity="critical",
        )

    def write(self, first_ms: int, end_ms: int) -> None:
        """A result every hour from `first_ms` to `end_ms` (Unix time), and the sums as they fall due."""
        self._append(Kind.HELLO, self._hello.payload(), first_ms, STEP_MS)
        for part in split_plan([self._row]):
            self._append(Kind.PLAN, part.payload(), first_ms, STEP_MS)
        for now_ms in range(first_ms + STEP_MS, end_ms, STEP_MS):
            up_ms = now_ms - first_ms + STEP_MS
            self._sum_up(now_ms, up_ms)
            results = Results(1, (Result(0, up_ms, Outcome.PASS, 2_500),))
            self._append(Kind.RESULTS, results.payload(up_ms), now_ms, up_ms)

    def _sum_up(self, now_ms: int, up_ms: int) -> None:
        folded = self._history.logs[self.log]
        last_hour = (now_ms - _ROLLUP_DUE_MS) // HOUR_MS - 1
        for hour, rows in sorted(folded.open.items()):
            for payload in rollup_payloads(hour, rows) if hour <= last_hour else ():
                self._append(Kind.ROLLUP, payload, now_ms, up_ms)
        last_day = (now_ms - _CHECKPOINT_DUE_MS) // DAY_MS - 1
        for day, rows in sorted(folded.undayed.items()):
            before = self._history.checkpoints.get(self.public_key)
            previous = (before.log, before.head) if before else None
            for payload in checkpoint_payloads(day, previous, rows, []) if day <= last_day else ():
                self._append(Kind.CHECKPOINT, payload, now_ms, up_ms)

    def _append(self, kind: Kind, payload: Value, wall_ms: int, up_ms: int) -> None:
        entry = self._writer.write(kind, payload, wall_ms=wall_ms, up_ms=up_ms, next_ms=_PROMISE_MS)
        self.entries.append(entry)
        self._history.apply(self.public_key, entry)


def plant_past(nodes: Sequence[NodeProcess], mesh_id: bytes, check: str, days: int) -> None:
    """Give nodes that have not run yet logs of `check` that have checkpoints of `days` whole days and ended some hours ago.

    Each holds the logs of all of them.
    """
    clock = SystemClock()
    end_ms = clock.wall_ms() - 3 * HOUR_MS
    first_day = (end_ms - STEP_MS - _CHECKPOINT_DUE_MS) // DAY_MS - days
    pasts = [_Past(node.home, node.name, mesh_id, check) for node in nodes]
    for past in pasts:
        past.write(first_day * DAY_MS, end_ms)
    for node, own in zip(nodes, pasts, strict=True):
        with Store(node.home / "log.db", mesh_id=mesh_id) as store:
            for past in pasts:
                store.commit(past.entries, public_keys={past.log: past.public_key}, own=past is own)
            file = store.file_identity()
        marker = MarkerFile(Path(node.environment["XDG_RUNTIME_DIR"], "demesh"), Home(node.home))
        marker.write(Marker(clock.boot8, file, own.log, own.entries[-1].head))
