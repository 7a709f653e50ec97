"""A member of a later version says what this one does not know. It is kept whole, passed on, and read as far as it is known."""

from base64 import b64decode
from typing import Any

import pytest

from demesh.clock import SystemClock
from demesh.log.retention import Terms, shorten
from demesh.log.store import Store
from tests.e2e.harness import NodeProcess, eventually
from tests.interop.foreign import ForeignNode
from tests.interop.swarm import Swarm, assert_verifies, exported, heads, multiaddr

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

_APPENDED = ["later", {"hex": "00ff"}, [7, ["deep"]], {"uint": str(2**64 - 1)}]
_UNKNOWN = {
    99: [
        [],
        [{"hex": "de" * 15_000}],
        [[[["as deep as it goes"]]], "text", 2**53 - 1, {"uint": str(2**64 - 1)}, {"hex": ""}],
    ],
    65_535: [[{"hex": ""}, [], ""]],
}
_PLAN = 1  # its place in the log
_CHECK = {
    "name": "web",
    "type": "telepathy",
    "target": "telepathy://mind/",
    "intervalMs": 60_000,
    "timeoutMs": 1_000,
    "retryIntervalMs": 1_000,
    "failAfter": 2,
    "recoverAfter": 2,
    "keys": {},
    "options": [],
    "appended": ["later", [1]],
}


def _tell_all_it_knows(later: ForeignNode) -> str:
    """Has it write a log of everything that a later version might; returns the log's id."""
    log = later(
        "begin", tags=["later"], version="9.9", kinds=[99], protocols=["/demesh/teleport/1"], appended=[["fork"], 7]
    )["log"]
    plan = later("plan", checks=[_CHECK, {**_CHECK, "name": "mail"}], appended=_APPENDED)["seq"]
    for kind, payloads in _UNKNOWN.items():
        for payload in payloads:
            later("write", kind=kind, payload=payload)
    assert plan == _PLAN
    _report(later)
    later("write", kind=6, payload=["eclipse", "moon", ["seen", "yes"], {"hex": "01"}])
    return log


def _report(later: ForeignNode) -> None:
    more = {"details": [[0, 77, [1, "?"]]], "appended": _APPENDED}
    later("report", plan=_PLAN, outcomes=["pass", "dreamt"], latencies=[5, 0], **more)


def _presence(node: NodeProcess) -> dict[str, str]:
    return {each["name"]: each["presence"] for each in node.status()["nodes"]}


def _assert_understood(node: NodeProcess, later: ForeignNode) -> None:
    """The node has what it knows of the later version's log: who writes it, and how its checks do."""

    def status_after_a_report() -> dict[str, Any]:
        _report(later)
        return node.status()

    status = eventually(status_after_a_report, lambda s: ("web", "up") in _states(s), 40, "its vote counts")
    (member,) = [each for each in status["nodes"] if each["name"] == "later"]
    assert (member["version"], member["tags"], member["presence"]) == ("9.9", ["later"], "alive")
    (mail,) = [check for check in status["checks"] if check["name"] == "mail"]
    assert mail["vantages"][0]["vote"] == "unseen", "an outcome that is not known blames nobody"


def _states(status: dict[str, Any]) -> set[tuple[str, str]]:
    return {(check["name"], check["state"]) for check in status["checks"]}


def _assert_converged(log: str, head: tuple[int, str], *nodes: NodeProcess) -> None:
    """All hold the same logs, the later version's up to its end."""

    def equal(held: list[dict[str, tuple[int, str]]]) -> bool:
        return all(each == held[0] and each.get(log) == head for each in held)

    eventually(lambda: [heads(each) for each in nodes], equal, 40, "equal heads")


def _assert_kept_whole(node: NodeProcess, log: str, hashes: list[str]) -> None:
    """Every entry of the log is there, and export shows what this version can read of it."""
    entries = exported(node, log)
    assert [entry["hash"] for entry in entries] == hashes
    unknown = [entry for entry in entries if entry["kind"] in ("99", "65535")]
    assert len(unknown) == sum(map(len, _UNKNOWN.values()))
    assert all(entry["said"] is None and entry["signed"] for entry in unknown)
    assert any(len(b64decode(entry["envelope"])) > 15_000 for entry in unknown)
    rows = [row for entry in entries if entry["kind"] == "results" for row in entry["said"]["results"]]
    assert {(row["check"], row["outcome"]) for row in rows} == {("web", "pass"), ("mail", "error")}
    (bye,) = [entry["said"] for entry in entries if entry["kind"] == "bye"]
    assert bye == {"reason": "evolving", "back_by_ms": 600_000}


def _forget_all_that_is_old(node: NodeProcess) -> None:
    """What retention does once everything but the heads is old; the node does not run."""
    now_ms = SystemClock().wall_ms()
    with Store(node.home / "log.db") as store:
        for state in store.logs():
            while shorten(store, state, Terms(now_ms, now_ms)):
                pass


def test_what_a_later_version_says_is_kept_passed_on_and_forgotten_like_all_else(swarm: Swarm) -> None:
    b = swarm.node("b")
    a = swarm.node("a", peers=[b])
    c = swarm.node("c", peers=[b])
    d = swarm.node("d", peers=[a])
    with a, b, c, d, swarm.foreign("later") as later, swarm.foreign("reader") as reader:
        b.start()
        a.start()
        a.wait_ready()
        later("speak", versions=[2, 77], appended=_APPENDED)
        for protocol in ("/demesh/sync/2", "/demesh/teleport/1"):
            later("offer", protocol=protocol)
        later("dial", address=multiaddr(a))
        later("pull", address=multiaddr(a))
        b.wait_ready()
        eventually(lambda: later("subscribers"), lambda count: count == 1, 10, "a listens to the topic")
        log = _tell_all_it_knows(later)
        for node in (a, b):
            _assert_understood(node, later)

        later("write", kind=7, payload=["evolving", 600_000, *_APPENDED])
        for node in (a, b):
            eventually(lambda node=node: _presence(node), lambda presence: presence["later"] == "away", 40, "it left")
        (own,) = [each for each in later("logs") if each["log"] == log]
        hashes = [entry["hash"] for entry in exported(a, log)]
        head = (own["seq"], own["hash"])
        assert (len(hashes) - 1, hashes[-1]) == head
        later("end")

        c.start()
        c.wait_ready()
        _assert_converged(log, head, a, b, c)
        for node in (a, c):
            _assert_kept_whole(node, log, hashes)

        assert a.stop() == 0, a.output()
        _forget_all_that_is_old(a)
        a.start()
        d.start()
        for node in (a, d):
            node.wait_ready()
        _assert_converged(log, head, a, b, c, d)
        assert _presence(c)["later"] == _presence(d)["later"] == "away", "though they never heard it themselves"
        assert [entry["kind"] for entry in exported(d, log)] == ["hello", "plan", "event", "bye"]
        for node in (a, b, c, d):
            assert_verifies(node)

        reader("pull", address=multiaddr(a))
        (shortened,) = [each for each in reader("logs") if each["log"] == log]
        assert (shortened["kept"], shortened["kinds"]) == ([1, 2, 6], [7]), "another hand takes it up there as well"
        assert (shortened["seq"], shortened["hash"]) == head
