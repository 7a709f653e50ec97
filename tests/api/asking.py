"""A node's answers without a node: a real view of three members behind the API's `ApiNode`, asked as an ASGI server asks."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import trio

from demesh.alerts.delivery import no_notify
from demesh.alerts.incident import Incident
from demesh.alerts.trial import SinkTrial
from demesh.api.app import make_app
from demesh.api.guard import Access, Asgi
from demesh.checks.check import Check
from demesh.checks.latest import LatestRuns
from demesh.checks.runner import Run
from demesh.config.load import Settings
from demesh.deciding import Deciding
from demesh.explaining import Question as Explained
from demesh.explaining import explain_at_once
from demesh.identity import SwarmKey
from demesh.log.chain import Logs
from demesh.log.entry import Kind
from demesh.log.event import Event
from demesh.mesh.key_change import Change
from demesh.mesh.network import Usage
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec
from demesh.ranking import Ranking
from demesh.swarm_key_files import SwarmKeys
from demesh.tokens import TokenCheck
from demesh.view import report
from demesh.view.hours import Hours
from demesh.view.members import Outlook, members_told
from demesh.view.ranking import Records
from demesh.view.uptime import Past
from tests.alerts.build import incident
from tests.log.builders import MESH, TrioClock
from tests.view.build import OWN, PASS, MemberLog, View, deliver, new_view, row, three_vantages
from tests.view.telling import Pile, outage

_PAST = {"web": Past(hours=Hours(1_699_999_200_000, (None, 0.5, 1), (0, 0.25, 1)))}


async def unreachable(url: str, document: bytes) -> tuple[int, int | None]:
    raise NotImplementedError


def check(name: str = "web", target: str = "https://web.example.net/", type_: str = "http") -> Check:
    return Check(name, ProbeSpec(type_, target, 10_000))


def run(result: ProbeResult, up_ms: int = 0) -> Run:
    return Run(0, up_ms, result, 0)


def whole(outcome: Outcome = PASS, **changed: Any) -> ProbeResult:
    """A result with everything that an HTTP probe measures."""
    phases = {"dns": 812, "connect": 3_100, "tls": 12_345, "first_byte": 8_000, "transfer": 123}
    result = ProbeResult(outcome, 24_380, "", phases, 1_800_000_000, "192.0.2.7", 200)
    return replace(result, **changed)


@dataclass
class Books:
    """As much of a historian as the API asks for."""

    behind: int = 0
    past: Mapping[str, Past] = field(default_factory=lambda: _PAST)


@dataclass
class Node:
    """Three members that see `web` up."""

    checks: Sequence[Check] = (check(),)
    mesh: str = "0a1b2c3d"
    key: bytes = OWN.key
    latest: LatestRuns = field(default_factory=LatestRuns)
    logs: Logs = field(default_factory=lambda: Logs(MESH, OWN.log, []))
    historian: Books = field(default_factory=Books)
    error: Exception | None = None
    """What taking up the configuration anew raises."""
    reloads: int = 0
    asked: list[Any] = field(default_factory=list)
    never_ends: bool = False
    """Whether some answer to a question does not come; `given_up` once nobody waits for it any more."""
    given_up: bool = False
    leaves: int = 0
    hung: list[str] = field(default_factory=list[str])
    retried: list[list[str]] = field(default_factory=list[list[str]])
    forgotten: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.settings = Settings("a", checks=tuple(self.checks))
        self.clock = TrioClock()
        self.view: View = new_view()
        self.deciding = deciding(self.view, self.clock, self.settings)
        self.records: Records = {}
        self.ranking = Ranking(self.view, self._recorded, self.clock)
        for member in three_vantages(self.view, row("web")):
            deliver(self.view, member, member.outcomes(1_000, PASS), 1_000)

    async def _recorded(self, now_ms: int) -> Records:
        await trio.lowlevel.checkpoint()
        return self.records

    def status(self) -> dict[str, Any]:
        incident = {"name": "DemeshCheckDown", "subject": "web", "state": "open", "since": "2026-01-01T00:00:00Z"}
        answer = report.status(self.view, _PAST, 0, self.mesh, OWN.key, 2_000, 1_700_000_002_000)
        return {
            **answer,
            "logs": report.logs_told(self.view, {bytes(16): 40, OWN.log: 1}, {OWN.log: OWN.key}, left_off=False),
            "network": report.network(1, "A service stopped.", 90_000, 3_000, 1_700_000_002_000, cut_off=False),
            "incidents": [
                {**incident, "labels": {"check": "web"}, "annotations": {}, "muted": None, "acknowledged": None}
            ],
            "sinks": [{"name": "http://am:9093", "ok": False, "last_ok_at": None, "problem": "refused"}],
        }

    def hanging(self) -> list[str]:
        return self.hung

    def heads(self) -> list[dict[str, Any]]:
        return [{"log": "ab", "node": "a", "peer_id": "12D3KooWx", "seq": 1, "hash": "cd", "forked_at": None}]

    def listening(self) -> list[str]:
        return ["/ip4/0.0.0.0/tcp/8471"]

    def sink_trial(self) -> SinkTrial:
        return SinkTrial((), (), "fra", self.mesh, unreachable, no_notify, TrioClock())

    def held_checks(self) -> list[dict[str, Any]]:
        held = {"name": "web", "type": "http", "target": "https://web.example.net/", "interval_ms": 60_000}
        return [
            {
                **held,
                "deadline_ms": 120_000,
                "nodes": ["*"],
                "spread": 2,
                "runs_here": True,
                "parked": False,
                "from": "fra",
            }
        ]

    def question(self, name: str | None, table: Mapping[str, Any], selectors: Sequence[str]) -> Any:
        if self.error:
            raise self.error
        self.asked.append((name, table, selectors))
        return self

    async def run(self, tell: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        """What is told of a question."""
        await tell({"asked": ["a", "b"], "check": "web", "target": "https://web.example.net/", "type": "http"})
        await tell({"node": "a", "own": True, "answered": True})
        if self.never_ends:
            try:
                await trio.sleep_forever()
            finally:
                self.given_up = True

    async def explain(self, question: Explained) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return explain_at_once(Pile(outage().written), question)

    def store_bytes(self) -> int:
        return 4_096

    def usage(self) -> Usage:
        return Usage(connections=3, inbound_slots=2, streams=7)

    def members(self) -> list[dict[str, Any]]:
        return members_told(Outlook(self.view, OWN.key, {}, lambda log: 1, lambda log: 3, 2_000, 1_700_000_002_000))

    async def forget(self, wanted: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.error:
            raise self.error
        self.forgotten.append(wanted)

    def retry(self, names: Sequence[str]) -> list[str]:
        if self.error:
            raise self.error
        self.retried.append(list(names))
        return list(names) or ["binding"]

    def leave(self) -> None:
        self.leaves += 1

    async def reload(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.error:
            raise self.error
        self.reloads += 1


class OneIncident:
    """A lookout that has found `web` down."""

    def open(self) -> list[Incident]:
        return [incident("web", 1_700_000_000_000)]

    def incidents(self) -> list[dict[str, Any]]:
        told = {"name": "DemeshCheckDown", "subject": "web", "state": "open", "since": "2026-01-01T00:00:00Z"}
        muted = {"kind": "silence", "by": "ann", "until": None, "comment": ""}
        said = {"id": "ab-1", "by": "ann", "node": "a", "comment": "", "at": None}
        return [{**told, "labels": {}, "annotations": {}, "muted": muted, "acknowledged": said}]

    def closed(self) -> list[dict[str, Any]]:
        told = {"name": "DemeshCheckDown", "subject": "api", "state": "closed", "since": None, "closed_at": None}
        return [{**told, "labels": {}, "annotations": {}}]

    def look_soon(self) -> None:
        pass


def deciding(view: View, clock: TrioClock, settings: Settings) -> Deciding:
    """A real one, whose events are in the view's own log at once."""
    own = MemberLog("own")
    own.boot8 = clock.boot8

    async def tell(kind: Kind, events: Sequence[Event]) -> None:
        await trio.lowlevel.checkpoint()
        for event in events:
            deliver(view, own, own.entry(kind, event.payload(), clock.up_ms()), clock.monotonic_ms())

    return Deciding(
        view,
        "0a1b2c3d",
        own.key,
        clock,
        lambda *events: tell(Kind.EVENT, events),
        lambda *events: tell(Kind.NOTICE, events),
        OneIncident(),
        lambda: settings,
    )


