"""Who joins when the beginning of all logs is forgotten already gets what was kept of it and all that is whole."""

from pathlib import Path

import pytest

from demesh.log.entry import Entry, Kind
from demesh.log.store import Store
from tests.e2e.harness import NodeProcess, eventually
from tests.e2e.swarm import LOOK_SECONDS, SECONDS, SwarmNode, know_each_other, of_each, settled
from tests.e2e.ten.conftest import PAST_DAYS, Ten
from tests.e2e.ten.status import assert_same_status, assert_same_uptime
from tests.interop.swarm import assert_verifies

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def _pruned_to(node: NodeProcess) -> dict[bytes, int]:
    with Store(node.home / "log.db", readonly=True) as store:
        return {state.log: state.pruned_to for state in store.logs()}


def _checkpoints(home: Path) -> dict[bytes, list[tuple[int, bytes]]]:
    """Place and hash of all checkpoints in a store, by log."""
    with Store(home / "log.db", readonly=True) as store:
        return {
            state.log: [
                (row.seq, row.hash)
                for row in store.each(state.log)
                if isinstance(row, Entry) and row.kind == Kind.CHECKPOINT
            ]
            for state in store.logs()
        }


def _join(ten: Ten) -> SwarmNode:
    """A node on a machine of its own, that was invited by one of the ten."""
    late = ten.node(ten.network.add(), "late")
    (late.home / "demesh.toml").unlink()
    invited = ten.nodes[3].run_command("invite", "--name", "late")
    assert invited.returncode == 0, invited.stderr
    joined = late.run_command("join", stdin=invited.stdout)
    assert joined.returncode == 0, joined.stderr
    return late


def test_a_latecomer_converges_though_the_logs_were_pruned(ten: Ten) -> None:
    def pruned(told: list[dict[bytes, int]]) -> bool:
        return all(len([log for log, to in each.items() if to]) >= len(ten.nodes) for each in told)

    eventually(lambda: of_each(ten.nodes, _pruned_to), pruned, SECONDS, "all have pruned", every=LOOK_SECONDS)
    late = _join(ten)
    everyone = [*ten.nodes, late]
    with late:
        late.start()
        late.wait_ready()
        know_each_other(everyone)
        assert len(settled(everyone)) >= len(everyone)
        of_the_ten = _pruned_to(ten.nodes[0]).keys() & {log for log, to in _pruned_to(late).items() if to}
        assert len(of_the_ten) >= len(ten.nodes), "what the others have forgotten it cannot have"
        kept = _checkpoints(late.home)
        assert kept == _checkpoints(ten.nodes[0].home)
        assert sum(len(each) >= PAST_DAYS for each in kept.values()) == len(ten.nodes)
        ten.ledger.look(everyone)
        ten.ledger.wait_held(everyone)
        assert_same_status(everyone)
        assert_same_uptime(everyone)
        left = late.run_command("node", "leave")
        assert (left.returncode, late.wait(15)) == (0, 0), left.stderr
    assert_verifies(late)
    know_each_other(ten.nodes)
