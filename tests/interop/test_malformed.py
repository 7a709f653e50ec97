"""A member that lies or is broken costs those who hold the key a count, and nothing else."""

from collections.abc import Callable, Generator
from dataclasses import dataclass

import pytest

from tests.e2e.harness import NodeProcess, eventually
from tests.interop.foreign import ForeignNode
from tests.interop.swarm import assert_verifies, heads, multiaddr, new_swarm, refused

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

_REASONS = {
    "too many bytes": ["network/oversize_message"],
    "a wrong signature": ["chain/bad_signature"],
    "a signature for another mesh": ["chain/bad_signature"],
    "no signature at the end": ["chain/no_signature"],
    "a wrong link": ["chain/wrong_link"],
    "a fork": ["chain/fork"],
    "an entry in the log of another": ["chain/own_log", "chain/bad_signature", "chain/fork"],
    "another mesh": ["sync/greeting"],
    "no known version": ["sync/greeting"],
    "a vector that promises what no page has": [],  # whoever has lost entries of a log answers so
    "a page with a bit turned": ["chain/bad_signature"],
    "a page without signatures": ["chain/no_signature"],
}
"""Where what is said has a form that can be read; all else is refused where it is read."""


@dataclass(frozen=True, slots=True)
class _Besieged:
    """A node, its honest peer, and a member that means harm and is connected to the node alone."""

    node: NodeProcess
    peer: NodeProcess
    liar: ForeignNode


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Generator[_Besieged]:
    swarm = new_swarm(tmp_path_factory.mktemp("besieged"))
    with swarm.node("besieged") as node, swarm.node("peer", peers=[node]) as peer, swarm.foreign("liar") as liar:
        for each in (node, peer):
            each.start()
        for each in (node, peer):
            each.wait_ready()
        liar("begin")
        liar("pull", address=multiaddr(node))
        liar("dial", address=multiaddr(node))
        eventually(lambda: liar("subscribers"), lambda count: count == 1, 10, "the node listens")
        _assert_takes_the_truth(_Besieged(node, peer, liar))
        yield _Besieged(node, peer, liar)


def _own(liar: ForeignNode) -> dict:
    return next(log for log in liar("logs") if log["hello"]["name"] == "liar")


def _assert_takes_the_truth(besieged: _Besieged) -> None:
    """Both nodes come to hold the same three logs, and of the liar's what it holds itself; it does not lie now."""
    besieged.liar("tellTruth")
    besieged.liar("report", plan=0, outcomes=[], latencies=[])
    own = _own(besieged.liar)

    def compare() -> tuple[dict, dict]:
        besieged.liar("repeat")  # whoever lacks what is before it goes and asks whom it heard it from
        return heads(besieged.node), heads(besieged.peer)

    eventually(
        compare,
        lambda both: both[0] == both[1] and len(both[0]) == 3 and both[0][own["log"]] == (own["seq"], own["hash"]),
        20,
        "the same logs on both",
    )


def _grows(before: dict[str, float], reasons: list[str]) -> Callable[[dict[str, float]], bool]:
    return lambda now: any(now.get(reason, 0) > before.get(reason, 0) for reason in reasons)


def _assert_each_counts(node: NodeProcess, names: list[str], act: Callable[[str], None], unreadable: list[str]) -> None:
    """Each of `names`, acted out, is counted under its reason."""
    for name in names:
        before = refused(node)
        act(name)
        reasons = _REASONS.get(name, unreadable)

        if reasons:
            eventually(lambda: refused(node), _grows(before, reasons), 30, f"{name} counts as {reasons}")


def test_malformed_messages_on_the_topic_are_refused(besieged: _Besieged) -> None:
    def say(message: str) -> None:
        besieged.liar("say", message=message)

    in_intake = [f"intake/{reason}" for reason in ("malformed", "shape", "format", "too_large")]
    _assert_each_counts(besieged.node, besieged.liar("messages"), say, in_intake)
    _assert_takes_the_truth(besieged)


def test_malformed_questions_are_refused(besieged: _Besieged) -> None:
    answers: dict[str, list] = {}

    def ask(question: str) -> None:
        answers[question] = besieged.liar("ask", address=multiaddr(besieged.node), question=question)

    _assert_each_counts(besieged.node, besieged.liar("questions"), ask, ["sync/malformed"])
    assert answers.pop("another mesh") == [[5, 2]]
    assert answers.pop("no known version") == [[5, 1]]
    assert all(answer == [[5, 4]] for answer in answers.values()), answers
    _assert_takes_the_truth(besieged)


def test_lies_of_a_server_are_refused(besieged: _Besieged) -> None:
    liar = besieged.liar
    for _ in range(3):  # which the node lacks from now on, and asks for
        liar("report", plan=0, outcomes=[], latencies=[], silently=True)

    def tell(lie: str) -> None:
        def told() -> int:
            liar("repeat")  # again and again: gossip may lose it
            return liar("sessions")["told"]

        liar("lie", page=lie)
        eventually(told, lambda count: count > 0, 45, f"the node asks and gets {lie}", every=1)

    _assert_each_counts(besieged.node, liar("lies"), tell, ["sync/bad_answer"])
    assert heads(besieged.node)[_own(liar)["log"]][0] < _own(liar)["seq"], "nothing of it was taken"
    _assert_takes_the_truth(besieged)
    for node in (besieged.node, besieged.peer):
        assert_verifies(node)
        assert node.status()["settled"]