class Rotation:
    """A swarm key, and a change of it once it was begun."""

    def __init__(self) -> None:
        self.keys = SwarmKeys(SwarmKey(b"o" * 32))
        self.error: Exception | None = None
        self.without: frozenset[bytes] = frozenset()

    async def begin(self, without: frozenset[bytes]) -> None:
        await trio.lowlevel.checkpoint()
        if self.error:
            raise self.error
        self.without = without
        change = Change(self.keys.current.digest, SwarmKey(b"n" * 32), OWN.key, frozenset({OWN.key}) - without)
        self.keys = replace(self.keys, change=change.joined({OWN.key}, finished=False))

    async def finish(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.error:
            raise self.error
        self.keys = SwarmKeys(SwarmKey(b"n" * 32))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def no_tokens() -> Access:
    return Access(TokenCheck(Path("/nonexistent/tokens.json"), None))


async def ask(
    path: str,
    *,
    host: str | None = "127.0.0.1:8470",
    method: str = "GET",
    query: str = "",
    client: tuple[str, int] | None = ("127.0.0.1", 50_000),
    token: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    chunks: Sequence[bytes] = (b"",),
    access: Access | None = None,
    node: Node | None = None,
    rotation: Rotation | None = None,
    leaves: bool = False,
    app: Asgi | None = None,
) -> Answer:
    """What the API, or `app`, answers. The body comes in `chunks`, and after the last one nothing more unless it is empty, or the
    client leaves.
    """
    sent: list[dict[str, Any]] = []
    waiting = [{"type": "http.request", "body": chunk, "more_body": bool(chunk)} for chunk in chunks]

    async def receive() -> dict[str, Any]:
        if not waiting and leaves:
            return {"type": "http.disconnect"}
        if not waiting:
            await trio.sleep_forever()
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    said = [*headers, *([("host", host)] if host is not None else [])]
    said += [("authorization", f"Bearer {token}")] if token else []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "client": client,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in said],
    }
    asked = app or make_app(cast(Any, node or Node()), access or no_tokens(), rotation or Rotation())
    await asked(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    found = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, body)
