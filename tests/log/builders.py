"""What tests of logs and of the mesh build on: a clock that is told the time, logs of a given length, storage in memory."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import trio
from hypothesis import settings
from nacl.signing import SigningKey
from prometheus_client import REGISTRY

from demesh.log.bye import Bye
from demesh.log.chain import Logs
from demesh.log.codec import Value
from demesh.log.entry import NO_LOG as NO_LOG
from demesh.log.entry import BadRow, Entry, Kind, decode_body, encode_body, log_id, sign
from demesh.log.evidence import Proof
from demesh.log.hello import Hello
from demesh.log.results import Result, Results
from demesh.log.store import Carried, Store
from demesh.log.taken import Taken
from demesh.log.writer import Writer
from demesh.mesh.sync import Adoption
from demesh.outcome import Outcome
from demesh.pulse import Waiting
from demesh.view.history_storage import ThreadHistoryStorage

MESH = bytes(range(16))
OTHER_MESH = bytes(range(1, 17))
BOOT8 = b"bootboot"
START_WALL_MS = 1_700_000_000_000
START_UP_MS = 5_000_000
NEXT_MS = 25_000
"""The own log of a node that only listens."""

Notes = list[tuple[str, Any]]
"""What happened in which order: a step, and what it was about."""

generated = settings(max_examples=60, deadline=None)
"""How thorough a hypothesis test is; no deadline, since the machine may be busy."""


class FakeClock:
    """Stands still until `now_ms` is changed. The three clocks show different times, so that none is taken for another."""

    def __init__(self, boot8: bytes = BOOT8) -> None:
        self.boot8 = boot8
        self.now_ms = 0
        self.ahead_ms = 0
        """How far the wall clock has been set forward."""

    def monotonic_ms(self) -> int:
        return self.now_ms

    def up_ms(self) -> int:
        return START_UP_MS + self.monotonic_ms()

    def wall_ms(self) -> int:
        return START_WALL_MS + self.ahead_ms + self.monotonic_ms()


class TrioClock(FakeClock):
    """Shows the time of trio's clock, which in tests is virtual. `slept_ms`: for how long the machine was suspended."""

    slept_ms = 0

    def monotonic_ms(self) -> int:
        return round(trio.current_time() * 1_000)

    def up_ms(self) -> int:
        return super().up_ms() + self.slept_ms

    def wall_ms(self) -> int:
        return super().wall_ms() + self.slept_ms


def key_of(owner: str) -> SigningKey:
    return SigningKey(owner.encode().ljust(32, b"\0"))


def public_key_of(owner: str) -> bytes:
    return bytes(key_of(owner).verify_key)


class Pen:
    """Writes a log of `owner`; another `epoch` is another log of the same key. One entry a second."""

    def __init__(self, owner: str, epoch: int = 0, mesh_id: bytes = MESH) -> None:
        self.owner = owner
        self.mesh_id = mesh_id
        self.key = key_of(owner)
        self.public_key = public_key_of(owner)
        self.nonce = epoch.to_bytes(8, "big")
        self.log = log_id(self.public_key, self.nonce)
        self.clock = FakeClock()
        self.writer = Writer(self.key, mesh_id, BOOT8, self.log, None)
        self.entries: list[Entry] = []

    def write(self, kind: Kind, payload: Value, next_ms: int = NEXT_MS) -> Entry:
        self.clock.now_ms += 1_000
        times = {"wall_ms": self.clock.wall_ms(), "up_ms": self.clock.up_ms()}
        entry = self.writer.write(kind, payload, **times, next_ms=next_ms)
        self.entries.append(entry)
        return entry

    def greeting(self) -> Hello:
        return Hello(self.public_key, self.nonce, self.owner, "0.1.0")

    def hello(self) -> Entry:
        return self.write(Kind.HELLO, self.greeting().payload())

    def results(self, *results: Result) -> Entry:
        """An entry with `results`, or with one pass."""
        found = results or (Result(0, self.clock.up_ms(), Outcome.PASS, 1_200),)
        return self.write(Kind.RESULTS, Results(0, found).payload(self.clock.up_ms() + 1_000))

    def bye(self) -> Entry:
        return self.write(Kind.BYE, Bye("stopped").payload())

    def fill(self, length: int) -> list[Entry]:
        """The log, grown to `length` entries: a hello, then results."""
        while len(self.entries) < length:
            _ = self.results() if self.entries else self.hello()
        return self.entries[:length]


def log_of(owner: str, length: int, *, epoch: int = 0, mesh_id: bytes = MESH) -> list[Entry]:
    return Pen(owner, epoch, mesh_id).fill(length)


def stripped(entry: Entry) -> Entry:
    return entry._replace(signature=b"")


def lean_but_tip(entries: Sequence[Entry]) -> list[Entry]:
    """Without the signatures that the last one vouches for."""
    return [stripped(each) if each.kind == Kind.RESULTS and each is not entries[-1] else each for each in entries]


def rewritten(
    entry: Entry,
    key: SigningKey,
    *,
    mesh_id: bytes = MESH,
    seq: int | None = None,
    prev: bytes | None = None,
    kind: int | None = None,
    payload: Value | None = None,
) -> Entry:
    """Another body at the same place (or `seq`), signed by `key`: its wall clock differs, and whatever is given."""
    body = encode_body(
        entry.log,
        entry.seq if seq is None else seq,
        entry.prev if prev is None else prev,
        entry.wall_ms + 1,
        entry.up_ms,
        entry.boot8,
        entry.next_ms,
        entry.kind if kind is None else kind,
        entry.payload if payload is None else payload,
    )
    return decode_body(body, sign(key, mesh_id, body))


