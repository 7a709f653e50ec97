"""Checks a stored log from its first kept entry to its head: bytes, links, signatures. Pure; nothing is evaluated.

Below `pruned_to` entries may be missing, so each that is there must be vouched for by a signature of its own; from there on
nothing may be missing, and a signature may vouch for the results and rollups in front of it, or the proof of a fork for those at
the end. A log that is whole begins with its hello.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from demesh.log.entry import KINDS_UNSIGNED, BadRow, Entry, Kind, verify
from demesh.log.hello import is_hello_of
from demesh.log.state import LogState

_UNVOUCHED = "no later signature vouches for it"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one entry of a log, as a sentence."""

    log: bytes
    seq: int
    sentence: str


def audit(mesh_id: bytes, state: LogState, rows: Iterable[Entry | BadRow]) -> Iterator[Fault]:
    """Every fault in `rows`, which are all rows of the log in order. A log without faults yields nothing."""
    before: Entry | None = None
    expected_seq = state.pruned_to
    unvouched: Entry | None = None
    for row in rows:
        is_kept = row.seq < state.pruned_to
        is_missing = not is_kept and row.seq != expected_seq
        if is_missing:
            yield Fault(state.log, expected_seq, f"entries {expected_seq} to {row.seq - 1} are missing")
        if not is_kept:
            expected_seq = row.seq + 1
        if unvouched is not None and (is_missing or isinstance(row, BadRow)):
            yield Fault(state.log, unvouched.seq, _UNVOUCHED)  # no link leads over the break
            unvouched = None
        if isinstance(row, BadRow):
            yield Fault(state.log, row.seq, "the stored bytes are damaged")
            before = None
            continue
        if before is not None and row.seq == before.seq + 1 and row.prev != before.hash:
            yield Fault(state.log, row.seq, "its link is not the hash of the entry before it")
        if is_kept and row.kind == Kind.RESULTS:
            yield Fault(state.log, row.seq, "it holds results, which are not kept here")
        if row.seq == 0 and not is_kept and not is_hello_of(state.public_key, row):
            yield Fault(state.log, 0, "the log does not begin with its hello")
        if row.signature:
            unvouched = None
            if not verify(state.public_key, mesh_id, row):
                yield Fault(state.log, row.seq, "its signature is wrong")
        elif row.kind in KINDS_UNSIGNED and not is_kept:
            unvouched = unvouched or row
        else:
            yield Fault(state.log, row.seq, "its signature is missing")
        before = row
    is_proven = before is not None and state.fork is not None and before.hash == state.fork.prev
    if unvouched is not None and not is_proven:
        yield Fault(state.log, unvouched.seq, _UNVOUCHED)
    is_other = before is not None and before.seq == state.head.seq and before.hash != state.head.hash
    if expected_seq != state.head.seq + 1 or is_other:
        yield Fault(state.log, state.head.seq, "the log does not end at its recorded head")
