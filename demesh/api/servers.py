"""The routes that rank public servers: one in our own shape, one in that of Dogdorm for its readers."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Protocol

import trio
from fastapi import FastAPI, Header, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, RootModel

from demesh import limits
from demesh.address import address_text
from demesh.ranking import Ranked, Ranking
from demesh.view.dogdorm import Life
from demesh.view.ranking import Server
from demesh.view.report import iso
from demesh.view.servers import Ranked as Told
from demesh.view.servers import document


@dataclass(frozen=True, slots=True)
class Written:
    """An answer, and the ETag of what it says."""

    body: bytes
    tag: str


class ScoreModel(BaseModel):
    value: float
    record: float | None
    evidence: float
    now: float


class SeenModel(BaseModel):
    node: str
    vote: str
    counts: bool


class DogdormScoreModel(BaseModel):
    """What Dogdorm would say, had it looked from `node`. Runs without a failure in seconds."""

    score: float
    node: str
    tests: int
    failed: int
    uptime_s: int
    uptime_max_s: int
    last_success: str | None


class ServerModel(BaseModel):
    name: str
    type: str
    family: str
    transport: str
    host: str
    port: int
    over: str
    address: str | None
    other_address: str | None
    state: str
    since: str | None
    score: ScoreModel
    dogdorm: DogdormScoreModel | None
    uptime: float | None
    observed_ms: int
    latency_ms: float | None
    vantages: list[SeenModel]


class ServersModel(BaseModel):
    as_of: str
    servers: list[ServerModel]


class RecordModel(BaseModel):
    """One server as Dogdorm numbers it; what only its own database knows is null."""

    id: int
    table_type: int
    type: int
    af: int
    proto: int
    ip: str | None
    port: int
    user: None
    password: None
    alias_id: None
    status_id: None
    group_id: int
    score: float
    test_no: int
    failed_tests: int
    uptime: int
    max_uptime: int
    last_success: int
    fqns: list[str]


class DogdormListModel(RootModel[dict[str, dict[str, dict[str, list[list[RecordModel]]]] | int]]):
    """By type, family and transport: groups of servers. And `timestamp`, in Unix seconds."""


class RankingNode(Protocol):
    """What is needed of a node."""

    @property
    def ranking(self) -> Ranking: ...


def add_servers_routes(app: FastAPI, node: RankingNode) -> None:
    @app.get("/api/v1/servers", response_model=None, responses={200: {"model": ServersModel}})
    async def servers(
        type_: Annotated[
            Literal["stun", "stun-nat", "turn", "mqtt", "ntp"] | None,
            Query(alias="type", description="Only of this type."),
        ] = None,
        family: Annotated[Literal["4", "6"] | None, Query(description="Only IPv4, or only IPv6.")] = None,
        limit: Annotated[int | None, Query(ge=1, description="So many of each type, family and transport.")] = None,
    ) -> Response:
        """Public servers of each type, family and transport, best first."""
        ranked = await node.ranking.ranked()
        chosen = [
            each
            for each in ranked.servers
            if (type_ is None or kind_of(each) == type_) and (family is None or each.place.family == f"IPv{family}")
        ]
        return JSONResponse(servers_told(_best(chosen, limit), ranked.wall_ms))

    writing = trio.Lock()  # many readers cost as much as one
    of, written = Ranked((), 0), Written(b"", "")

    @app.get(
        "/servers",
        response_model=None,
        responses={200: {"model": DogdormListModel}},
    )
    async def dogdorm(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """The same in the shape of Dogdorm's list, for its readers; without credentials."""
        nonlocal of, written
        ranked = await node.ranking.ranked()
        async with writing:
            if of is not ranked:
                of, written = ranked, await trio.to_thread.run_sync(dogdorms_list, ranked)
            told = written
        headers = {"ETag": told.tag, "Cache-Control": f"max-age={limits.SERVERS_RANKED_AGAIN_MS // 1_000}"}
        if is_had(told.tag, if_none_match):
            return Response(status_code=304, headers=headers)
        return Response(told.body, media_type="application/json", headers=headers)


