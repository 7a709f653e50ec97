from collections.abc import Generator, Sequence
from itertools import groupby
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh import limits
from demesh.log.audit import audit
from demesh.log.chain import Logs
from demesh.log.codec import decode, encode, values
from demesh.log.entry import Entry, Kind, decode_body, sign
from demesh.log.store import Store
from demesh.mesh.sync_server import lean
from tests.log.builders import (
    MESH,
    NO_LOG,
    Pen,
    Shelf,
    bodies,
    fields_of,
    generated,
    key_of,
    lean_but_tip,
    log_of,
    public_key_of,
    put,
)

_EVERY, _NEWEST = limits.SIGNED_EVERY, limits.SIGNED_NEWEST


@pytest.fixture
def store(tmp_path: Path) -> Generator[Store]:
    with Store(tmp_path / "log.db", mesh_id=MESH) as store:
        yield store


def _grow(store: Store, entries: Sequence[Entry]) -> list[Entry]:
    """What is stored of `entries`, which came one by one."""
    for entry in entries:
        store.commit([entry], public_keys={entry.log: public_key_of("ann")}, own=True)
    found, bad = store.read(entries[0].log, 0, len(entries))
    assert bad == []
    (state,) = store.logs()
    assert list(audit(MESH, state, found)) == []
    assert bodies(found) == bodies(entries)
    return found


def _longer(entry: Entry) -> Entry:
    """The same with a field that a later version appended."""
    body = encode([*fields_of(decode(entry.body)), 7])
    return decode_body(body, sign(key_of("ann"), MESH, body))


def _unsigned(entries: Sequence[Entry]) -> set[int]:
    return {entry.seq for entry in entries if not entry.signature}


def test_results_lose_their_signature_but_for_the_newest_and_one_in_so_many(store: Store) -> None:
    found = _grow(store, log_of("ann", 4 * _EVERY + 1))
    stripped = set(range(4 * _EVERY - _NEWEST)) - {seq * _EVERY for seq in range(4)}
    assert _unsigned(found) == stripped


def test_the_end_of_a_log_is_signed_at_every_moment(store: Store) -> None:
    entries = log_of("ann", 3 * _EVERY)
    for count, entry in enumerate(entries, start=1):
        store.commit([entry], public_keys={entry.log: public_key_of("ann")}, own=True)
        newest, _ = store.read(entry.log, max(0, count - _NEWEST), count)
        assert _unsigned(newest) == set()


def test_nothing_but_results_is_stripped(store: Store) -> None:
    pen = Pen("ann")
    pen.hello()
    while len(pen.entries) < 3 * _EVERY:
        pen.results()
        pen.write(Kind.ROLLUP, values([]))
        pen.write(Kind.EVENT, values([]))
    found = _grow(store, pen.entries)
    stripped = [entry for entry in found if not entry.signature]
    assert len(stripped) > _EVERY / 2
    assert {entry.kind for entry in stripped} == {Kind.RESULTS}


def test_an_entry_without_signature_strips_nothing(store: Store) -> None:
    entries = log_of("ann", 4 * _NEWEST)
    put(store, entries[: 3 * _NEWEST])
    before = store.read(entries[0].log, 0, 99)[0]
    page = lean_but_tip(entries[3 * _NEWEST :])
    store.commit(page, public_keys={}, own=False)
    assert store.read(entries[0].log, 0, 99)[0] == [*before, *page]


def test_so_many_entries_of_any_size_fit_a_page() -> None:
    assert limits.SIGNED_EVERY * limits.ENTRY_BYTES_MAX <= limits.SYNC_PAGE_BYTES_MAX
    assert limits.SIGNED_EVERY % limits.SIGNED_NEWEST == 0


_CHUNKS = st.lists(st.tuples(st.sampled_from([1, 2, 5, 9, 31, 40, 70]), st.booleans()), min_size=1, max_size=12)
_LONG = log_of("bob", 12 * 70)


@generated
@given(chunks=_CHUNKS)
def test_unsigned_entries_in_a_row_stay_few_or_as_they_came(chunks: list[tuple[int, bool]]) -> None:
    """`chunks`: how many entries came at once, and whether only the last of them was signed."""
    shelf, at = Shelf(), 0
    came: list[range] = []
    for count, is_lean in chunks:
        new = _LONG[at : at + count]
        came.append(range(at + (at == 0), at + count - 1) if is_lean else range(0))
        assert shelf.take(lean_but_tip(new) if is_lean else new).refusals == []
        at += count
    stored = shelf.stored(_LONG[0].log)
    (state,) = shelf.logs.states()
    assert list(audit(MESH, state, stored)) == []
    for is_signed, run in groupby(stored, key=lambda entry: bool(entry.signature)):
        seqs = [entry.seq for entry in run]
        assert is_signed or len(seqs) < _EVERY or range(seqs[0], seqs[-1] + 1) in came


def test_whoever_asks_gets_all_of_a_stripped_log_from_wherever_it_has_come(store: Store) -> None:
    entries = log_of("ann", 5 * _EVERY)
    _grow(store, entries)
    for first in range(1, len(entries)):
        logs = Logs(MESH, NO_LOG)
        assert logs.offer(entries[:first]).refusals == []
        at = first
        while at < len(entries):
            taken = logs.offer(lean(store.read(entries[0].log, at, min(len(entries), at + _EVERY) - 1)[0]))
            assert taken.refusals == []
            assert taken.accepted
            at += len(taken.accepted)


def test_of_a_body_the_front_that_all_of_a_log_have_is_not_stored(store: Store) -> None:
    ann = log_of("ann", 3)
    put(store, ann)
    db = apsw.Connection(str(store.path))
    stored = [body for (body,) in db.execute("SELECT body FROM entry ORDER BY seq")]
    assert stored == [entry.body[19:] for entry in ann]
    with db:
        db.execute("UPDATE entry SET body = ? WHERE seq = 1", (ann[1].body,))
    db.close()
    assert store.read(ann[0].log, 0, 9) == (ann, [])


def test_body_of_more_fields_than_this_version_knows_is_kept_byte_for_byte(store: Store) -> None:
    (ann,) = log_of("ann", 1)
    longer = _longer(ann)
    put(store, [longer])
    assert store.read(ann.log, 0, 9) == ([longer], [])
