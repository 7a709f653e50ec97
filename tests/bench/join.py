"""A late joiner: how long until a fresh node knows what a mesh of ten nodes and thirty days knows, and how the checks are.

One real node holds the logs of ten members, its own among them, as they are after thirty days with twenty checks a minute each:
an entry every ten seconds, hours and days in sums. It is the only one that lives. A fresh node is started with its address.
"""

import random
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from demesh import limits
from demesh.clock import SystemClock
from demesh.home import Home, MarkerFile
from demesh.identity import new_swarm_key, read_or_make_node_key
from demesh.log.checkpoint import checkpoint_payloads
from demesh.log.codec import Value
from demesh.log.entry import NO_HASH, Entry, Kind, body_hash, encode_body, log_id, sign
from demesh.log.epoch import Marker
from demesh.log.head import Head
from demesh.log.hello import Hello
from demesh.log.plan import split_plan
from demesh.log.results import Result, Results
from demesh.log.rollup import rollup_payloads
from demesh.log.store import Store
from demesh.log.sums import DAY_MS, HOUR_MS, Sums
from demesh.outcome import Outcome
from tests.bench.figure import Budget, Figure
from tests.bench.logs import checks, latency_us
from tests.bench.node import MeasuredNode, checks_config
from tests.bench.scope import Scope
from tests.e2e.harness import eventually
from tests.log.builders import key_of

_CHECKS = 20
_INTERVAL_MS = 60_000
_EVERY_MS = 10_000
_MEMBERS = 10
_TARGET = "http://127.0.0.1:9/"  # nobody is there: every check is down, which the past does not say
_POLL_SECONDS = 0.25
_SECONDS_MAX = 1_200


def join(scope: Scope) -> list[Figure]:
    days, members = scope.choose((30, _MEMBERS), (1, 3))
    swarm_key = new_swarm_key()
    key_file = scope.place / "swarm.key"
    key_file.write_text(swarm_key.text())
    key_file.chmod(0o600)
    mesh_id = swarm_key.first_mesh_id()
    config = checks_config(_CHECKS, _TARGET, "60s")
    with (
        MeasuredNode(scope.place / "old", "old", config, key_file) as old,
        MeasuredNode(scope.place / "new", "new", "", key_file) as new,
    ):
        (new.home / "demesh.toml").write_text(f'[mesh]\npeers = ["{old.swarm}"]\n')
        count = _plant(old, mesh_id, days, members)
        old.start_and_wait()
        eventually(
            old.status, lambda said: said["history"]["complete"] and _are_down(said), 600, "the old node is ready"
        )
        began, bytes_before = time.monotonic(), _loopback_bytes()
        new.start()
        answered, complete = _watch(new, old, began)
        used, resident, passed = new.cpu_seconds(), new.resident_mb(), _loopback_bytes() - bytes_before
        heads = {each["log"]: each["seq"] for each in old.heads()}
        if not heads.keys() <= {each["log"] for each in new.heads()}:
            raise AssertionError("the new node does not hold what the old one does")
        folded = _until(lambda: new.status()["history"]["complete"], began)
        new.stop()
        stored = sum((new.home / name).stat().st_size for name in ("log.db", "view.db"))
    what = f"join {members} nodes × {days} days, {count:,} entries"
    return [
        Figure(f"{what}: first right verdicts", answered, "s", budget=Budget(5)),
        Figure(f"{what}: all logs held", complete, "s", budget=Budget(90)),
        Figure(f"{what}: uptime complete", folded, "s"),
        Figure(f"{what}: entries a second", count / complete, ""),
        Figure(f"{what}: CPU time of the new node until then", used, "s"),
        Figure(f"{what}: resident", resident, "MB"),
        Figure(f"{what}: bytes over loopback, of the whole machine", passed / 1e6, "MB"),
        Figure(f"{what}: bytes stored", stored / 1e6, "MB"),
    ]


def _watch(new: MeasuredNode, old: MeasuredNode, began: float) -> tuple[float, float]:
    """Seconds until the new node says how all checks are, and until it holds all logs."""
    wanted = len(old.heads())

    def has_all() -> bool:
        said = new.status()
        return said["logs"]["complete"] and len(new.heads()) > wanted

    answered = _until(lambda: _are_down(new.status()), began)
    return answered, _until(has_all, began)


def _until(holds: Any, began: float) -> float:
    while time.monotonic() - began < _SECONDS_MAX:
        try:
            if holds():
                return time.monotonic() - began
        except OSError:
            pass  # it does not listen yet
        time.sleep(_POLL_SECONDS)
    raise AssertionError("the new node never came to know it")


def _are_down(status: dict[str, Any]) -> bool:
    states = [check["state"] for check in status["checks"] if check["name"].startswith("c0")]
    return len(states) == _CHECKS and set(states) == {"down"}