def bodies(entries: Sequence[Entry]) -> list[bytes]:
    """What entries say, whether their signatures are still there or not."""
    return [entry.body for entry in entries]


def fields_of(value: Value) -> list[Value]:
    """A value that is known to be an array."""
    assert isinstance(value, list)
    return value


def damaged(signature: bytes) -> bytes:
    return bytes([signature[0] ^ 1]) + signature[1:]


def owners(*logs: Sequence[Entry]) -> dict[bytes, bytes]:
    """The owner of each log that begins with its hello: what `Store.commit` wants to know."""
    heads = Logs(MESH, NO_LOG)
    for entries in logs:
        heads.offer(entries[:1])
    return {state.log: state.public_key for state in heads.states()}


def put(store: Store, *logs: Sequence[Entry], own: bool = False) -> None:
    """Store whole logs."""
    for entries in logs:
        store.commit(entries, public_keys=owners(entries), own=own)


class Shelf:
    """What a node holds, without the node: the heads and the stored entries of `logs`."""

    def __init__(self, *logs: Sequence[Entry]) -> None:
        self.logs = Logs(MESH, NO_LOG)
        self.store = Store(Path(":memory:"), mesh_id=MESH)
        for entries in logs:
            assert len(self.take(entries).accepted) == len(entries)

    def take(self, entries: Sequence[Entry]) -> Taken:
        taken = self.logs.offer(entries)
        keys = {state.log: state.public_key for state in self.logs.states()}
        self.logs.end(self.store.commit(taken.accepted, public_keys=keys, own=False))
        self.store.drop(taken.dropped)
        return taken

    async def adopt(self, adoption: Adoption) -> bool:
        """Take a log up in its middle; raises EntryError where a node would refuse it."""
        await trio.lowlevel.checkpoint()
        adopted = self.logs.adopt(adoption.log, adoption.before, adoption.kept, adoption.following)
        if adopted is not None:
            carried = self.store.commit_kept(
                adoption.kept,
                log=adoption.log,
                public_key=adopted.state.public_key,
                before=adoption.before,
            )
            self.logs.end(carried)
            self.store.drop(adopted.dropped)
        return True

    def prove(self, proof: Proof) -> bool:
        """Let a log end in front of a fork; whether it had not already. Raises EntryError."""
        is_news = self.logs.convict(proof, 0)
        if is_news:
            ended = self.store.end_at_fork(proof)
            assert ended is not None
            self.logs.ended(ended)
        return is_news

    def shorten(self, log: bytes, below: int, *keep_kinds: Kind) -> None:
        """Forget what is below, but for `keep_kinds`."""
        while self.store.prune(log, below, keep_kinds, rows_max=100):
            pass
        self.logs.shortened(log, self.store.pruned_to(log))

    def all(self) -> dict[bytes, list[bytes]]:
        """The hashes of every log, by its id."""
        return {state.log: [entry.hash for entry in self.stored(state.log)] for state in self.logs.states()}

    def stored(self, log: bytes) -> list[Entry]:
        return self.store.read(log, 0, 2**53)[0]

    def stored_all(self, log: bytes) -> list[Entry]:
        """What is kept of a shortened log, and what is whole."""
        return [row for row in self.store.each(log) if isinstance(row, Entry)]


class DirectStorage:
    """A `Storage` over a store in memory, without threads: they would escape virtual time.

    `failure`, once set, is what the next commit raises. `gate` holds commits up until it is set. `notes` gets the
    sequence numbers of each commit, and whether it was one of own entries, which must be durable. `waiting` wraps each.
    """

    def __init__(self, notes: Notes | None = None) -> None:
        self.store = Store(Path(":memory:"), mesh_id=MESH)
        self.notes: Notes = [] if notes is None else notes
        self.failure: Exception | None = None
        self.gate: trio.Event | None = None
        self.committing = trio.Event()
        self.waiting: Waiting = nullcontext

    async def commit(self, entries: Sequence[Entry], *, public_keys: Mapping[bytes, bytes], own: bool) -> Carried:
        self.committing.set()
        with self.waiting():
            await trio.lowlevel.checkpoint()
            if self.gate is not None:
                await self.gate.wait()
        if self.failure:
            raise self.failure
        carried = self.store.commit(entries, public_keys=public_keys, own=own)
        self.notes.append(("own commit" if own else "commit", [entry.seq for entry in entries]))
        return carried

    async def read(self, log: bytes, first: int, last: int, bytes_max: int) -> tuple[list[Entry], list[BadRow]]:
        await trio.lowlevel.checkpoint()
        return self.store.read(log, first, last, bytes_max=bytes_max)

    async def read_on(self, log: bytes, first: int, bytes_max: int) -> list[Entry]:
        await trio.lowlevel.checkpoint()
        return self.store.read_on(log, first, bytes_max=bytes_max)

    async def call(self, call: Callable[[Store], Any]) -> Any:
        await trio.lowlevel.checkpoint()
        return call(self.store)


class DirectHistoryStorage(ThreadHistoryStorage):
    """A `HistoryStorage` without threads: they would escape virtual time."""

    async def _run(self, call: Callable[[], Any]) -> Any:
        await trio.lowlevel.checkpoint()
        return call()


def counted(metric: str, **labels: str) -> float:
    """The value of a counter; tests look at how it changes, since the process has only one of each."""
    return REGISTRY.get_sample_value(metric, labels) or 0.0
