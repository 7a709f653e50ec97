"""What one start after the other knows of a log of which nothing new has come: neither more nor less."""

from pathlib import Path

from demesh.log.store import Store
from demesh.opening import load_log
from demesh.view.fold import View
from demesh.view.history_store import HistoryStore
from demesh.view.snapshot import encode_votes
from tests.bench.logs import write_log
from tests.log.builders import MESH, public_key_of, put


def test_starts_without_news_leave_the_votes_as_they_are(tmp_path: Path) -> None:
    with Store(tmp_path / "log.db", mesh_id=MESH) as store, HistoryStore(tmp_path / "view.db") as kept:
        put(store, write_log("ann", MESH, 20))
        (state,) = store.logs()
        seen: list[tuple[int, bytes]] = []
        for _ in range(3):
            view = View(public_key_of("ben"), 0)
            load_log(view, store, state, kept)
            ((log_id, seq, votes),) = view.folded()
            seen.append((seq, encode_votes(votes)))
            kept.save_votes([(log_id, *seen[-1])])
        assert seen == [seen[0]] * 3
        assert kept.voted() == [(state.log, state.head.seq)]
