import random
import subprocess
import sys
from pathlib import Path

from demesh.log.audit import audit
from demesh.log.store import Store
from tests.log import until_killed

_ROUNDS = 15
_ROUNDS_PRUNED = 8
_CHECKOUT = Path(__file__).parents[2]


def _run_and_kill(path: Path, lines: int, *arguments: str) -> list[tuple[int, str]]:
    """Let the program write to `path`, kill it -9 after so many lines; returns all that it said."""
    command = [sys.executable, "-m", until_killed.__name__, str(path), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_CHECKOUT) as process:
        assert process.stdout
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        said += process.stdout.readlines()
    whole = [line.split() for line in said if line.endswith("\n")]
    return [(int(seq), entry_hash) for seq, entry_hash in whole]


def test_everything_told_of_survives_kill_minus_nine(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    chance = random.Random(1)
    told: list[tuple[int, str]] = []
    for _ in range(_ROUNDS):
        told += _run_and_kill(path, chance.randint(1, 20))
        with Store(path, readonly=True) as store:
            (state,) = store.logs()
            entries, bad = store.read(state.log, 0, state.head.seq)
            assert bad == []
            assert list(audit(until_killed.MESH, state, store.each(state.log))) == []
            assert store.own_log() == (state.log, entries[-1].head)
        stored = [(entry.seq, entry.hash.hex()) for entry in entries]
        assert set(told) <= set(stored)
    assert len(told) >= _ROUNDS


def test_pruning_that_is_killed_leaves_the_truth(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    chance = random.Random(3)
    told: dict[int, str] = {}
    pruned_to: list[int] = []
    for _ in range(_ROUNDS_PRUNED):
        told |= dict(_run_and_kill(path, chance.randint(1, 60), "20"))
        with Store(path, readonly=True) as store:
            (state,) = store.logs()
            assert list(audit(until_killed.MESH, state, store.each(state.log))) == []
            assert state.head.seq >= max(told)
            entries, _ = store.read(state.log, state.pruned_to, state.head.seq)
            assert len(entries) == state.head.seq + 1 - state.pruned_to
            assert all(told.get(entry.seq, entry.hash.hex()) == entry.hash.hex() for entry in entries)
            pruned_to.append(state.pruned_to)
    assert pruned_to == sorted(pruned_to)
    assert pruned_to[-1] > 0
