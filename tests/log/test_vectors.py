import json

from demesh.log.bye import read_bye
from demesh.log.checkpoint import read_checkpoint_part
from demesh.log.codec import decode
from demesh.log.entry import Entry, decode_envelope
from demesh.log.event import read_event
from demesh.log.evidence import check_proof, read_proof
from demesh.log.hello import read_hello
from demesh.log.plan import read_plan_part
from demesh.log.results import read_results
from demesh.log.rollup import Rollup, read_rollup
from tests.log import vectors

_FROZEN = json.loads(vectors.FILE.read_text())


def _read(name: str) -> Entry:
    frozen = next(each for each in _FROZEN["entries"] if each["name"] == name)
    return decode_envelope(bytes.fromhex(frozen["envelope"]))


def test_encoding_reproduces_the_frozen_vectors_byte_for_byte() -> None:
    assert vectors.document() == _FROZEN


def test_frozen_vectors_are_read_as_what_was_written() -> None:
    hello, results, heartbeat = _read("hello"), _read("results"), _read("heartbeat")
    assert read_hello(hello) == vectors.hello()
    assert read_plan_part(_read("plan").payload) == vectors.plan()
    assert read_plan_part(_read("placement").payload) == vectors.placement()
    assert read_plan_part(_read("told").payload) == vectors.told()
    assert read_results(results.payload, results.up_ms) == vectors.results(results.up_ms)
    assert read_results(heartbeat.payload, heartbeat.up_ms) == vectors.HEARTBEAT
    assert read_bye(_read("bye").payload) == vectors.BYE
    assert read_rollup(_read("rollup").payload) == Rollup(vectors.HOUR, vectors.sums())
    checkpoint = read_checkpoint_part(_read("checkpoint").payload)
    assert (checkpoint.part, checkpoint.parts, checkpoint.day) == (0, 1, vectors.DAY)
    assert (checkpoint.previous, checkpoint.rows) == (vectors.PREVIOUS, vectors.sums())
    assert [each.seq for each in checkpoint.vector] == [70_000, 9]
    assert read_event(_read("event").payload) == vectors.EVENT
    for name, event in {**vectors.DECISIONS, **vectors.NOTICES}.items():
        assert read_event(_read(name).payload) == event


def test_frozen_proof_holds_for_the_key_and_mesh_of_the_vectors() -> None:
    frozen = _FROZEN["fork"]
    proof = read_proof(decode(bytes.fromhex(frozen["proof"])))
    check_proof(bytes.fromhex(_FROZEN["public_key"]), bytes.fromhex(_FROZEN["mesh_id"]), proof)
    assert proof.id.hex() == frozen["id"]
    assert (proof.seq, sorted(len(segment) for segment in (proof.one, proof.other))) == (2, [1, 2])
