"""Logs read back from an export: what is held was signed by its author, or there is a sentence on what is wrong."""

import io
import json
from base64 import b64encode
from collections.abc import Sequence

import pytest

from demesh import limits
from demesh.errors import UsageError
from demesh.log.entry import Entry, Kind, encode_envelope
from demesh.log.exported import Exported
from tests.log.builders import MESH, OTHER_MESH, Pen, bodies, damaged, key_of, lean_but_tip, rewritten, stripped

_PEN = Pen("ann")
_ENTRIES = _PEN.fill(40)
_LEAN = lean_but_tip(_ENTRIES)


def _jsonl(entries: Sequence[Entry]) -> bytes:
    return b"".join(
        json.dumps({"envelope": b64encode(encode_envelope(each)).decode()}).encode() + b"\n" for each in entries
    )


def _cbor(entries: Sequence[Entry]) -> bytes:
    return b"".join(map(encode_envelope, entries))


def _read(*exports: bytes, mesh_id: bytes = MESH) -> Exported:
    return Exported(mesh_id, [(f"file{number}", io.BytesIO(each)) for number, each in enumerate(exports)])


@pytest.mark.parametrize("write", [_jsonl, _cbor])
def test_what_was_exported_is_held_as_it_was(write) -> None:
    held = _read(write(_LEAN))
    (state,) = held.logs()
    assert (state.log, state.public_key, state.head, state.pruned_to) == (_PEN.log, _PEN.public_key, _LEAN[-1].head, 0)
    assert bodies(held.read(_PEN.log, 3, 7)[0]) == bodies(_LEAN[3:8])
    assert bodies(held.read_on(_PEN.log, 38, bytes_max=2**20)) == bodies(_LEAN[38:])
    assert len(held.read_on(_PEN.log, 0, bytes_max=_LEAN[0].size + _LEAN[1].size)) == 2
    assert held.read_but_results(_PEN.log, 0, 40, bytes_max=2**20) == _LEAN[:1]
    assert held.newest(_PEN.log, Kind.HELLO, before=40) == _LEAN[:1]
    assert held.wall_ms_at(_PEN.log, 5) == _LEAN[5].wall_ms
    assert held.wall_ms_at(_PEN.log, 40) is None


def test_several_files_in_any_order_are_one_export() -> None:
    held = _read(_jsonl(_LEAN[20:]), _cbor(_LEAN[:25]), _jsonl(_ENTRIES[:3]))
    assert bodies(held.read(_PEN.log, 0, 39)[0]) == bodies(_LEAN)


def test_what_is_kept_of_a_shortened_log_stands_by_itself() -> None:
    held = _read(_cbor([_LEAN[0], *_LEAN[30:]]))
    assert held.logs()[0].pruned_to == 30
    assert held.wall_ms_at(_PEN.log, 1) == _LEAN[30].wall_ms


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (
            [*_ENTRIES[:5], _ENTRIES[5]._replace(signature=damaged(_ENTRIES[5].signature))],
            "entry 5: its signature is wrong",
        ),
        ([*_ENTRIES[:5], rewritten(_ENTRIES[5], key_of("bob"))], "entry 5: its signature is wrong"),
        ([*_ENTRIES[:5], rewritten(_ENTRIES[5], key_of("ann")), _ENTRIES[6]], "entry 6: its link is not the hash"),
        ([_ENTRIES[0], *map(stripped, _ENTRIES[1:5])], "entry 4: no signature vouches for it; is the export whole"),
        ([_ENTRIES[0], stripped(_ENTRIES[1]), _ENTRIES[3]], "entry 1: no signature vouches for it"),
        ([stripped(_ENTRIES[0]), *_ENTRIES[1:]], "entry 0: no signature vouches for it"),
        (_ENTRIES[1:], "its hello is not in the export"),
        ([*_ENTRIES, rewritten(_ENTRIES[5], key_of("ann"))], "entry 5: there are two different entries of this place"),
        ([], "There is no entry"),
    ],
)
def test_what_nobody_vouches_for_is_refused(entries: Sequence[Entry], says: str) -> None:
    for write in (_jsonl, _cbor):
        with pytest.raises(UsageError, match=says):
            _read(write(entries))


def test_entries_of_another_mesh_are_refused() -> None:
    with pytest.raises(UsageError, match="or it is of another mesh than 01020304"):
        _read(_cbor(_ENTRIES), mesh_id=OTHER_MESH)


@pytest.mark.parametrize(
    "bytes_",
    [
        b"hello\n",
        b'{"envelope": "!!"}\n',
        b'{"envelope": 7}\n',
        b"[1]\n",
        b"[" * 100_000,
        b"\x82",
        b"\x82\x41",
        b"\x82\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x83\x01\x02\x03",
        _cbor(_ENTRIES)[:-1],
        _cbor(_ENTRIES) + b"\x00",
    ],
)
def test_what_is_no_export_is_refused_in_a_sentence(bytes_: bytes) -> None:
    with pytest.raises(UsageError, match="file0 is no export of logs, or is damaged"):
        _read(bytes_)


def test_too_much_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EXPORT_ENTRIES_MAX", 39)
    with pytest.raises(UsageError, match="more than 39 entries; export less with `demesh log export --since`"):
        _read(_cbor(_ENTRIES))
