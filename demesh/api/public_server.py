"""Serves strangers (`demesh.api.public`) at an address of its own, within bounds of its own."""

import trio

from demesh import limits
from demesh.api.public import ROOM, make_public_app
from demesh.api.public_answers import PublicNode
from demesh.api.serving import Doors, bound, listener, serve

_WHAT = ("The public listener", "Choose another in [api] public_listen, or take that line out.")


class PublicServer:
    """At host and port. Raises UsageError unless they are free."""

    def __init__(self, host: str, port: int) -> None:
        self._listen = host, port
        bound(host, port, *_WHAT).close()

    async def run(self, node: PublicNode, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started when listening. Raises UsageError."""
        doors = Doors(ROOM, limits.PUBLIC_CONNECTIONS_MAX, limits.PUBLIC_CONNECTIONS_PER_CLIENT_MAX)
        listeners = [listener(bound(*self._listen, *_WHAT))]
        await serve(make_public_app(node), listeners, doors, limits.PUBLIC_HEAD_BYTES_MAX, task_status)
