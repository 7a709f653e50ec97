"""Who has no swarm key gets nothing and breaks nothing, whatever else it has and whatever it says."""

import random
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor

import pytest

from demesh import limits
from demesh.identity import new_swarm_key
from tests.e2e.harness import eventually
from tests.interop.conftest import Watched
from tests.interop.foreign import Failed, ForeignNode
from tests.interop.swarm import exported, multiaddr, refused
from tests.interop.tap import Tap, answer_to

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

_HANGS_UP_SECONDS = limits.PEER_UPGRADE_SECONDS_MAX + 3
_GARBAGE = {
    "nothing": b"",
    "half a nonce": b"\x2a" * 12,
    "only a nonce": b"\x2a" * 24,
    "noise": random.Random(1).randbytes(4_096),
    "plain libp2p": b"\x13/multistream/1.0.0\n\x07/noise\n",
    "a browser": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": bytes.fromhex("16030100050100000100") + bytes(64),
    "much": random.Random(2).randbytes(1_000_000),
}


def _smallest_entry(watched: Watched) -> int:
    (log,) = (head["log"] for head in watched.node.heads() if head["node"] == "watcher")
    return min(len(b64decode(entry["envelope"])) for entry in exported(watched.node, log))


def _handshakes_refused(watched: Watched) -> float:
    return refused(watched.node).get("network/handshake", 0)


def _assert_unharmed(watched: Watched, friend: ForeignNode) -> None:
    """The node goes on checking, and who has the key still hears of it."""
    before = len(friend("heard"))
    eventually(lambda: len(friend("heard")), lambda count: count >= before + 2, 10, "news for a friend")
    assert watched.node.status()["checks"][0]["state"] == "up"


def test_another_swarm_key_gets_nothing(watched: Watched) -> None:
    before = _handshakes_refused(watched)
    with (
        watched.swarm.foreign("friend") as friend,
        Tap(watched.node.swarm) as tap,
        ForeignNode(new_swarm_key().text(), "stranger", friend.mesh) as stranger,
    ):
        friend("dial", address=multiaddr(watched.node))
        with pytest.raises(Failed):
            stranger("dial", address=tap.multiaddr)
        assert stranger("heard") == []
        assert stranger("logs") == []
        assert 0 < len(tap.received) < _smallest_entry(watched), "no entry fits what was sent"
        eventually(lambda: _handshakes_refused(watched), lambda count: count > before, 10, "counted")
        _assert_unharmed(watched, friend)


def test_garbage_gets_nothing(watched: Watched) -> None:
    before = _handshakes_refused(watched)
    with watched.swarm.foreign("friend") as friend, ThreadPoolExecutor(len(_GARBAGE)) as pool:
        friend("dial", address=multiaddr(watched.node))
        answers = pool.map(lambda said: answer_to(watched.node.swarm, said, _HANGS_UP_SECONDS), _GARBAGE.values())
        sizes = dict(zip(_GARBAGE, map(len, answers), strict=True))
        assert max(sizes.values()) < _smallest_entry(watched), sizes
        expected = before + len(_GARBAGE)
        eventually(lambda: _handshakes_refused(watched), lambda count: count >= expected, 10, "counted")
        _assert_unharmed(watched, friend)
