"""Logs as an export has them (`demesh log export`, jsonl or cbor): read back, verified, and held like a store's.

Guarantees: what is held was signed by the owner of the log it stands in, for the mesh that is given, or leads by hash to such
an entry. A log's owner is told by its hello, whose key makes the log's id; so an export without a log's hello is refused, and so
is one in which anything is wrong. Where it was cut, nothing tells what is missing.

Entries are kept as bytes and decoded as they are asked for.
"""

import json
from base64 import b64decode
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from demesh import limits
from demesh.errors import EntryError, UsageError
from demesh.log.entry import KINDS_UNSIGNED, BadRow, Entry, Kind, decode_body, decode_envelope, verify
from demesh.log.hello import read_hello
from demesh.log.state import LogState

_LINE_BYTES_MAX = 16 * limits.ENTRY_BYTES_MAX  # what an entry says takes more room than its bytes
_ENVELOPE_HEAD = b"\x82"  # an array of two


@dataclass(frozen=True, slots=True)
class _Kept:
    seq: int
    kind: int
    wall_ms: int
    body: bytes
    signature: bytes

    def entry(self) -> Entry:
        return decode_body(self.body, self.signature)


@dataclass(slots=True)
class _Log:
    public_key: bytes | None = None
    kept: dict[int, _Kept] = field(default_factory=dict[int, _Kept])
    seqs: list[int] = field(default_factory=list[int])


class Exported:
    """The logs of one or more exports; see `demesh.log.held.Held`."""

    def __init__(self, mesh_id: bytes, sources: Iterable[tuple[str, BinaryIO]]) -> None:
        """`sources` are what was exported, each with what it is called. Raises UsageError with what is wrong where."""
        self._mesh_id = mesh_id
        self._logs: dict[bytes, _Log] = {}
        self._number = 0
        for name, source in sources:
            for entry in _entries(name, source):
                self._add(name, entry)
        if not self._logs:
            raise UsageError("There is no entry in what was exported.")
        self._states = [self._verified(log, held) for log, held in sorted(self._logs.items())]

    def mesh_id(self) -> bytes:
        return self._mesh_id

    def logs(self) -> Sequence[LogState]:
        return self._states

    def wall_ms_at(self, log: bytes, seq: int) -> int | None:
        return next((each.wall_ms for each in self._from(log, seq)), None)

    def read(self, log: bytes, first: int, last: int) -> tuple[list[Entry], list[BadRow]]:
        found: list[Entry] = []
        for each in self._from(log, first):
            if each.seq != first + len(found) or each.seq > last:
                break
            found.append(each.entry())
        return found, []

    def read_on(self, log: bytes, first: int, *, bytes_max: int) -> list[Entry]:
        return _page(self._from(log, first), bytes_max)

    def read_but_results(self, log: bytes, first: int, below: int, *, bytes_max: int) -> list[Entry]:
        others = (each for each in self._from(log, first) if each.kind != Kind.RESULTS and each.seq < below)
        return _page(others, bytes_max)

    def newest(self, log: bytes, kind: Kind, *, before: int, count: int = 1) -> list[Entry]:
        held = self._logs[log]
        found: list[Entry] = []
        for index in range(bisect_left(held.seqs, before) - 1, -1, -1):
            each = held.kept[held.seqs[index]]
            if len(found) == count:
                break
            if each.kind == kind:
                found.append(each.entry())
        return found[::-1]

    def _from(self, log: bytes, first: int) -> Iterator[_Kept]:
        held = self._logs[log]
        for index in range(bisect_left(held.seqs, first), len(held.seqs)):
            yield held.kept[held.seqs[index]]

    def _add(self, name: str, entry: Entry) -> None:
        held = self._logs.setdefault(entry.log, _Log())
        known = held.kept.get(entry.seq)
        if known is not None and known.body != entry.body:
            raise UsageError(f"{name}: {_place(entry.log, entry.seq)}: there are two different entries of this place.")
        if known is None or not known.signature:
            held.kept[entry.seq] = _Kept(entry.seq, entry.kind, entry.wall_ms, entry.body, entry.signature)
        self._number += known is None
        if self._number > limits.EXPORT_ENTRIES_MAX:
            raise UsageError(
                f"{name}: more than {limits.EXPORT_ENTRIES_MAX} entries; export less with `demesh log export --since`."
            )
        if entry.kind == Kind.HELLO and held.public_key is None:
            try:
                held.public_key = read_hello(entry).public_key
            except EntryError:
                return  # perhaps another hello tells

    def _verified(self, log: bytes, held: _Log) -> LogState:
        """The state of a log all of whose entries are vouched for: read from the last to the first, as later ones vouch."""
        if held.public_key is None:
            raise UsageError(f"log {log.hex()[:8]}: its hello is not in the export.")
        held.seqs = sorted(held.kept)
        after: Entry | None = None
        whole_from = held.seqs[-1]
        for seq in reversed(held.seqs):
            entry = held.kept[seq].entry()
            follows = after is not None and after.seq == seq + 1
            if after is not None and follows and after.prev != entry.hash:
                raise UsageError(f"{_place(log, after.seq)}: its link is not the hash of the entry before it.")
            if entry.signature:
                if not verify(held.public_key, self._mesh_id, entry):
                    raise UsageError(
                        f"{_place(log, seq)}: its signature is wrong, or it is of another mesh than {self._mesh_id.hex()[:8]}."
                    )
            elif not (follows and entry.kind in KINDS_UNSIGNED):
                raise UsageError(f"{_place(log, seq)}: no signature vouches for it; is the export whole?")
            if follows and whole_from == seq + 1:
                whole_from = seq
            after = entry
        return LogState(log, held.public_key, held.kept[held.seqs[-1]].entry().head, whole_from)


