"""The frozen vectors, read by a reader that was written from docs/protocol.md and shares no code with demesh."""

import hashlib
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import cbor2
import pytest
from nacl.signing import SigningKey, VerifyKey

_FROZEN: dict[str, Any] = json.loads(Path(__file__).with_name("vectors.json").read_text())
_MESH_ID = bytes.fromhex(_FROZEN["mesh_id"])
_PUBLIC_KEY = bytes.fromhex(_FROZEN["public_key"])
_CONTEXT = b"demesh/entry/1"


def _blake(data: bytes, size: int, person: bytes = b"") -> bytes:
    return hashlib.blake2b(data, digest_size=size, person=person).digest()


def _body(name: str) -> list[Any]:
    """The fields of an entry's body."""
    frozen = next(each for each in _FROZEN["entries"] if each["name"] == name)
    return cbor2.loads(bytes.fromhex(frozen["body"]))


def test_ids_are_made_as_the_protocol_says() -> None:
    swarm_key, nonce = bytes.fromhex(_FROZEN["swarm_key"]), bytes.fromhex(_FROZEN["epoch_nonce"])
    assert bytes(SigningKey(bytes.fromhex(_FROZEN["seed"])).verify_key) == _PUBLIC_KEY
    assert _blake(swarm_key, 16, b"demesh/mesh/1") == _MESH_ID
    assert _blake(swarm_key, 8, b"demesh/swarm/1").hex() == _FROZEN["swarm_key_fingerprint"]
    assert _blake(b"demesh/log/1" + _PUBLIC_KEY + nonce, 16).hex() == _FROZEN["log"]
    assert _FROZEN["topic"] == f"/demesh/1/{_FROZEN['mesh_id']}/entries"


@pytest.mark.parametrize("frozen", _FROZEN["entries"], ids=lambda each: each["name"])
def test_hash_and_signature_are_made_as_the_protocol_says(frozen: dict[str, str]) -> None:
    body, signature = bytes.fromhex(frozen["body"]), bytes.fromhex(frozen["signature"])
    assert cbor2.loads(bytes.fromhex(frozen["envelope"])) == [body, signature]
    assert cbor2.dumps([body, signature]).hex() == frozen["envelope"]
    assert cbor2.dumps(cbor2.loads(body)) == body
    assert _blake(body, 32, _CONTEXT).hex() == frozen["hash"]
    VerifyKey(_PUBLIC_KEY).verify(_CONTEXT + b"\0" + _MESH_ID + body, signature)


def test_entries_are_chained_as_the_protocol_says() -> None:
    before = bytes(32)
    for seq, frozen in enumerate(_FROZEN["entries"]):
        form, log, number, prev, wall_ms, up_ms, boot8, next_ms, _, payload = cbor2.loads(bytes.fromhex(frozen["body"]))
        assert (form, log.hex(), number, prev) == (1, _FROZEN["log"], seq, before)
        assert (wall_ms, up_ms) == (1_767_225_600_000 + 10_000 * seq, 86_400_000 + 10_000 * seq)
        assert (boot8.hex(), next_ms, type(payload)) == ("b0071d0000000001", 25_000, list)
        before = bytes.fromhex(frozen["hash"])


def test_vector_digest_is_made_as_the_protocol_says() -> None:
    bye = next(seq for seq, frozen in enumerate(_FROZEN["entries"]) if frozen["name"] == "bye")
    heads = [[bytes.fromhex(_FROZEN["log"]), bye, bytes.fromhex(_FROZEN["entries"][bye]["hash"])[:8]]]
    assert _blake(cbor2.dumps(heads), 32, b"demesh/vector/1").hex() == _FROZEN["vector_digest"]


def test_hello_is_laid_out_as_the_protocol_says() -> None:
    assert _body("hello")[8:] == [
        1,
        [
            _PUBLIC_KEY,
            bytes.fromhex(_FROZEN["epoch_nonce"]),
            "fra",
            "0.1.0",
            [1],
            [1, 2, 3, 7],
            ["/demesh/sync/1"],
            ["eu", "vps"],
            1,
            ["/ip4/192.0.2.7/tcp/8471", "/dns/fra.example.net/tcp/8471"],
            [bytes(range(16)), 41, bytes(range(32, 64))],
            [bytes(range(96, 128))],
        ],
    ]


