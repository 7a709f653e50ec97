"""The routes about alerts: what is wrong, what people decide about it, and the webhook of Alertmanagers."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from demesh.alerts.received import Webhook, read_webhook
from demesh.api.alert_models import (
    Acknowledged,
    AcknowledgementModel,
    AcknowledgementWish,
    AlertsModel,
    HookModel,
    MaintenanceModel,
    MaintenanceWish,
    SilenceModel,
    SilenceWish,
)
from demesh.api.models import Done, Problem
from demesh.api.problem import problem
from demesh.api.scopes import requires
from demesh.deciding import Wanted
from demesh.errors import UsageError
from demesh.log.matcher import parse_matcher
from demesh.metrics import REFUSED
from demesh.tokens import Scope

Told = list[dict[str, Any]]


class Decider(Protocol):
    """What is needed of `demesh.deciding.Deciding`."""

    def alerts(self) -> dict[str, Any]: ...

    def silences(self) -> Told: ...

    def maintenance(self) -> Told: ...

    def acknowledgements(self) -> Told: ...

    async def silence(self, wanted: Wanted) -> None: ...

    async def end_silence(self, wanted: str) -> None: ...

    async def maintain(self, wanted: Wanted, name: str) -> None: ...

    async def end_maintenance(self, wanted: str) -> None: ...

    async def acknowledge(self, wanted: str, comment: str, by: str) -> list[str]: ...

    async def unacknowledge(self, wanted: str) -> list[str]: ...

    async def hook(self, webhook: Webhook) -> int: ...


def _or(answer: Any, description: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": answer}, 422: {"model": Problem, "description": description}}


_DONE = _or(Done, "It cannot be done; the sentence says why.")
_CHANGES: dict[str, Any] = {"response_model": None, "dependencies": [requires(Scope.WRITE)]}


def add_deciding_routes(app: FastAPI, decider: Decider) -> None:
    @app.get("/api/v1/incidents", response_model=None, responses={200: {"model": AlertsModel}})
    async def incidents() -> Response:
        """What is wrong, what closed lately, what Alertmanagers tell, and whether alerts reach them."""
        return JSONResponse(decider.alerts())

    _add_silences(app, decider)
    _add_maintenance(app, decider)
    _add_acknowledgements(app, decider)
    _add_hook(app, decider)


def _add_silences(app: FastAPI, decider: Decider) -> None:
    @app.get("/api/v1/silences", response_model=None, responses={200: {"model": list[SilenceModel]}})
    async def silences() -> Response:
        """The silences that are not over, whoever made them."""
        return JSONResponse(decider.silences())

    @app.post("/api/v1/silences", responses=_DONE, **_CHANGES)
    async def silence(wish: SilenceWish) -> Response:
        """Let nobody be notified of what matches, on all nodes."""
        return await _done(lambda: decider.silence(_wanted(wish)), "silenced")

    @app.post("/api/v1/silences/end", responses=_DONE, **_CHANGES)
    async def end_silence(id: str) -> Response:  # noqa: A002 what clients call it
        """End a silence."""
        return await _done(lambda: decider.end_silence(id), "ended")


def _add_maintenance(app: FastAPI, decider: Decider) -> None:
    @app.get("/api/v1/maintenance", response_model=None, responses={200: {"model": list[MaintenanceModel]}})
    async def maintenance() -> Response:
        """What is maintained, or will be, whoever says so."""
        return JSONResponse(decider.maintenance())

    @app.post("/api/v1/maintenance", responses=_DONE, **_CHANGES)
    async def maintain(wish: MaintenanceWish) -> Response:
        """Begin maintenance, on all nodes."""
        return await _done(lambda: decider.maintain(_wanted(wish), wish.name), "begun")

    @app.post("/api/v1/maintenance/end", responses=_DONE, **_CHANGES)
    async def end_maintenance(id: str) -> Response:  # noqa: A002 what clients call it
        """End maintenance; what stands in a configuration is told again when that changes."""
        return await _done(lambda: decider.end_maintenance(id), "ended")


def _add_acknowledgements(app: FastAPI, decider: Decider) -> None:
    nothing = _or(Acknowledged, "There is no such incident.")

    @app.get("/api/v1/acknowledgements", response_model=None, responses={200: {"model": list[AcknowledgementModel]}})
    async def acknowledgements() -> Response:
        """The acknowledgements that were not taken back, whoever made them."""
        return JSONResponse(decider.acknowledgements())

    @app.post("/api/v1/acknowledgements", responses=nothing, **_CHANGES)
    async def acknowledge(wish: AcknowledgementWish) -> Response:
        """Say that somebody looks after open incidents, until they close."""
        return await _named(decider.acknowledge(wish.incident, wish.comment, wish.by))

    @app.post("/api/v1/acknowledgements/end", responses=nothing, **_CHANGES)
    async def unacknowledge(incident: str) -> Response:
        """Take that back."""
        return await _named(decider.unacknowledge(incident))


def _add_hook(app: FastAPI, decider: Decider) -> None:
    @app.post("/hook/alertmanager", responses=_or(HookModel, "It is no webhook of version 4."), **_CHANGES)
    async def hook(request: Request) -> Response:
        """What an Alertmanager posts to a webhook receiver."""
        try:
            webhook = read_webhook(json.loads(await request.body()))
        except (ValueError, RecursionError):
            REFUSED.labels("hook", "shape").inc()
            return problem(422, "What Alertmanager posts to a webhook is a JSON object; this is none.")
        except UsageError as error:
            REFUSED.labels("hook", "shape").inc()
            return problem(422, str(error))
        return JSONResponse({"status": "taken", "told": await decider.hook(webhook)})


def _wanted(wish: SilenceWish | MaintenanceWish) -> Wanted:
    """Raises UsageError."""
    return Wanted(tuple(map(parse_matcher, wish.matchers)), wish.duration_ms, wish.comment, wish.by)


async def _done(do: Callable[[], Awaitable[None]], status: str) -> Response:
    try:
        await do()
    except UsageError as error:
        return problem(422, str(error))
    return JSONResponse({"status": status})


async def _named(doing: Awaitable[list[str]]) -> Response:
    try:
        return JSONResponse({"incidents": await doing})
    except UsageError as error:
        return problem(422, str(error))
