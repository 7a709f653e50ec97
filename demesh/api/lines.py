"""An answer that comes in pieces: one JSON object a line, each sent as soon as it is there, until all are or nobody listens."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Tell = Callable[[dict[str, Any]], Awaitable[None]]


class Lines(Response):
    """What `write` tells. It is cancelled when the client goes away."""

    media_type = "application/x-ndjson"

    def __init__(self, write: Callable[[Tell], Awaitable[None]]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._write = write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(line: dict[str, Any]) -> None:
            body = json.dumps(line).encode() + b"\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})

        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with trio.open_nursery() as nursery:

            async def end_with_the_client() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(end_with_the_client)
            await self._write(tell)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            nursery.cancel_scope.cancel()
