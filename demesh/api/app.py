"""The API's routes. `demesh.api.guard` decides who is answered; a route that changes something says `requires(Scope.WRITE)`.

What a node answers is sent as it is: the models of `demesh.api.models` describe it in `/openapi.json` and are not run.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import trio
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.exceptions import HTTPException as StarletteHTTPException

from demesh import __version__
from demesh.alerts.trial import SinkTrial
from demesh.api import badge as badges
from demesh.api.deciding import Decider, add_deciding_routes
from demesh.api.discovery import DiscoveredNode, add_discovery_route
from demesh.api.explaining import ExplainingNode, add_explaining_route
from demesh.api.guard import Access, Asgi, guarded
from demesh.api.joining import JoiningNode, KeyRotation, add_joining_routes
from demesh.api.lines import Lines
from demesh.api.mesh_metrics import mesh_metrics
from demesh.api.models import (
    AskModel,
    Done,
    HeadModel,
    Health,
    HeldCheckModel,
    MemberModel,
    Problem,
    Reloaded,
    StatusModel,
)
from demesh.api.parked import ParkingNode, add_parked_routes
from demesh.api.probe_metrics import probe_metrics
from demesh.api.problem import problem
from demesh.api.resource_metrics import resource_metrics
from demesh.api.scopes import requires
from demesh.api.servers import add_servers_routes
from demesh.asking import Question
from demesh.checks.latest import LatestRuns
from demesh.clock import Clock
from demesh.errors import UsageError
from demesh.log.chain import Logs
from demesh.mesh.network import Usage
from demesh.ranking import Ranking
from demesh.tokens import Scope

log = logging.getLogger(__name__)


class Books(Protocol):
    """What the API needs of a historian."""

    @property
    def behind(self) -> int: ...


class ApiNode(JoiningNode, ExplainingNode, ParkingNode, DiscoveredNode, Protocol):
    """What the API needs of a node."""

    logs: Logs
    latest: LatestRuns

    @property
    def clock(self) -> Clock: ...

    @property
    def historian(self) -> Books: ...

    @property
    def deciding(self) -> Decider: ...

    @property
    def ranking(self) -> Ranking: ...

    def status(self) -> dict[str, Any]: ...

    def heads(self) -> list[dict[str, Any]]: ...

    def held_checks(self) -> list[dict[str, Any]]: ...

    def question(self, name: str | None, table: Mapping[str, Any], selectors: Sequence[str]) -> Question: ...

    def store_bytes(self) -> int: ...

    def usage(self) -> Usage: ...

    def sink_trial(self) -> SinkTrial: ...

    async def forget(self, wanted: str) -> None: ...

    def leave(self) -> None: ...

    def hanging(self) -> Sequence[str]: ...

    async def reload(self) -> None: ...


_MAY_REFUSE: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "A token is needed, or it is not known here."},
    403: {"model": Problem, "description": "The token does not allow this."},
    421: {"model": Problem, "description": "The Host header names another machine."},
}


def make_app(node: ApiNode, access: Access, rotation: KeyRotation) -> Asgi:
    """The ASGI application that answers for `node`."""
    app = FastAPI(
        title="demesh",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        responses=_MAY_REFUSE,
        # Only to describe it: the guard has looked at the token before.
        dependencies=[Depends(HTTPBearer(auto_error=False, description="`demesh token new` makes one."))],
    )
    _add_routes(app, node)
    add_joining_routes(app, node, rotation)
    add_deciding_routes(app, node.deciding)
    add_explaining_route(app, node)
    add_servers_routes(app, node)
    add_parked_routes(app, node)
    add_discovery_route(app, node)
    _say_errors_in_json(app)
    return guarded(app, access)


def _add_routes(app: FastAPI, node: ApiNode) -> None:
    @app.get(
        "/healthz",
        response_model=None,
        responses={200: {"model": Health}, 503: {"model": Problem, "description": "It hangs; a restart helps."}},
    )
    async def healthz() -> Response:
        """This process is sane: the loops that it lives by go round. Says nothing about checks, peers or alerts."""
        if hanging := node.hanging():
            return problem(503, f"This node hangs, restart it: {', '.join(hanging)}.")
        return JSONResponse({"status": "ok"})

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """For Prometheus: this node's newest results under blackbox_exporter's names, the mesh, and this process."""
        return Response(await _metrics(node), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    @app.get("/api/v1/status", response_model=None, responses={200: {"model": StatusModel}})
    async def status() -> Response:
        """What this node knows of the whole mesh, now."""
        return JSONResponse(node.status())

    @app.get("/api/v1/checks", response_model=None, responses={200: {"model": list[HeldCheckModel]}})
    async def checks() -> Response:
        """The checks that this node holds, and where each comes from."""
        return JSONResponse(node.held_checks())

    @app.post(
        "/api/v1/ask",
        response_model=None,
        dependencies=[requires(Scope.WRITE)],
        responses={
            200: {"content": {"application/x-ndjson": {}}, "description": "Who is asked, then an AnswerModel a line."},
            422: {"model": Problem, "description": "It cannot be tried as asked; nobody was."},
        },
    )
    async def ask(request: AskModel) -> Response:
        """Have one check tried once, now, from this node and others; each answer is a line of JSON as it comes."""
        try:
            return Lines(node.question(request.check, request.table, request.selectors).run)
        except UsageError as error:
            return problem(422, str(error))

    @app.post(
        "/api/v1/alerts/test",
        response_model=None,
        dependencies=[requires(Scope.WRITE)],
        responses={
            200: {
                "content": {"application/x-ndjson": {}},
                "description": "`node`, how many `sinks`; then a line each: `sink`, `kind`, `arrived`, `took_ms`, `problem`.",
            },
        },
    )
    async def test_sinks() -> Response:
        """Send a marked test through every sink of this node; what came of each is a line of JSON as it comes."""
        return Lines(node.sink_trial().run)

    @app.get(
        "/badge/{name:path}.svg",
        response_class=Response,
        responses={200: {"content": {badges.MEDIA_TYPE: {}}}, 404: {"model": Problem, "description": "No such check."}},
    )
    async def badge(name: str) -> Response:
        """What the mesh says of a check, as a picture."""
        for check in node.view.checks(node.clock.monotonic_ms()):
            if check.row.name == name:
                return badges.response(name, check.verdict)
        return problem(404, "There is no check of this name.")

    @app.get("/api/v1/members", response_model=None, responses={200: {"model": list[MemberModel]}})
    async def members() -> Response:
        """The members, connected or not, and those that have left."""
        return JSONResponse(node.members())

    @app.get("/api/v1/log/heads", response_model=None, responses={200: {"model": list[HeadModel]}})
    async def heads() -> Response:
        """Every log this node holds, with its newest entry."""
        return JSONResponse(node.heads())

    @app.post(
        "/api/v1/reload",
        response_model=None,
        dependencies=[requires(Scope.WRITE)],
        responses={
            200: {"model": Reloaded},
            422: {"model": Problem, "description": "The configuration is bad; the last good one stays in force."},
        },
    )
    async def reload() -> Response:
        """Take up the configuration anew."""
        try:
            await node.reload()
        except UsageError as error:
            return problem(422, str(error))
        return JSONResponse({"status": "reloaded"})

    _add_changes(app, node)


def _add_changes(app: FastAPI, node: ApiNode) -> None:
    @app.post(
        "/api/v1/members/forget",
        response_model=None,
        dependencies=[requires(Scope.WRITE)],
        responses={
            200: {"model": Done},
            409: {"model": Problem, "description": "There is no such member, or it cannot be forgotten."},
        },
    )
    async def forget(member: str) -> Response:
        """Tell the mesh that a member, by name or peer id, is none any more until it is heard of again."""
        try:
            await node.forget(member)
        except UsageError as error:
            return problem(409, str(error))
        return JSONResponse({"status": "forgotten"})

    @app.post(
        "/api/v1/leave",
        response_model=None,
        dependencies=[requires(Scope.WRITE)],
        responses={200: {"model": Done}},
    )
    async def leave() -> Response:
        """Stop the node, and be no member any more until it is started again."""
        node.leave()
        return JSONResponse({"status": "leaving"})


def _say_errors_in_json(app: FastAPI) -> None:
    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: StarletteHTTPException) -> Response:
        sentence = {404: "There is nothing at this path; /openapi.json lists what there is."}
        sentence[405] = f"{request.method} is not what this path is for; /openapi.json says what is."
        said = problem(error.status_code, sentence.get(error.status_code, str(error.detail)))
        said.headers.update(error.headers or {})
        return said

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        places = ", ".join(sorted({".".join(map(str, each["loc"])) for each in error.errors()}))
        return problem(422, f"The request is not of the shape in /openapi.json: {places}.")

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return problem(500, "The node failed to answer; its diagnostic log says why.")


async def _metrics(node: ApiNode) -> bytes:
    """The view is read at once, on the loop; the text, which is the longer part, is made in a thread."""
    now_ms, up_ms = node.clock.monotonic_ms(), node.clock.up_ms()
    checks = node.view.checks(now_ms)
    presences = [node.view.presence(member, now_ms) for member in node.view.everyone()]
    states, behind, own_clock = list(node.logs.states()), node.historian.behind, node.view.own_clock()
    resources = resource_metrics(node.usage(), trio.lowlevel.current_statistics().tasks_living)
    runs = [(check, run) for check in node.settings.checks if (run := node.latest.of(check))]

    def write() -> bytes:
        mesh = mesh_metrics(node.mesh, checks, presences, states, behind, node.store_bytes(), own_clock)
        return generate_latest() + (mesh + resources + probe_metrics(runs, up_ms)).encode()

    return await trio.to_thread.run_sync(write)
