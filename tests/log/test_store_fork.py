"""How a stored log ends in front of a fork, whatever is held of it."""

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from demesh import limits
from demesh.errors import EntryError
from demesh.log.audit import audit
from demesh.log.entry import Entry, Kind
from demesh.log.evidence import Proof, proof_of, segment_of
from demesh.log.repair import rebuild, survey
from demesh.log.state import LogState
from demesh.log.store import Store
from tests.log.builders import MESH, Pen, Shelf, key_of, lean_but_tip, log_of, put, rewritten, stripped

_PLACE = 7
_ANN = log_of("ann", 12)
_LOG = _ANN[0].log
_PROOF = proof_of(_ANN[_PLACE : _PLACE + 1], [rewritten(_ANN[_PLACE], key_of("ann"))])
_BOB = log_of("bob", 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def store(path: Path) -> Generator[Store]:
    with Store(path, mesh_id=MESH) as store:
        put(store, _BOB)
        yield store


def _rows(store: Store) -> list[int]:
    return [entry.seq for entry in store.each(_LOG)]


def _faults(store: Store) -> list[str]:
    return [fault.sentence for state in store.logs() for fault in audit(MESH, state, store.each(state.log))]


@pytest.mark.parametrize("held", [_ANN, lean_but_tip(_ANN)], ids=["signed", "unsigned"])
def test_log_ends_in_front_of_the_fork_and_is_sound(store: Store, path: Path, held: list[Entry]) -> None:
    put(store, held)
    ended = _end(store, _PROOF)
    assert (ended.head, ended.pruned_to, ended.fork) == (_ANN[_PLACE - 1].head, 0, _PROOF.fork)
    assert _rows(store) == list(range(_PLACE))
    assert _faults(store) == []
    with Store(path, readonly=True) as other:
        assert ended in other.logs()
        assert other.proof(_LOG) == _PROOF


def test_shorter_log_stays_and_takes_no_more_than_up_to_the_fork() -> None:
    shelf = Shelf(_ANN[:4])
    assert shelf.prove(_PROOF)
    assert _rows(shelf.store) == [0, 1, 2, 3]
    taken = shelf.take(lean_but_tip(_ANN[4:]))
    assert [refusal.reason for refusal in taken.refusals] == ["forked"]
    assert _rows(shelf.store) == list(range(_PLACE)), "the proof vouches for what is not signed"
    assert [refusal.reason for refusal in shelf.take(_ANN).refusals] == ["forked"]


def test_what_lies_behind_the_fork_is_not_taken_up_in_its_middle_either() -> None:
    shelf = Shelf(_ANN[:4])
    shelf.prove(_PROOF)
    with pytest.raises(EntryError) as refused:
        shelf.logs.adopt(_LOG, _ANN[8].head, [], _ANN[9:])
    assert refused.value.reason == "forked"
    assert [state.head for state in shelf.logs.states()] == [_ANN[3].head]


def test_unsigned_entries_that_the_proof_does_not_lead_to_are_not_taken() -> None:
    shelf = Shelf(_ANN[:4])
    shelf.prove(_PROOF)
    taken = shelf.take([stripped(entry) for entry in _ANN[4 : _PLACE - 1]])
    assert [refusal.reason for refusal in taken.refusals] == ["no_signature"]
    assert _rows(shelf.store) == [0, 1, 2, 3]


def test_of_a_log_shortened_beyond_the_fork_what_is_kept_stays(store: Store) -> None:
    put(store, _ANN)
    store.prune(_LOG, 9, [Kind.HELLO], rows_max=100)
    ended = _end(store, _PROOF)
    assert (ended.head, ended.pruned_to) == (_ANN[_PLACE - 1].head, _PLACE)
    assert _rows(store) == [0]
    assert _faults(store) == []


def test_what_differs_because_the_histories_parted_earlier_proves_nothing() -> None:
    """Or whoever has both could make void what stands between the fork and that place, or more."""
    forked = [*_ANN[:3], *_turned_back(3)]
    with pytest.raises(EntryError, match="part"):
        proof_of(_ANN[_PLACE : _PLACE + 1], forked[_PLACE : _PLACE + 1])


def test_log_that_leads_up_to_the_fork_by_a_third_history_stays() -> None:
    forked = [*_ANN[:3], *_turned_back(3)]
    with closing(Store(Path(":memory:"), mesh_id=MESH)) as each:
        put(each, forked)
        assert each.end_at_fork(_PROOF) is None
        assert _rows(each) == list(range(12))
        assert each.proof(_LOG) is None


def _turned_back(at: int) -> list[Entry]:
    """What ann writes from entry `at` on, a little later."""
    pen = Pen("ann")
    pen.fill(at)
    pen.clock.now_ms += 7
    return pen.fill(12)[at:]


def _end(store: Store, proof: Proof) -> LogState:
    ended = store.end_at_fork(proof)
    assert ended is not None
    return ended


def test_of_two_hellos_of_one_log_all_keep_the_same() -> None:
    other = rewritten(_ANN[0], key_of("ann"))
    proof = proof_of(_ANN[:1], [other])
    for held in (_ANN, [other]):
        with closing(Store(Path(":memory:"), mesh_id=MESH)) as each:
            put(each, held)
            ended = _end(each, proof)
            assert ended.head == min((_ANN[0], other), key=lambda entry: entry.hash).head
            assert _rows(each) == [0]
            assert _faults(each) == []


def test_lower_fork_takes_the_place_of_a_higher_one_and_never_the_other_way() -> None:
    shelf = Shelf(_ANN)
    lower = proof_of(_ANN[3:4], [rewritten(_ANN[3], key_of("ann"))])
    assert [shelf.prove(proof) for proof in (_PROOF, _PROOF, lower, _PROOF)] == [True, False, True, False]
    assert _rows(shelf.store) == [0, 1, 2]
    assert shelf.store.proof(_LOG) == lower


def test_of_two_proofs_of_one_place_all_come_to_keep_the_same() -> None:
    third = rewritten(rewritten(_ANN[_PLACE], key_of("ann")), key_of("ann"))
    proofs = [_PROOF, proof_of(_ANN[_PLACE : _PLACE + 1], [third])]
    kept: list[Proof | None] = []
    for order in (proofs, proofs[::-1]):
        shelf = Shelf(_ANN)
        for proof in order:
            shelf.prove(proof)
        kept.append(shelf.store.proof(_LOG))
        assert _rows(shelf.store) == list(range(_PLACE))
    assert kept[0] == kept[1]


def test_whoever_moves_the_end_of_its_log_again_and_again_keeps_nobody_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FORK_PROOFS_PER_LOG_MAX", 3)
    shelf = Shelf(_ANN)
    proofs = [proof_of(_ANN[seq : seq + 1], [rewritten(_ANN[seq], key_of("ann"))]) for seq in (9, 8, 7, 6)]
    assert [shelf.prove(proof) for proof in proofs[:3]] == [True] * 3
    with pytest.raises(EntryError) as refused:
        shelf.prove(proofs[3])
    assert refused.value.reason == "too_many_proofs"


def _by_another() -> Proof:
    eve = [rewritten(entry, key_of("eve")) for entry in _ANN[_PLACE : _PLACE + 1]]
    return proof_of(eve, _ANN[_PLACE : _PLACE + 1])


@pytest.mark.parametrize(
    ("make", "reason"), [(_by_another, "bad_signature"), (lambda: proof_of(*_two_of("cat")), "unknown_log")]
)
def test_what_proves_nothing_here_changes_nothing(make: Callable[[], Proof], reason: str) -> None:
    shelf = Shelf(_ANN)
    with pytest.raises(EntryError) as refused:
        shelf.prove(make())
    assert refused.value.reason == reason
    assert _rows(shelf.store) == list(range(12))


def _two_of(owner: str) -> tuple[list[Entry], list[Entry]]:
    log = log_of(owner, 2)
    return log[1:], [rewritten(log[1], key_of(owner))]


def test_proof_goes_with_its_log(store: Store) -> None:
    put(store, _ANN)
    store.end_at_fork(_PROOF)
    store.drop([_LOG])
    assert store.proof(_LOG) is None
    put(store, _ANN)
    assert _rows(store) == list(range(12)), "a log that comes back is not forked before that is proven anew"


def test_damaged_proof_is_none_and_comes_again(store: Store, path: Path) -> None:
    put(store, _ANN)
    ended = _end(store, _PROOF)
    with closing(apsw.Connection(str(path))) as raw:
        (blob,) = next(raw.execute("SELECT proof FROM fork"))
        raw.execute("UPDATE fork SET proof = ?", (blob[:-1] + bytes([blob[-1] ^ 1]),))
    assert store.proof(_LOG) is None
    assert store.end_at_fork(_PROOF) == ended


def test_repair_keeps_proofs(store: Store, path: Path) -> None:
    put(store, lean_but_tip(_ANN))
    ended = _end(store, _PROOF)
    with closing(apsw.Connection(str(path))) as raw:
        raw.execute("UPDATE entry SET hash = zeroblob(8) WHERE log = 1 AND seq = 1")  # bob's
    store.close()
    rebuild(path, MESH, survey(path, MESH))
    with Store(path, readonly=True) as repaired:
        assert ended in repaired.logs()
        assert repaired.proof(_LOG) == _PROOF
        assert _faults(repaired) == []


def test_segment_for_a_proof_is_found_in_what_is_stored(store: Store) -> None:
    put(store, lean_but_tip(_ANN))
    assert segment_of(store.read_on(_LOG, _PLACE, bytes_max=2**20)) == lean_but_tip(_ANN)[_PLACE:]
