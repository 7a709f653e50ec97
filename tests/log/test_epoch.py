import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from demesh.home import Home, MarkerFile
from demesh.log.epoch import Continue, Marker, NewEpoch, decide_epoch
from demesh.log.head import Head
from demesh.log.store import Store
from tests.log.builders import BOOT8, MESH, log_of, put

_LOG = bytes(16)
_HEAD = Head(9, b"9" * 32)
_HASHES = {seq: str(seq).encode() * 32 for seq in range(10)}
_MARKER = Marker(BOOT8, "1:2", _LOG, _HEAD)


def _decide(marker: Marker | None, own_log: tuple[bytes, Head] | None = (_LOG, _HEAD)) -> Continue | NewEpoch:
    return decide_epoch(own_log, marker, BOOT8, "1:2", _HASHES.get)


@pytest.mark.parametrize("marked_seq", [9, 8, 0])
def test_log_goes_on_when_the_store_has_all_that_was_published(marked_seq: int) -> None:
    marker = replace(_MARKER, head=Head(marked_seq, _HASHES[marked_seq]))
    assert _decide(marker) == Continue(_LOG, _HEAD)


@pytest.mark.parametrize("marker", [None, replace(_MARKER, boot8=b"another1")], ids=["no marker", "another boot"])
def test_without_a_marker_of_this_boot_a_new_epoch_begins(marker: Marker | None) -> None:
    decision = _decide(marker)
    assert isinstance(decision, NewEpoch)
    assert decision.previous == (_LOG, _HEAD)


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


def _decide_for(path: Path, marker: Marker | None) -> Continue | NewEpoch:
    with Store(path, mesh_id=MESH) as store:
        own = store.own_log()
        assert own
        return decide_epoch(
            own_log=own,
            marker=marker,
            boot8=BOOT8,
            store_file=store.file_identity(),
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


def test_unreadable_marker_counts_as_none(tmp_path: Path) -> None:
    markers = MarkerFile(tmp_path, Home(tmp_path))
    markers.write(_MARKER)
    assert markers.read() == _MARKER
    (file,) = tmp_path.glob("*.marker")
    for text in ("", "{}", "[]", '{"boot8": "zz"}', file.read_text()[:-20]):
        file.write_text(text)
        assert markers.read() is None
