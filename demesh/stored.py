"""What a store tells without its node: the same answers, from the files alone, read only. Nothing in them is *now*."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from demesh.errors import HistoryError
from demesh.explaining import Question, explain_at_once, newest_ms
from demesh.home import Home
from demesh.identity import read_or_make_node_key
from demesh.log.store import Store
from demesh.opening import load_log
from demesh.view import report
from demesh.view.fold import View
from demesh.view.history import LogHistory, behind
from demesh.view.history_store import HistoryStore
from demesh.view.members import Outlook, members_told
from demesh.view.presence import Presence
from demesh.view.standing import NOTE, decode_standings
from demesh.view.uptime import OpenHistory, Past, look_back


class Stored:
    """The store of a node that does not run (or does: it is read as it is)."""

    def __init__(self, home: Home) -> None:
        """Raises NodeNotRunning if there is none, StoreError if it cannot be read."""
        home.require_store()
        self._home = home
        self._store = Store(home.log_db, readonly=True)
        self._states = sorted(self._store.logs(), key=lambda state: state.log)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()

    def heads(self) -> list[dict[str, Any]]:
        """As `demesh log heads --json`."""
        return report.heads(self._view(None), self._states)

    def status(self) -> dict[str, Any]:
        """As `demesh status --json`, as of the newest entry: what was last known; no vote, no presence, no incident."""
        newest_ms = max((self._store.wall_ms_at(each.log, each.head.seq) or 0 for each in self._states), default=0)
        past: dict[str, Past] = {}
        folded: Mapping[bytes, LogHistory] = {}
        try:
            with HistoryStore(self._home.view_db, readonly=True) as history:
                view = self._view(history)
                logs = history.load(b"").logs
                past, folded = look_back(history, OpenHistory.of(logs.values()), newest_ms), logs
        except HistoryError:  # derived, and not there
            view = self._view(None)
        answer = report.status(
            view, past, behind(folded, self._states), self._store.mesh_id().hex()[:8], self._own_key(), 0, newest_ms
        )
        for node in answer["nodes"]:
            node["presence"] = "unknown"
        return {
            **answer,
            "logs": report.logs_told(view, {}, {}, left_off=False),
            "network": report.network(0, "", None, 0, newest_ms, cut_off=False),
            "incidents": [],
            "sinks": [],
        }

    def explain(self, question: Question) -> dict[str, Any]:
        """As `demesh explain --json`. Raises UsageError."""
        return explain_at_once(self._store, question)

    def newest_ms(self, now_ms: int) -> int:
        """When the newest entry was written, by its author's clock."""
        return newest_ms(self._store, now_ms)

    def members(self) -> list[dict[str, Any]]:
        """As `demesh members --json`; what was known last, so nobody's presence but of those that have left."""
        view, heads = self._view(None), {state.log: state.head.seq for state in self._states}
        told = members_told(Outlook(view, self._own_key(), {}, lambda log: heads.get(log, -1), lambda log: -1, 0, 0))
        return [each if each["presence"] == Presence.LEFT else {**each, "presence": "unknown"} for each in told]

    def _own_key(self) -> bytes:
        return bytes(read_or_make_node_key(self._home.node_key).verify_key) if self._home.node_key.exists() else b""

    def _view(self, history: HistoryStore | None) -> View:
        view = View(b"", 0)
        for state in self._states:
            load_log(view, self._store, state, history)
        view.heed_forgets()
        view.restore_standings(decode_standings(self._store.note(NOTE)))
        return view
