"""Serves the API with hypercorn's trio worker, inside the node's nursery."""

import ipaddress
import logging
import os
import socket
from pathlib import Path
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve  # pyright: ignore[reportUnknownVariableType] its WSGI half is untyped

from demesh import limits
from demesh.api.app import make_app
from demesh.errors import UsageError
from demesh.node import Node


class ApiServer:
    """The API at `listen` (host and port, or None) and at the Unix socket `socket_path`."""

    def __init__(self, listen: tuple[str, int] | None, socket_path: Path) -> None:
        """Raises UsageError unless `listen` is on loopback and free."""
        self._listen = listen
        self._socket_path = socket_path
        if listen is not None:
            _check_listen(*listen)

    async def run(self, node: Node, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started when listening."""
        config = Config()
        config.bind = [f"unix:{self._socket_path}"]
        if self._listen is not None:
            host, port = self._listen
            config.bind.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        config.umask = 0o077
        config.accesslog = None
        config.errorlog = logging.getLogger("demesh.api.server")
        config.loglevel = "WARNING"
        config.graceful_timeout = limits.API_SHUTDOWN_SECONDS
        self._socket_path.unlink(missing_ok=True)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._serve, cast(Any, make_app(node)), config)
                task_status.started()
        finally:
            self._socket_path.unlink(missing_ok=True)

    @staticmethod
    async def _serve(app: Any, config: Config, task_status: trio.TaskStatus[list[str]]) -> None:
        await hypercorn_serve(app, config, shutdown_trigger=trio.sleep_forever, task_status=task_status)


def _check_listen(host: str, port: int) -> None:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise UsageError(f"The API cannot listen on {address}: it serves this machine only. Use 127.0.0.1:{port}.")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"The API cannot listen on {address}: {os.strerror(error.errno or 0)}. Choose another with --api, or --api none."
            ) from None