def test_plan_is_laid_out_as_the_protocol_says() -> None:
    web = [
        "web",
        "http",
        "https://example.org/health",
        bytes(range(16)),
        1,
        60_000,
        10_000,
        10_000,
        2,
        2,
        0,
        "critical",
    ]
    web += [["*"], ["team", "ops"], ["status", "[200]", "body", '"Grüß Gott"']]
    stun = ["stun", "stun", "stun://stun.example.net:3478", bytes(range(16, 32)), 0, 300_000, 3_000, 15_000, 3, 1]
    stun += [65_535, "warning", ["tag:eu", "home"], [], []]
    assert _body("plan")[8:] == [2, [0, 1, [web, stun], [bytes(range(128, 144))]]]


def test_results_are_laid_out_as_the_protocol_says() -> None:
    details = [
        [0, 1, 1_790_000_000],
        [0, 2, "192.0.2.80"],
        [1, 0, "no answer within 3000 ms"],
        [2, 0, "status is 503, not 200"],
        [3, 0, "no route to the network – überall"],
        [3, 3, 250],
        [4, 0, "connection refused"],
    ]
    columns = [[9_000, 0, 4_500, 4_480, 20], [0, 1, 0, 1, 0], bytes([0, 3, 2, 4, 1]), [123, 0, 456, 0, 1]]
    assert _body("results")[8:] == [3, [1, *columns, details]]
    assert _body("heartbeat")[8:] == [3, [1, [], [], b"", [], []]]


def test_bye_is_laid_out_as_the_protocol_says() -> None:
    assert _body("bye")[8:] == [7, ["upgrade", 300_000]]


def _bucket(latency: int) -> int:
    exponent = math.floor(math.log2(latency))
    return 8 * exponent + math.floor(8 * (latency - 2**exponent) / 2**exponent)


def _rows() -> list[Any]:
    latencies = [1, 123, 124, 40_000, 456]
    histogram = [number for bucket in sorted(Counter(map(_bucket, latencies)).items()) for number in bucket]
    web = ["web", [4, 0, 1, 0, 0], 3_480_000, 60_000, [sum(latencies), 1, 40_000], histogram]
    return [["stun", [0, 0, 0, 0, 1], 0, 0, [], []], web]


def test_rollup_is_laid_out_as_the_protocol_says() -> None:
    assert _body("rollup")[8:] == [4, [490_897, _rows()]]


def test_checkpoint_is_laid_out_as_the_protocol_says() -> None:
    previous = [bytes(range(16)), 1_234, bytes(range(32, 64))]
    vector = [[bytes(range(16)), 70_000, bytes(range(96, 112))], [bytes(range(16, 32)), 9, bytes(range(64, 80))]]
    assert _body("checkpoint")[8:] == [5, [0, 1, 20_454, previous, _rows(), vector]]


def test_carry_is_laid_out_as_the_protocol_says() -> None:
    rows = _rows()
    nonces = [bytes(range(8, 16)), bytes(range(16, 24))]
    assert _body("carry")[8:] == [8, [0, 1, nonces, [20_454, 2, 20_456, 1], [*rows, rows[1]]]]


def test_event_is_laid_out_as_the_protocol_says() -> None:
    assert _body("event")[8:] == [6, ["warning", "retention", ["size", "2000000001", "text", "Über 2 GB"]]]


def test_decisions_and_notices_are_laid_out_as_the_protocol_says() -> None:
    log = bytes(range(16)).hex()
    at, until = "1767225600000", "1767232800000"
    silence = ["by", "ann", "comment", "Umzug", "ends_ms", until, "matcher1", "check=web"]
    assert _body("silence")[8:] == [
        6,
        ["silence", "", [*silence, "matcher2", "severity!~info|warnung…", "starts_ms", at]],
    ]
    assert _body("unsilence")[8:] == [6, ["unsilence", f"{log}-17", []]]
    named = ["checks", "web,api", "configured", "1", "nodes", "fra", "when", "Sun 02:00-04:00 Europe/Berlin"]
    assert _body("maintenance")[8:] == [6, ["maintenance", "weekly", named]]
    said = ["by", "ann", "comment", "on it", "key", "web", "onset_ms", "1767225540000"]
    assert _body("acknowledgement")[8:] == [6, ["acknowledgement", "DemeshCheckDown", said]]
    alert = ["label.alertname", "DiskFull", "label.host", "nas", "starts_ms", at, "status", "resolved"]
    assert _body("alert")[8:] == [9, ["alert", "0123456789abcdef", alert]]
    assert _body("alert_path")[8:] == [9, ["alert_path", "demesh", ["node1", "fra", "node2", "nas"]]]
    assert _body("alert_path_end")[8:] == [9, ["alert_path_end", "fra", ["log", log, "seq", "17"]]]