def _loopback_bytes() -> int:
    (line,) = [each for each in Path("/proc/net/dev").read_text().splitlines() if each.strip().startswith("lo:")]
    return int(line.split()[1])


# Planting


def _plant(node: MeasuredNode, mesh_id: bytes, days: int, members: int) -> int:
    """Fill the store of `node`, which goes on with its own log; returns how many entries there are."""
    clock, home = SystemClock(), Home(node.home)
    own = read_or_make_node_key(home.node_key)
    total = 0
    with Store(home.log_db, mesh_id=mesh_id) as store:
        for name, key in [(node.name, own), *((f"n{number}", key_of(f"n{number}")) for number in range(members - 1))]:
            head: Entry | None = None
            entries = _write_log(name, key, mesh_id, days, clock)
            while batch := list(islice(entries, 50_000)):
                keys = {batch[0].log: bytes(key.verify_key)}
                store.commit(batch, public_keys=keys, own=key is own)
                total, head = total + len(batch), batch[-1]
            if key is own:
                assert head is not None
                runtime = _runtime_directory(node)
                marker = Marker(clock.boot8, store.file_identity(), head.log, head.head)
                MarkerFile(runtime, home).write(marker)
    return total


def _runtime_directory(node: MeasuredNode) -> Path:
    path = Path(node.environment["XDG_RUNTIME_DIR"]) / "demesh"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def _write_log(name: str, key: SigningKey, mesh_id: bytes, days: int, clock: SystemClock) -> Iterator[Entry]:
    """As its node would have written it, up to now. Of results only each so many are signed, as in a store."""
    rng, nonce = random.Random(name), bytes(8)
    log, prev, seq = log_id(bytes(key.verify_key), nonce), NO_HASH, 0
    count = days * DAY_MS // _EVERY_MS
    wall_ms, up_ms = clock.wall_ms() - count * _EVERY_MS, clock.up_ms() - count * _EVERY_MS
    earlier_ms = count * _EVERY_MS  # the machine was started anew since

    def entry(kind: Kind, payload: Value, *, signed: bool = True) -> Entry:
        nonlocal prev, seq
        up, boot8 = (up_ms, clock.boot8) if up_ms >= 0 else (up_ms + earlier_ms, b"earlier.")
        body = encode_body(log, seq, prev, wall_ms, up, boot8, 25_000, kind, payload)
        signature = sign(key, mesh_id, body) if signed else b""
        made = Entry(log, seq, prev, wall_ms, up, boot8, 25_000, kind, payload, body, body_hash(body), signature)
        prev, seq = made.hash, seq + 1
        return made

    yield entry(Kind.HELLO, Hello(bytes(key.verify_key), nonce, name, "0.1.0").payload())
    for part in split_plan([check.row(mesh_id, runs=True) for check in checks(_CHECKS, _INTERVAL_MS)]):
        yield entry(Kind.PLAN, part.payload())
    payloads = [_results(rng, number % 6).payload(_EVERY_MS) for number in range(48)]
    hour, day = wall_ms // HOUR_MS, wall_ms // DAY_MS
    previous: tuple[bytes, Head] | None = None
    for number in range(count):
        wall_ms, up_ms = wall_ms + _EVERY_MS, up_ms + _EVERY_MS
        signed = seq % limits.SIGNED_EVERY == 0 or number >= count - limits.SIGNED_EVERY
        yield entry(Kind.RESULTS, payloads[number % 48], signed=signed or number % 360 == 0)
        if wall_ms // HOUR_MS > hour:
            yield entry(Kind.RESULTS, payloads[number % 48])  # so that all before it are vouched for
            for payload in rollup_payloads(hour, _sums(1)):
                yield entry(Kind.ROLLUP, payload)
            hour += 1
        if wall_ms // DAY_MS > day:
            for payload in checkpoint_payloads(day, previous, _sums(24), []):
                made = entry(Kind.CHECKPOINT, payload)
                previous = log, made.head
                yield made
            day += 1


def _results(rng: random.Random, sixth: int) -> Results:
    """What ten seconds of twenty checks a minute give: three or four results."""
    first, last = sixth * _CHECKS // 6, (sixth + 1) * _CHECKS // 6
    ended = sorted(rng.randrange(_EVERY_MS) for _ in range(first, last))
    return Results(
        1,
        tuple(
            Result(check, at, Outcome.PASS, latency_us(rng))
            for check, at in zip(range(first, last), ended, strict=True)
        ),
    )


def _sums(hours: int) -> dict[str, Sums]:
    found: dict[str, Sums] = {}
    for check in checks(_CHECKS, _INTERVAL_MS):
        sums = found[check.name] = Sums()
        sums.up_ms = hours * HOUR_MS
        for number in range(60 * hours):
            sums.count(Outcome.PASS, 20_000 + 700 * number)
    return found
