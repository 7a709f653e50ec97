"""The fixed log whose bytes are frozen in `vectors.json`, for this test suite and for whoever writes another demesh.

`python -m tests.log.vectors` prints the file anew. That is right only for a new entry format: what is in it has been signed
and stored by nodes out there.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from demesh.identity import SwarmKey
from demesh.log.bye import Bye
from demesh.log.carry import carry_payloads
from demesh.log.checkpoint import checkpoint_payloads
from demesh.log.codec import Value, encode
from demesh.log.decision import (
    Acknowledgement,
    Maintenance,
    Silence,
    acknowledgement_event,
    end_event,
    maintenance_event,
    silence_event,
)
from demesh.log.entry import Entry, Kind, encode_envelope, log_id
from demesh.log.event import Event
from demesh.log.evidence import proof_of
from demesh.log.head import Head
from demesh.log.hello import Hello, PresenceProfile
from demesh.log.matcher import Matcher
from demesh.log.notice import ForeignAlert, PathAlive, PathEnd, alert_notice, path_end_notice, path_notice
from demesh.log.plan import QUORUM_ALL, PlanPart, PlanRow, split_plan
from demesh.log.results import Result, Results
from demesh.log.rollup import rollup_payloads
from demesh.log.state import LogState, vector, vector_digest
from demesh.log.sums import Sums
from demesh.log.writer import Writer
from demesh.mesh.gossip import topic
from demesh.outcome import Outcome

FILE = Path(__file__).with_name("vectors.json")

_SEED = bytes(range(32))
_KEY = SigningKey(_SEED)
_PUBLIC_KEY = bytes(_KEY.verify_key)
_SWARM_KEY = SwarmKey(bytes(range(64, 96)))
_EPOCH_NONCE = bytes(range(8))
_BOOT8 = bytes.fromhex("b0071d0000000001")
_WALL_MS = 1_767_225_600_000
_UP_MS = 86_400_000
_NEXT_MS = 25_000

HEARTBEAT = Results(1, ())
BYE = Bye("upgrade", 300_000)


HOUR, DAY = 490_897, 20_454
PREVIOUS = (bytes(range(16)), Head(1_234, bytes(range(32, 64))))
HELD = (
    LogState(bytes(range(16, 32)), bytes(32), Head(9, bytes(range(64, 96)))),
    LogState(bytes(range(16)), bytes(32), Head(70_000, bytes(range(96, 128)))),
)
CARRIED = (bytes(range(8, 16)), bytes(range(16, 24)))
EVENT = Event("warning", "retention", {"text": "Über 2 GB", "size": "2000000001"})
_SILENCE = Silence(
    (Matcher("check", "=", "web"), Matcher("severity", "!~", "info|warnung…")),
    _WALL_MS,
    _WALL_MS + 7_200_000,
    "Umzug",
    "ann",
)
_PLACE = (bytes(range(16)), 17)
DECISIONS = {
    "silence": silence_event(_SILENCE),
    "unsilence": end_event(_SILENCE, _PLACE),
    "maintenance": maintenance_event(
        Maintenance("weekly", "Sun 02:00-04:00 Europe/Berlin", checks=("web", "api"), nodes=("fra",), configured=True)
    ),
    "acknowledgement": acknowledgement_event(
        Acknowledgement("DemeshCheckDown", "web", _WALL_MS - 60_000, "on it", "ann")
    ),
}
NOTICES = {
    "alert": alert_notice(
        ForeignAlert("0123456789abcdef", True, _WALL_MS, (("alertname", "DiskFull"), ("host", "nas")))
    ),
    "alert_path": path_notice(PathAlive("demesh", ("fra", "nas"))),
    "alert_path_end": path_end_notice(PathEnd("fra", _PLACE)),
}


def sums() -> dict[str, Sums]:
    web, stun = Sums(), Sums()
    for latency_us in (100, 12_300, 12_400, 4_000_000):
        web.count(Outcome.PASS, latency_us)
    web.count(Outcome.MISMATCH, 45_600)
    web.up_ms, web.down_ms = 3_480_000, 60_000
    stun.count(Outcome.ERROR, None)
    return {"web": web, "stun": stun}


def hello() -> Hello:
    return Hello(
        public_key=_PUBLIC_KEY,
        epoch_nonce=_EPOCH_NONCE,
        name="fra",
        version="0.1.0",
        tags=("eu", "vps"),
        presence=PresenceProfile.ROAMING,
        addresses=("/ip4/192.0.2.7/tcp/8471", "/dns/fra.example.net/tcp/8471"),
        previous=(bytes(range(16)), Head(41, bytes(range(32, 64)))),
        formats=(1,),
        kinds=(1, 2, 3, 7),
        protocols=("/demesh/sync/1",),
        fork_proofs=(bytes(range(96, 128)),),
    )


def _rows() -> list[PlanRow]:
    web = PlanRow(
        name="web",
        type="http",
        target="https://example.org/health",
        definition=bytes(range(16)),
        runs=True,
        interval_ms=60_000,
        timeout_ms=10_000,
        retry_interval_ms=10_000,
        fail_after=2,
        recover_after=2,
        quorum=0,
        severity="critical",
        labels=(("team", "ops"),),
        options=(("status", "[200]"), ("body", '"Grüß Gott"')),
    )
    stun = PlanRow(
        name="stun",
        type="stun",
        target="stun://stun.example.net:3478",
        definition=bytes(range(16, 32)),
        runs=False,
        interval_ms=300_000,
        timeout_ms=3_000,
        retry_interval_ms=15_000,
        fail_after=3,
        recover_after=1,
        quorum=QUORUM_ALL,
        severity="warning",
        nodes=("tag:eu", "home"),
    )
    return [web, stun]


def plan() -> PlanPart:
    (part,) = split_plan(_rows(), sinks=[bytes(range(128, 144))])
    return part


def placement() -> PlanPart:
    """A plan with all that rows tell since checks have spread and are taken over."""
    web, stun = _rows()
    mine = replace(web, spread=3, takes_part=True, whole=True, keys=(("ip", '"6"'), ("method", '"HEAD"')))
    (part,) = split_plan([mine, replace(stun, whole=True, origin=bytes(range(144, 176)))])
    return part


def told() -> PlanPart:
    """A plan with what rows tell since alerts depend on each other."""
    web, stun = _rows()
    (part,) = split_plan(
        [
            replace(web, depends_on=("turn",), runbook="https://wiki.example.org/web", notify=False),
            replace(stun, anchor=True, paused=True),
        ]
    )
    return part


def parked() -> PlanPart:
    """A plan with a server of a list that never answered."""
    _, stun = _rows()
    (part,) = split_plan([replace(stun, keys=(("listed", "true"),), runs=False, notify=False, parked=True)])
    return part


def results(up_ms: int) -> Results:
    return Results(
        1,
        (
            Result(0, up_ms - 9_000, Outcome.PASS, 12_300, certificate_expires_s=1_790_000_000, address="192.0.2.80"),
            Result(1, up_ms - 9_000, Outcome.TIMEOUT, None, "no answer within 3000 ms"),
            Result(0, up_ms - 4_500, Outcome.MISMATCH, 45_600, "status is 503, not 200"),
            Result(1, up_ms - 20, Outcome.ERROR, None, "no route to the network – überall", lateness_ms=250),
            Result(0, up_ms, Outcome.FAIL, 100, "connection refused"),
        ),
    )


def entries() -> list[tuple[str, Entry]]:
    """The fixed log, entry by entry with its name."""
    writer = Writer(_KEY, _SWARM_KEY.first_mesh_id(), _BOOT8, log_id(_PUBLIC_KEY, _EPOCH_NONCE), None)
    found: list[tuple[str, Entry]] = []

    def write(name: str, kind: Kind, payload: Value) -> None:
        late_ms = 10_000 * len(found)
        found.append(
            (name, writer.write(kind, payload, wall_ms=_WALL_MS + late_ms, up_ms=_UP_MS + late_ms, next_ms=_NEXT_MS))
        )

    write("hello", Kind.HELLO, hello().payload())
    write("plan", Kind.PLAN, plan().payload())
    write("results", Kind.RESULTS, results(_UP_MS + 20_000).payload(_UP_MS + 20_000))
    write("heartbeat", Kind.RESULTS, HEARTBEAT.payload(_UP_MS + 30_000))
    write("bye", Kind.BYE, BYE.payload())
    ((rollup,), (checkpoint,)) = rollup_payloads(HOUR, sums()), checkpoint_payloads(DAY, PREVIOUS, sums(), HELD)
    write("rollup", Kind.ROLLUP, rollup)
    write("checkpoint", Kind.CHECKPOINT, checkpoint)
    write("event", Kind.EVENT, EVENT.payload())
    (carry,) = carry_payloads(CARRIED, {DAY: sums(), DAY + 2: {"web": sums()["web"]}})
    write("carry", Kind.CARRY, carry)
    write("placement", Kind.PLAN, placement().payload())
    write("told", Kind.PLAN, told().payload())
    for name, event in DECISIONS.items():
        write(name, Kind.EVENT, event.payload())
    for name, notice in NOTICES.items():
        write(name, Kind.NOTICE, notice.payload())
    write("parked", Kind.PLAN, parked().payload())
    return found


def fork(named: dict[str, Entry]) -> dict[str, str]:
    """The proof that the results and the heartbeat behind them have another history, which has a bye in place of the results."""
    before, one = named["plan"], [named["results"]._replace(signature=b""), named["heartbeat"]]
    writer = Writer(_KEY, _SWARM_KEY.first_mesh_id(), _BOOT8, before.log, before.head)
    other = writer.write(Kind.BYE, BYE.payload(), wall_ms=_WALL_MS + 20_001, up_ms=_UP_MS + 20_001, next_ms=_NEXT_MS)
    proof = proof_of(one, [other])
    state = LogState(before.log, _PUBLIC_KEY, before.head, fork=proof.fork)
    return {
        "proof": encode(proof.value()).hex(),
        "id": proof.id.hex(),
        "vector_row": encode(vector([state])[0]).hex(),
        "vector_digest": vector_digest([state]).hex(),
    }


def document() -> dict[str, Any]:
    """What `vectors.json` holds."""
    log = entries()
    last = dict(log)["bye"]  # what was frozen first
    return {
        "seed": _SEED.hex(),
        "public_key": _PUBLIC_KEY.hex(),
        "swarm_key": _SWARM_KEY.psk.hex(),
        "swarm_key_fingerprint": _SWARM_KEY.fingerprint,
        "mesh_id": _SWARM_KEY.first_mesh_id().hex(),
        "topic": topic(_SWARM_KEY.first_mesh_id()),
        "epoch_nonce": _EPOCH_NONCE.hex(),
        "log": last.log.hex(),
        "vector_digest": vector_digest([LogState(last.log, _PUBLIC_KEY, last.head)]).hex(),
        "fork": fork(dict(log)),
        "entries": [
            {
                "name": name,
                "body": entry.body.hex(),
                "hash": entry.hash.hex(),
                "signature": entry.signature.hex(),
                "envelope": encode_envelope(entry).hex(),
            }
            for name, entry in log
        ],
    }


if __name__ == "__main__":
    print(json.dumps(document(), indent=1))
