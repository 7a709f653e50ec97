"""The route that explains a check or a member."""

from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Query, Response
from fastapi.responses import JSONResponse

from demesh.api.explain_models import ExplainedModel
from demesh.api.models import Problem
from demesh.api.problem import problem
from demesh.clock import Clock
from demesh.errors import UsageError
from demesh.explaining import Question, question_of


class ExplainingNode(Protocol):
    """What is needed of a node."""

    @property
    def clock(self) -> Clock: ...

    async def explain(self, question: Question) -> dict[str, Any]: ...


def add_explaining_route(app: FastAPI, node: ExplainingNode) -> None:
    @app.get(
        "/api/v1/explain",
        response_model=None,
        responses={
            200: {"model": ExplainedModel},
            404: {
                "model": Problem,
                "description": "Nothing is called so, or more than one thing; or the time is none.",
            },
        },
    )
    async def explain(
        name: Annotated[str, Query(max_length=256, description="Of a check or a node.")],
        kind: Annotated[str | None, Query(description="check or node, where the name is both.")] = None,
        since: Annotated[str | None, Query(max_length=64, description="24h, or an ISO 8601 time.")] = None,
        until: Annotated[str | None, Query(max_length=64, description="The same.")] = None,
    ) -> Response:
        """Why a check or a member is as it is: replayed from the logs, the same on every node that holds them."""
        try:
            return JSONResponse(await node.explain(question_of(name, kind, since, until, node.clock.wall_ms())))
        except UsageError as error:
            return problem(404, str(error))
