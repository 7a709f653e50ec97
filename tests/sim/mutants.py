"""`python -m tests.sim.mutants`: break one rule of demesh at a time, and see that the simulation notices.

Each mutant patches one place, and is played under seeds and kinds of faults in which it should show, until a promise is broken.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import trio

from demesh import author, opening
from demesh.errors import StoreError
from demesh.log import chain, vouching
from demesh.log.entry import Entry
from demesh.log.epoch import Continue, Marker, NewEpoch
from demesh.log.store import Carried, Store
from demesh.mesh import sync, sync_puller
from demesh.view.freshness import LogClock
from tests.sim.faults import FAULTS
from tests.sim.scenario import scenario
from tests.sim.simulation import Report, simulate

_NODES = 4
_OFTENER = 3


@dataclass(frozen=True)
class Mutant:
    """`kinds` of faults happen; one of `promises` is expected to break, or any; so many `seeds` are tried."""

    what: str
    apply: Callable[[], Any]
    kinds: frozenset[str]
    promises: tuple[str, ...]
    seeds: int = 12
    minutes: int = 10


def _any_link() -> Any:
    """The chain accepts any entry with the next number, whatever it is linked to."""

    def linked(head: Any, new: list[Entry], taken: Any) -> list[Entry]:
        return new

    return patch.object(chain, "linked_to", linked)


def _always_goes_on() -> Any:
    """The own log goes on after every start."""

    def decide(own_log: Any, **_: Any) -> Continue | NewEpoch:
        return Continue(*own_log) if own_log else NewEpoch("It has no log yet.")

    return patch.object(opening, "decide_epoch", decide)


def _unsigned() -> Any:
    """Entries are taken whoever signed them."""
    return patch.object(vouching, "verify", lambda *_: True)


def _skips_the_last() -> Any:
    """Sync asks for all but the newest entry of a log."""
    offered = sync_puller.Puller.offered

    def skipping(self: sync_puller.Puller, data: bytes) -> None:
        offered(self, data)
        wants = [each for each in self._wants if isinstance(each, sync.Want) and each.first < each.last]
        self._wants.clear()
        self._wants.extend(replace(each, last=each.last - 1) for each in wants)

    return patch.object(sync_puller.Puller, "offered", skipping)


def _publishes_first() -> Any:
    """An entry is published before it is stored."""

    async def write(self: author.Author, contents: Sequence[Any]) -> None:
        wall_ms, up_ms = self._clock.wall_ms(), self._clock.up_ms()
        entries = [
            self._writer.write(
                kind,
                content.payload(up_ms) if isinstance(content, author.Results) else content,
                wall_ms=wall_ms,
                up_ms=up_ms,
                next_ms=self._batch.promise_ms,
            )
            for kind, content in contents
        ]
        await self._publish(entries)
        with trio.CancelScope(shield=True):
            carried = await self._storage.commit(
                entries, public_keys={self._writer.log: self._writer.public_key}, own=True
            )
            self._marker(Marker(self._clock.boot8, self._store_file, self._writer.log, entries[-1].head))
            self._logs.append_own(entries)
            self._logs.end(carried)
        for entry in entries:
            self._shown(entry)

    return patch.object(author.Author, "_write", write)


def _not_durable() -> Any:
    """Own entries are not synced to the disk."""
    commit = Store.commit

    def lazy(self: Store, entries: Sequence[Entry], *, public_keys: Any, own: bool) -> Carried:
        carried = commit(self, entries, public_keys=public_keys, own=False)
        if own and entries[0].seq == 0:
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('own_log', ?)", (entries[0].log,))
        return carried

    return patch.object(Store, "commit", lazy)


def _never_silent() -> Any:
    """Nobody is ever silent."""
    return patch("demesh.view.presence.limits.SILENT_AFTER_SUSPECT_MS", 10**9)


def _impatient() -> Any:
    """Who misses one flush is silent."""
    return patch("demesh.log.batch.Batch.promise_ms", property(lambda self: 2_000))


def _no_gaps_closed() -> Any:
    """Nobody ever pulls."""

    def deaf(self: Any, peer: bytes) -> None:
        pass

    return patch("demesh.mesh.syncer.Syncer.pull_from", deaf)


def _never_closes() -> Any:
    """A recovery closes no incident."""
    return patch("demesh.view.verdict.Tally.proves_not_down", property(lambda self: False))


def _all_is_live() -> Any:
    """History gives signs of life, like what its author has just sent."""
    observe = LogClock.observe

    def live(self: LogClock, boot8: bytes, up_ms: int, received_ms: int, *, first_hand: bool) -> None:
        observe(self, boot8, up_ms, received_ms, first_hand=True)

    return patch.object(LogClock, "observe", live)


def _wall_clock_decides() -> Any:
    """Ages are told by the wall clock."""
    return patch("tests.sim.virtual.MachineClock.monotonic_ms", lambda self: self.wall_ms())


def _ignores_io_errors() -> Any:
    """A node whose store fails goes on without it."""
    commit = Store.commit

    def careless(self: Store, entries: Sequence[Entry], *, public_keys: Any, own: bool) -> None:
        with suppress(StoreError):
            commit(self, entries, public_keys=public_keys, own=own)

    return patch.object(Store, "commit", careless)


_DISK = frozenset({"power", "kill", "restore", "store-lost", "copy", "kill-at-step"})
MUTANTS = {
    "any-link": Mutant("the chain accepts any link", _any_link, frozenset({"forge"}), ()),
    "always-goes-on": Mutant("the own log goes on after every start", _always_goes_on, _DISK, ("One history.",)),
    "unsigned": Mutant("signatures are not verified", _unsigned, frozenset({"forge"}), ("Strangers get nothing.",)),
    "skips-the-last": Mutant(
        "sync skips the last entry", _skips_the_last, frozenset({"deaf", "partition", "kill"}), ()
    ),
    "publishes-first": Mutant(
        "entries are published before they are stored", _publishes_first, frozenset(), ("Durable before shown.",)
    ),
    "not-durable": Mutant("own entries are not synced", _not_durable, frozenset({"power"}), ("Durable before shown.",)),
    "never-silent": Mutant(
        "nobody is ever silent", _never_silent, frozenset({"kill", "power"}), ("No missed alarm.",), minutes=20
    ),
    "impatient": Mutant("a missed flush is silence", _impatient, frozenset(), ("No false alarm.",)),
    "never-pulls": Mutant("nobody ever pulls", _no_gaps_closed, frozenset({"partition", "kill"}), ()),
    "never-closes": Mutant("nothing closes an incident", _never_closes, frozenset(), ("Same answer everywhere.",)),
    "all-is-live": Mutant(
        "history gives signs of life",
        _all_is_live,
        frozenset({"last-words"}),
        ("What is unknown closes nothing.", "No missed alarm."),
        minutes=20,
    ),
    "wall-clock": Mutant("the wall clock decides", _wall_clock_decides, frozenset({"wall-step", "wall-years"}), ()),
    "careless": Mutant(
        "a failing store is passed over", _ignores_io_errors, frozenset({"disk-full", "disk-broken"}), ()
    ),
}


def hunt(mutant: Mutant) -> Report | None:
    """The first run in which the mutant breaks a promise; None if no run does."""
    with mutant.apply():
        for seed in range(1, mutant.seeds + 1):
            # Each kind happens, and often: chance alone would leave most of them out of most runs.
            faults = {kind: FAULTS[kind].mean_seconds / _OFTENER for kind in sorted(mutant.kinds)}
            report = simulate(replace(scenario(seed, _NODES, mutant.minutes, frozenset()), faults=faults))
            if report.violation is not None:
                return report
    return None


def main(names: Sequence[str]) -> int:
    alive = 0
    for name in names or MUTANTS:
        mutant, found = MUTANTS[name], hunt(MUTANTS[name])
        if found is None or (mutant.promises and found.violation and found.violation.promise not in mutant.promises):
            alive += 1
            print(f"ALIVE  {name}: {mutant.what}; {found.violation if found else 'nothing noticed it'}", flush=True)
        else:
            print(f"caught {name}: {mutant.what}; seed {found.scenario.seed}: {found.violation}", flush=True)
    return alive


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
