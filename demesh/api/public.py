"""What strangers may ask of a node: a few routes of an application of its own, which has nothing else.

    GET /                    the page
    GET /servers             the ranking of public servers in Dogdorm's shape
    GET /api/v1/servers      the same in our own, always the whole of it
    GET /badge/NAME.svg      what the mesh says of a check
    GET /healthz             this process is sane

Guarantees: nobody is asked who he is, and nothing is told that is not for everybody (`demesh.view.public`); nothing can be
changed. Of a request only method, path and `If-None-Match` are looked at: no cookie, token or body, so that nobody is told more
than another, and the Host header may say anything, as a page that gets here by a name of its own (DNS rebinding) learns what it
could have asked for by itself. Requests take turns, and an answer ends by a deadline. Every refusal is counted.
"""

from collections.abc import Mapping

import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demesh import limits
from demesh.api import badge as badges
from demesh.api.guard import Asgi
from demesh.api.pace import Pace
from demesh.api.problem import problem
from demesh.api.public_answers import Answers, PublicNode
from demesh.api.public_page import CONTENT_SECURITY_POLICY
from demesh.api.servers import Written, is_had
from demesh.metrics import REFUSED

ROOM = "public"
_CACHED = f"max-age={limits.PUBLIC_TOLD_AGAIN_MS // 1_000}"
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"access-control-allow-origin", b"*"),
)
"""Of every answer that does not say otherwise. Any page may show and read what everybody may."""
_SENTENCES = {
    404: ("path", "There is nothing here, or nothing that is meant for everybody."),
    405: ("method", "Here one may only look: GET and HEAD."),
}


class Pieces(Response):
    """An answer of any length, which is sent piece by piece, so that it is in memory once and not once a reader."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = memoryview(self.body)
        for start in range(0, len(body), limits.PUBLIC_PIECE_BYTES):
            piece = bytes(body[start : start + limits.PUBLIC_PIECE_BYTES])
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def public_app(node: PublicNode) -> Starlette:
    """The routes, without the bounds of `make_public_app`."""
    answers = Answers(node)

    async def page(request: Request) -> Response:
        told = (await answers.told()).page
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
        return _kept(request, told, "text/html", headers)

    async def dogdorm(request: Request) -> Response:
        return _kept(request, (await answers.told()).lists.dogdorms, "application/json")

    async def servers(request: Request) -> Response:
        if request.scope["query_string"]:
            REFUSED.labels(ROOM, "query").inc()
            return problem(422, "Here this list is told as a whole; leave out what stands after the question mark.")
        return _kept(request, (await answers.told()).lists.own, "application/json")

    async def badge_of(request: Request) -> Response:
        name = request.path_params["name"]
        verdict = (await answers.told()).verdicts.get(name)
        if verdict is None:
            raise HTTPException(404)
        return badges.response(name, verdict)

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})

    routes = [
        Route("/", page),
        Route("/servers", dogdorm),
        Route("/api/v1/servers", servers),
        Route("/badge/{name:path}.svg", badge_of),
        Route("/healthz", healthz),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refused, Exception: _failed})
    app.router.redirect_slashes = False  # to where the Host header says
    return app


def make_public_app(node: PublicNode) -> Asgi:
    """The ASGI application for everybody."""
    return _bounded(public_app(node), Pace(limits.PUBLIC_TURNS_PER_SECOND_MAX, limits.PUBLIC_TURNS_BURST))


def _kept(request: Request, written: Written, media_type: str, headers: Mapping[str, str] | None = None) -> Response:
    """What was written; nothing for who has it already."""
    told = {"ETag": written.tag, "Cache-Control": _CACHED, **(headers or {})}
    if is_had(written.tag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers=told)
    return Pieces(written.body, media_type=media_type, headers=told)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason, sentence = _SENTENCES[error.status_code]
    REFUSED.labels(ROOM, reason).inc()
    said = problem(error.status_code, sentence)
    said.headers.update(error.headers or {})
    return said


async def _failed(request: Request, error: Exception) -> Response:
    return problem(500, "The node failed to answer.")


def _bounded(app: ASGIApp, pace: Pace) -> Asgi:
    """`app` without what it need not know of a request, in turns and within its time."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        begun = False

        async def say(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                said = {name.lower() for name, _ in message["headers"]}
                more = [(name, value) for name, value in _HEADERS if name not in said]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        asked = {**scope, "headers": [each for each in scope["headers"] if each[0] == b"if-none-match"]}
        with trio.move_on_after(limits.PUBLIC_ANSWER_SECONDS_MAX):
            await pace.turn()
            await app(asked, receive, say)
            return
        REFUSED.labels(ROOM, "slow").inc()
        if not begun:
            await problem(503, "The node is too busy to answer; try again later.")(asked, receive, say)

    return answer
