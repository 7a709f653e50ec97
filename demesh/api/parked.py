"""The routes about servers of lists that never answered: which they are, and to try them once more."""

from collections.abc import Sequence
from typing import Any, Protocol

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from demesh import limits
from demesh.api.models import Problem
from demesh.api.problem import problem
from demesh.api.scopes import requires
from demesh.clock import Clock
from demesh.errors import UsageError
from demesh.tokens import Scope
from demesh.view.fold import View
from demesh.view.names import shown_names
from demesh.view.parked import parked


class RestingModel(BaseModel):
    node: str
    tries: int | None
    tried_at: str | None
    outcome: str | None
    detail: str


class ParkedModel(BaseModel):
    name: str
    type: str
    target: str
    nodes: list[RestingModel]


class RetryWish(BaseModel):
    names: list[str] = Field(
        default=[], max_length=limits.CHECKS_MAX, description="Of checks, or their targets; none: all that are parked."
    )


class RetriedModel(BaseModel):
    names: list[str]


_RETRIED: dict[int | str, dict[str, Any]] = {
    200: {"model": RetriedModel},
    422: {"model": Problem, "description": "No check of that name is parked here."},
}


class ParkingNode(Protocol):
    """What is needed of a node."""

    view: View

    @property
    def clock(self) -> Clock: ...

    def retry(self, names: Sequence[str]) -> list[str]: ...


def add_parked_routes(app: FastAPI, node: ParkingNode) -> None:
    @app.get("/api/v1/servers/parked", response_model=None, responses={200: {"model": list[ParkedModel]}})
    async def parked_servers() -> Response:
        """The servers of lists that never answered and are let rest, by whom, and what came of the last try."""
        checks = node.view.checks(node.clock.monotonic_ms())
        return JSONResponse(parked(checks, shown_names(node.view.members())))

    @app.post(
        "/api/v1/servers/retry",
        response_model=None,
        dependencies=[requires(Scope.WRITE)],
        responses=_RETRIED,
    )
    async def retry(wish: RetryWish) -> Response:
        """Try servers that this node lets rest once more, within seconds."""
        try:
            return JSONResponse({"names": node.retry(wish.names)})
        except UsageError as error:
            return problem(422, str(error))