def _page(kept: Iterator[_Kept], bytes_max: int) -> list[Entry]:
    found: list[Entry] = []
    size = 0
    for each in kept:
        entry = each.entry()
        size += entry.size
        if found and size > bytes_max:
            break
        found.append(entry)
    return found


def _place(log: bytes, seq: int) -> str:
    return f"log {log.hex()[:8]} entry {seq}"


def _entries(name: str, source: BinaryIO) -> Iterator[Entry]:
    """Each entry of an export, of whichever format."""
    begin = source.read(1)
    try:
        if begin == _ENVELOPE_HEAD:
            yield from _of_cbor(begin, source)
        else:
            yield from _of_lines(begin, source)
    except (EntryError, ValueError, RecursionError) as error:
        raise UsageError(f"{name} is no export of logs, or is damaged: {error}.") from None


def _of_lines(begin: bytes, source: BinaryIO) -> Iterator[Entry]:
    number = 0
    while line := begin + source.readline(_LINE_BYTES_MAX):
        begin, number = b"", number + 1
        if not line.strip():
            continue
        record: Any = json.loads(line)
        envelope = cast(dict[str, Any], record).get("envelope") if isinstance(record, dict) else None
        if not isinstance(envelope, str):
            raise ValueError(f"line {number} has no entry")
        yield decode_envelope(b64decode(envelope, validate=True))


def _of_cbor(begin: bytes, source: BinaryIO) -> Iterator[Entry]:
    """An envelope is an array of two byte strings: their heads say how long it is."""
    while begin:
        if begin != _ENVELOPE_HEAD:
            raise ValueError("an envelope begins with something else")
        envelope = begin
        for _ in range(2):
            head = _exactly(source, 1)
            kind, short = head[0] >> 5, head[0] & 31
            longer = {24: 1, 25: 2}.get(short, 0)
            if kind != 2 or (short > 23 and not longer):
                raise ValueError("an envelope is not two byte strings")
            length_bytes = _exactly(source, longer)
            length = int.from_bytes(length_bytes, "big") if longer else short
            envelope += head + length_bytes + _exactly(source, length)
        yield decode_envelope(envelope)
        begin = source.read(1)


def _exactly(source: BinaryIO, number: int) -> bytes:
    found = source.read(number)
    if len(found) != number:
        raise ValueError("it ends in the middle of an entry")
    return found
