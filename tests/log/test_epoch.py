import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from demesh.home import Home, MarkerFile
from demesh.log.epoch import Ask, Continue, Decision, Marker, NewEpoch, decide_epoch, judge
from demesh.log.head import Head
from demesh.log.store import Store
from tests.log.builders import BOOT8, MESH, log_of, put

_LOG = bytes(16)
_HEAD = Head(9, b"9" * 32)
_HASHES = {seq: str(seq).encode() * 32 for seq in range(10)}
_MARKER = Marker(BOOT8, "1:2", _LOG, _HEAD)


def _decide(
    marker: Marker | None, own_log: tuple[bytes, Head] | None = (_LOG, _HEAD), in_its_place: bool = True
) -> Decision:
    return decide_epoch(own_log, marker, BOOT8, "1:2", in_its_place, _HASHES.get)


@pytest.mark.parametrize("marked_seq", [9, 8, 0])
def test_log_goes_on_when_the_store_has_all_that_was_published(marked_seq: int) -> None:
    marker = replace(_MARKER, head=Head(marked_seq, _HASHES[marked_seq]))
    assert _decide(marker) == Continue(_LOG, _HEAD)


_WITHOUT = pytest.mark.parametrize(
    "marker", [None, replace(_MARKER, boot8=b"another1")], ids=["no marker", "another boot"]
)


@_WITHOUT
def test_without_a_marker_of_this_boot_the_members_are_asked(marker: Marker | None) -> None:
    assert _decide(marker) == Ask(_LOG, _HEAD)


@_WITHOUT
def test_store_that_came_from_elsewhere_begins_a_new_epoch_and_nobody_is_asked(marker: Marker | None) -> None:
    decision = _decide(marker, in_its_place=False)
    assert isinstance(decision, NewEpoch)
    assert decision.previous == (_LOG, _HEAD)


_ASK, _READERS = Ask(_LOG, _HEAD), [b"b", b"c", b"d", b"e"]


@pytest.mark.parametrize(
    ("agree", "goes_on", "in_the_end"),
    [
        ("", None, False),
        ("b", None, False),
        ("bc", None, False),
        ("bcd", True, True),
        ("bcde", True, True),
        ("bcx", None, False),  # one whom nobody asked says nothing of what the others know
    ],
)
def test_log_goes_on_once_a_majority_knows_no_more_of_it(agree: str, goes_on: bool | None, in_the_end: bool) -> None:
    said = {each.encode(): True for each in agree}
    judged = judge(_ASK, _READERS, said)
    assert (judged and judged == Continue(_LOG, _HEAD)) == goes_on
    over = judge(_ASK, _READERS, said, over=True)
    assert (over == Continue(_LOG, _HEAD)) == in_the_end
    if not in_the_end:
        assert isinstance(over, NewEpoch)
        assert over.previous == (_LOG, _HEAD)


@pytest.mark.parametrize("agree", ["", "b", "bcde"])
@pytest.mark.parametrize("who", ["c", "x"])
def test_one_peer_that_knows_more_ends_the_log_whatever_the_others_say(agree: str, who: str) -> None:
    said = {**{each.encode(): True for each in agree}, who.encode(): False}
    assert isinstance(judge(_ASK, _READERS, said), NewEpoch)


def test_node_that_knows_nobody_begins_a_new_epoch_without_waiting() -> None:
    assert isinstance(judge(_ASK, [], {}), NewEpoch)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"store_file": "1:3"}, "another file"),
        ({"log": b"another log 1234"}, "older than"),
        ({"head": Head(10, b"10" * 16)}, "older than"),
        ({"head": Head(9, b"another hash" + bytes(20))}, "older than"),
        ({"head": Head(8, _HASHES[9])}, "older than"),
    ],
    ids=["copied file", "another log", "later head", "another head", "another entry below the head"],
)
def test_store_that_is_not_what_was_published_begins_a_new_epoch(change, why: str) -> None:
    decision = _decide(replace(_MARKER, **change))
    assert isinstance(decision, NewEpoch)
    assert decision.previous == (_LOG, _HEAD)
    assert why in decision.why


@pytest.mark.parametrize("marker", [None, _MARKER])
def test_node_without_a_log_begins_one(marker: Marker | None) -> None:
    decision = _decide(marker, own_log=None)
    assert isinstance(decision, NewEpoch)
    assert decision.previous is None


def _decide_for(path: Path, marker: Marker | None) -> Decision:
    with Store(path, mesh_id=MESH) as store:
        own = store.own_log()
        assert own
        return decide_epoch(
            own_log=own,
            marker=marker,
            boot8=BOOT8,
            store_file=store.file_identity(),
            in_its_place=store.settled_at() == store.place("machine"),
            hash_at=lambda seq: store.hash_at(own[0], seq),
        )


def test_restored_backup_starts_a_new_epoch(tmp_path: Path) -> None:
    path, backup, entries = tmp_path / "log.db", tmp_path / "backup.db", log_of("ann", 4)
    markers = MarkerFile(tmp_path, Home(tmp_path))
    assert markers.read() is None
    with Store(path, mesh_id=MESH) as store:
        put(store, entries[:3], own=True)
    shutil.copy(path, backup)
    with Store(path, mesh_id=MESH) as store:
        store.commit(entries[3:], public_keys={}, own=True)
        markers.write(Marker(BOOT8, store.file_identity(), entries[0].log, entries[3].head))
    assert _decide_for(path, markers.read()) == Continue(entries[0].log, entries[3].head)

    shutil.copyfile(backup, path)  # into the same file: only the missing entry tells
    restored = _decide_for(path, markers.read())
    assert isinstance(restored, NewEpoch)
    assert restored.previous == (entries[0].log, entries[2].head)


def test_store_knows_its_place_and_no_copy_has_it(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with Store(path, mesh_id=MESH) as store:
        put(store, log_of("ann", 3), own=True)
        assert store.settled_at() is None
        store.settle(store.place("machine"))
        store.copy_to(tmp_path / "backup.db")
    assert isinstance(_decide_for(path, None), Ask)
    shutil.copy(path, tmp_path / "copy.db")
    assert isinstance(_decide_for(tmp_path / "copy.db", None), NewEpoch), "another inode"
    with Store(tmp_path / "backup.db", readonly=True) as backup:
        assert backup.settled_at() is None, "wherever it is put, it is a backup"
    with Store(path, readonly=True) as store:
        assert store.settled_at() != store.place("another machine")


def test_unreadable_marker_counts_as_none(tmp_path: Path) -> None:
    markers = MarkerFile(tmp_path, Home(tmp_path))
    markers.write(_MARKER)
    assert markers.read() == _MARKER
    (file,) = tmp_path.glob("*.marker")
    for text in ("", "{}", "[]", '{"boot8": "zz"}', file.read_text()[:-20]):
        file.write_text(text)
        assert markers.read() is None
