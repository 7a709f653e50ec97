"""What a member of the swarm says wrongly on the topic ends no node and stands in no log, and is counted."""

from collections.abc import Iterator
from random import Random

import pytest
from nacl.signing import SigningKey

from demesh import limits
from demesh.identity import read_or_make_node_key
from demesh.log.codec import Value, encode
from demesh.log.entry import Entry
from demesh.log.store import Store
from demesh.mesh.gossip import bundles
from tests.e2e.harness import NodeProcess, eventually
from tests.e2e.swarm import LOOK_SECONDS, PORT, SECONDS, know_each_other, of_each, settled
from tests.e2e.ten.conftest import MESH, Ten
from tests.e2e.ten.insider import Guest, visit
from tests.interop.swarm import refused
from tests.log.builders import Pen, damaged, rewritten, stripped

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
_SEED = b"insider".ljust(32, b"\0")
_KEY = SigningKey(_SEED)
_MESH_ID = bytes.fromhex(MESH)
_VERSION_AFTER = 2


def _newest_of(node: NodeProcess) -> Entry:
    """The newest entry of the log that a node writes, as it stands in its store."""
    with Store(node.home / "log.db", readonly=True) as store:
        own = store.own_log()
        assert own is not None
        return store.read(own[0], own[1].seq, own[1].seq)[0][0]


def _message(*entries: Entry) -> bytes:
    (message,) = bundles(entries)
    return message


def _of_a_later_format(entry: Entry) -> Value:
    body = encode([_VERSION_AFTER, entry.log, entry.seq + 1, entry.hash])
    return [body, bytes(64)]


def _malformed(newest: Entry) -> Iterator[tuple[str, bytes]]:
    """Messages that no node can read, each with the reason under which it is counted, on all nodes that it reaches."""
    yield "intake/malformed", b""
    yield "intake/malformed", b"\xff" * 50
    yield "intake/malformed", Random(4).randbytes(2_000)
    yield "intake/malformed", _message(newest)[:-1]
    yield "intake/shape", encode([1, [[b"", b"", 7], "entry"]])
    yield "intake/shape", encode("entries")
    yield "intake/format", encode([_VERSION_AFTER, [[newest.body, newest.signature]], "later"])
    yield "intake/format", encode([1, [_of_a_later_format(newest)]])


def _forged(victim: NodeProcess, held: Entry) -> dict[str, Entry]:
    """Entries that are not what they seem, by the reason for which they are refused: in a log of nobody, and in place of `held`,
    an entry of the victim that all nodes have.
    """
    hello = Pen("insider", mesh_id=_MESH_ID).hello()
    stolen = read_or_make_node_key(victim.home / "node.key")
    return {
        "chain/bad_signature": hello._replace(signature=damaged(hello.signature)),
        "chain/no_signature": stripped(hello),
        "chain/fork": rewritten(held, stolen, mesh_id=_MESH_ID),
    }


def test_what_an_insider_says_wrongly_is_refused_everywhere_and_ends_nothing(ten: Ten) -> None:
    first, victim = ten.nodes[2], ten.nodes[6]
    held = _newest_of(victim)
    logs = settled(ten.nodes)
    before = of_each(ten.nodes, refused)
    malformed = list(_malformed(_newest_of(first)))
    forged = _forged(victim, held)

    async def act(guest: Guest) -> None:
        await guest.dial(first.machine.address, PORT)
        for _, message in malformed:
            await guest.say(message)
        newest = _newest_of(victim)
        following = rewritten(newest, _KEY, mesh_id=_MESH_ID, seq=newest.seq + 1, prev=newest.hash)
        for entry in (*forged.values(), following):
            await guest.say(_message(entry))
        await guest.say(bytes(limits.GOSSIP_MESSAGE_BYTES_MAX + 1))
        author = bytes(read_or_make_node_key(victim.home / "node.key").verify_key)
        await guest.say_raw([guest.as_another(author, _message(newest)), b"\xff" * 50])

    visit(ten.network.add(), ten.swarm_key, _MESH_ID, _SEED, act)
    everywhere = {reason for reason, _ in malformed} | forged.keys()
    at_the_door = {"network/oversize_message", "network/bad_signature", "network/garbage_rpc"}

    def counted(now: list[dict[str, float]]) -> bool:
        grown = {
            node.name: {reason for reason in new if new[reason] > old.get(reason, 0)}
            for node, new, old in zip(ten.nodes, now, before, strict=True)
        }
        if "chain/own_log" in grown[victim.name]:
            grown[victim.name].add("chain/fork")  # of its own log it takes nothing from anybody
        return at_the_door <= grown[first.name] and all(everywhere <= each for each in grown.values())

    what = f"{everywhere} are counted on all nodes, {at_the_door} where they were said"
    eventually(lambda: of_each(ten.nodes, refused), counted, SECONDS, what, every=LOOK_SECONDS)
    assert [node.name for node in ten.nodes if not node.runs()] == []
    assert settled(ten.nodes) == logs, "no log of anybody else came in"
    know_each_other(ten.nodes)
    ten.ledger.look(ten.nodes)
    ten.ledger.wait_held(ten.nodes)
    assert not any(ten.ledger.holds(entry.hash) for entry in forged.values())