def is_had(tag: str, if_none_match: str | None) -> bool:
    """Whether who sends this header has what goes by that ETag, or anything where it says `*`; compared weakly (RFC 9110)."""
    had = {each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")}
    return not had.isdisjoint(("*", tag.removeprefix("W/")))


def tag_of(content: bytes) -> str:
    """An ETag. It is weak: the answers that have it say the same, but may be of different times."""
    return f'W/"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'


def dated(told: dict[str, Any], time: str) -> Written:
    """`told` as JSON. The ETag stays as it is while nothing but its `time`, one of the keys, changes."""
    body, undated = (
        json.dumps(each, separators=(",", ":")).encode()
        for each in (told, {key: value for key, value in told.items() if key != time})
    )
    return Written(body, tag_of(undated))


def kind_of(server: Server) -> str:
    """The type as the command line and our own route name it."""
    return {"STUN(see_ip)": "stun", "STUN(test_nat)": "stun-nat"}.get(server.place.type, server.place.type.lower())


def _best(servers: list[Server], limit: int | None) -> list[Server]:
    """In order, but no more than `limit` of each list."""
    found: list[Server] = []
    counts: dict[tuple[str, str, str], int] = {}
    for each in servers:
        place = each.place.type, each.place.family, each.place.transport
        counts[place] = counts.get(place, 0) + 1
        if limit is None or counts[place] <= limit:
            found.append(each)
    return found


def servers_told(servers: Iterable[Server], wall_ms: int) -> dict[str, Any]:
    """What `GET /api/v1/servers` answers."""
    return {"as_of": iso(wall_ms), "servers": [_told(each) for each in servers]}


def _told(server: Server) -> dict[str, Any]:
    place, score = server.place, server.score
    return {
        "name": server.name,
        "type": kind_of(server),
        "family": place.family,
        "transport": place.transport.lower(),
        "host": place.host,
        "port": place.port,
        "over": place.over,
        "address": server.address,
        "other_address": address_text(*server.other) if server.other else None,
        "state": server.state,
        "since": iso(server.since_ms) if server.since_ms is not None else None,
        "score": {"value": score.value, "record": score.record, "evidence": score.evidence, "now": score.now},
        "dogdorm": _dogdorm(server.dogdorm) if server.dogdorm else None,
        "uptime": server.uptime,
        "observed_ms": server.up_ms + server.down_ms,
        "latency_ms": server.latency_us / 1_000 if server.latency_us is not None else None,
        "vantages": [{"node": each.node, "vote": str(each.vote), "counts": each.counts} for each in server.vantages],
    }


def _dogdorm(life: Life) -> dict[str, Any]:
    return {
        "score": life.score,
        "node": life.node,
        "tests": life.tests,
        "failed": life.failed,
        "uptime_s": life.uptime_s,
        "uptime_max_s": life.uptime_max_s,
        "last_success": iso(1_000 * life.last_success_s) if life.last_success_s else None,
    }


def dogdorms_list(ranked: Ranked) -> Written:
    """What `GET /servers` answers."""
    answered = [_for_dogdorm(each) for each in ranked.servers if not each.never_answered]
    return dated(document(answered, ranked.wall_ms // 1_000), "timestamp")


def _for_dogdorm(server: Server) -> Told:
    score = server.score
    told = Told(
        server.place,
        server.name,
        server.address,
        score.value,
        server.other,
        now=score.now,
        passing=len(score.passing),
    )
    life = server.dogdorm
    if life is None:
        return told
    return replace(
        told,
        tests=life.tests,
        failed=life.failed,
        uptime_s=life.uptime_s,
        uptime_max_s=life.uptime_max_s,
        last_success_s=life.last_success_s,
    )
