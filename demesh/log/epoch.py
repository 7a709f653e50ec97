"""Whether the own log goes on after a start, or a new epoch begins.

A node must never sign two different entries for one place in its log. Going on with a store that is older than what was
once published would do just that: a restored backup, a rolled-back machine, a disk copied to a second one. So the log goes
on only where that cannot be. Everything else begins a new epoch: a new log of the same key, which costs a hello and a
plan, and which loses nothing, since name, presence and history belong to the key.

    a marker of this boot, file and head      the log goes on
    no marker, the store where it was         the members that the store knows are asked (`judge`)
    anything else                             a new epoch

The *marker* lies in the runtime directory (see `demesh.home`) and is written after an entry is durable and before it is
published, so it proves that the store has all that was published in this boot. After a reboot it is gone. Then nothing on
this machine can tell whether the store was rolled back meanwhile, but those to whom the log was published can: it goes on
once a majority of them says, within START_ASK_SECONDS_MAX, that they hold nothing of this key that the store lacks. One that
holds more ends it at once. A node that knows nobody begins a new epoch: a store from before its first peer looks the same.

Stated limits: turning back a running machine's memory and disk together cannot be noticed; nor can a rolled-back disk of which
only a minority knows more that does not answer; nor two copies of one disk, on files of one identity, started in the same moment.
"""

from collections.abc import Callable, Collection, Mapping
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
class Ask:
    """The log may go on if the members that were its readers know no more of it."""

    log: bytes
    head: Head


@dataclass(frozen=True, slots=True)
class NewEpoch:
    """`why` is a sentence for the diagnostic log."""

    why: str
    previous: tuple[bytes, Head] | None = None


Decision = Continue | Ask | NewEpoch


def decide_epoch(
    own_log: tuple[bytes, Head] | None,
    marker: Marker | None,
    boot8: bytes,
    store_file: str,
    in_its_place: bool,
    hash_at: Callable[[int], bytes | None],
) -> Decision:
    """Decide for the newest epoch in the store, `own_log`.

    `in_its_place`: the store is the file, on the machine, that this log was written in (`demesh.log.store.Store.place`).
    `hash_at` reads the hash of that epoch's entry at a sequence number.
    """
    if own_log is None:
        return NewEpoch("This node has no log yet.")
    log, head = own_log
    if marker is None or marker.boot8 != boot8:
        if not in_its_place:
            return NewEpoch("The store was brought here from elsewhere, or from a backup.", own_log)
        return Ask(log, head)
    if marker.store_file != store_file:
        return NewEpoch("The store is another file than the one this node wrote (a restored or copied one).", own_log)
    if marker.log != log or marker.head.seq > head.seq or hash_at(marker.head.seq) != marker.head.hash:
        return NewEpoch("The store is older than what this node has published (a restored backup).", own_log)
    return Continue(log, head)


def judge(
    ask: Ask, readers: Collection[bytes], agree: Mapping[bytes, bool], over: bool = False
) -> Continue | NewEpoch | None:
    """What the answers so far come to; None: wait for more, unless the time is `over`.

    `readers` are the keys of the members to ask, `agree` says of each that has answered whether it knows nothing of this node
    that the store lacks.
    """
    if not all(agree.values()):
        return NewEpoch(
            "A peer knows more of this node's log than the store does (a restored disk).", (ask.log, ask.head)
        )
    if not readers:
        return NewEpoch(
            "The machine was restarted, and no member is known who could vouch for the old log.", (ask.log, ask.head)
        )
    answered = sum(key in agree for key in readers)
    if 2 * answered > len(readers):
        return Continue(ask.log, ask.head)
    if over:
        said = f"The machine was restarted, and {answered} of {len(readers)} members could say in time how far the old log went."
        return NewEpoch(said, (ask.log, ask.head))
    return None
