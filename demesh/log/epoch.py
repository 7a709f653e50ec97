"""Whether the own log goes on after a start, or a new epoch begins.

A node must never sign two different entries for one place in its log. Going on with a store that is older than what was
once published would do just that: a restored backup, a rolled-back machine, a disk copied to a second one. So the log goes
on only where that cannot be. Everything else begins a new epoch: a new log of the same key, which costs a hello and a
plan, and which loses nothing, since name, presence and history belong to the key.

The proof is a marker in the runtime directory (see `demesh.home`), written after an entry is durable and before it is
published. It holds for the same boot, the same store file, and a store that has the marked entry. Without it nothing
in the store can tell how much was published since the store was in this state, so a new epoch begins.

Stated limit: turning back a running machine's memory and disk together cannot be noticed.
"""

from collections.abc import Callable
from dataclasses import dataclass

from demesh.log.head import Head


@dataclass(frozen=True, slots=True)
class Marker:
    """What was last published, and where. `store_file` identifies the file that `log.db` was (device and inode)."""

    boot8: bytes
    store_file: str
    log: bytes
    head: Head


@dataclass(frozen=True, slots=True)
class Continue:
    log: bytes
    head: Head


@dataclass(frozen=True, slots=True)
class NewEpoch:
    """`why` is a sentence for the diagnostic log."""

    why: str
    previous: tuple[bytes, Head] | None = None


def decide_epoch(
    own_log: tuple[bytes, Head] | None,
    marker: Marker | None,
    boot8: bytes,
    store_file: str,
    hash_at: Callable[[int], bytes | None],
) -> Continue | NewEpoch:
    """Decide for the newest epoch in the store, `own_log`.

    `hash_at` reads the hash of that epoch's entry at a sequence number.
    """
    if own_log is None:
        return NewEpoch("This node has no log yet.")
    log, head = own_log
    if marker is None or marker.boot8 != boot8:
        return NewEpoch(
            "The machine was restarted, or the data came from elsewhere; peers may know more of the old log.", own_log
        )
    if marker.store_file != store_file:
        return NewEpoch("The store is another file than the one this node wrote (a restored or copied one).", own_log)
    if marker.log != log or marker.head.seq > head.seq or hash_at(marker.head.seq) != marker.head.hash:
        return NewEpoch("The store is older than what this node has published (a restored backup).", own_log)
    return Continue(log, head)
