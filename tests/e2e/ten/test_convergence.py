"""Ten nodes come to hold the same logs, whatever was done to them: nothing is lost, and nothing stands there in two forms."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from tests.e2e.harness import NodeProcess, eventually
from tests.e2e.swarm import (
    LOOK_SECONDS,
    SECONDS,
    Heads,
    heads,
    heads_as_told,
    know_each_other,
    of_each,
    own_head,
    reached,
    same_heads,
    settled,
)
from tests.e2e.ten.conftest import Ten
from tests.e2e.ten.status import assert_same_status

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def _assert_nothing_lost(ten: Ten) -> None:
    assert len(settled(ten.nodes)) == len(ten.nodes), "each goes on with the log that it had"
    know_each_other(ten.nodes)
    ten.ledger.look(ten.nodes)
    ten.ledger.wait_held(ten.nodes)


def _same_status_with(nodes: Sequence[NodeProcess], incidents: int) -> dict[str, Any]:
    """What all of these tell, once it has so many incidents: a node looks for them a moment after it sees what they are of."""
    what = f"{incidents} incidents"
    return eventually(
        lambda: assert_same_status(nodes), lambda told: len(told["incidents"]) == incidents, SECONDS, what
    )


def _told_gone(node: NodeProcess) -> set[str]:
    """Whom its incidents call silent, one by one or several together."""
    incidents = [each for each in node.status()["incidents"] if each["name"] in ("DemeshNodeSilent", "DemeshPartition")]
    return {name for each in incidents for name in each["subject"].split(", ")}


def test_ten_nodes_tell_the_same_heads(ten: Ten) -> None:
    _assert_nothing_lost(ten)
    same_heads(ten.nodes)
    one = ten.nodes[7]
    eventually(
        lambda: (heads_as_told(one), one.heads()), lambda both: both[0] == both[1], SECONDS, "the command prints them"
    )


def test_two_that_are_killed_come_back_with_all_that_they_said(ten: Ten) -> None:
    killed = [ten.nodes[0], ten.nodes[5]]  # the first is the only one that the others have in their configurations
    others = [node for node in ten.nodes if node not in killed]
    ten.ledger.look(ten.nodes)
    acknowledged = {node.name: own_head(node) for node in killed}
    for node in killed:
        node.kill()
        ten.ledger.note(*acknowledged[node.name])
    before = reached(of_each(others, heads))
    written = {log for log, _, _ in map(own_head, others)}

    def went_on(told: list[Heads]) -> bool:
        return all(each[log][0] > before[log] for each in told for log in written)

    eventually(lambda: of_each(others, heads), went_on, SECONDS, "the others go on without them")
    for node in killed:
        node.start()
    for node in killed:
        node.wait_ready()
    _assert_nothing_lost(ten)
    for node in killed:
        log, seq, _ = own_head(node)
        assert log == acknowledged[node.name][0]
        assert seq > acknowledged[node.name][1]


def test_what_both_sides_of_a_partition_wrote_is_everywhere_once_it_is_healed(ten: Ten) -> None:
    left, right = ten.nodes[::2], ten.nodes[1::2]
    ten.network.pull_cable()
    try:
        for side, other in ((left, right), (right, left)):
            know_each_other(side, silent=other)
        for side in (left, right):
            gone = {node.name for node in ten.nodes if node not in side}
            for node in side:
                eventually(
                    partial(_told_gone, node), gone.__eq__, SECONDS, f"{node.name} tells of {gone}", every=LOOK_SECONDS
                )
            told = side[0].status()
            assert [check["state"] for check in told["checks"]] == ["up"], "unreachable is not down"
        seen = {node.name: heads(node) for node in ten.nodes}
        for side, other in ((left, right), (right, left)):
            for node in side:
                log, seq, body_hash = own_head(node)
                assert all(seen[each.name][log][0] < seq for each in other), f"the others missed what {node.name} wrote"
                ten.ledger.note(log, seq, body_hash)
        ten.ledger.look(ten.nodes)
    finally:
        ten.network.plug_cable()
    _assert_nothing_lost(ten)
    _same_status_with(ten.nodes, incidents=0)
