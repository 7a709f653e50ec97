"""Does a Redis (or Valkey) server answer PING, and is it not still loading its data?

A plug-in of the `python` probe. Arguments: `host`, `port` (6379), `password_file` (none).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from demesh.plugin import Answer

_LINE_BYTES_MAX = 1_024


async def check(arguments: Mapping[str, Any], timeout_seconds: float) -> Answer:
    """demesh cancels this after `timeout_seconds`, so nothing here needs a timeout of its own."""
    try:
        stream = await trio.open_tcp_stream(arguments["host"], arguments.get("port", 6379))
    except OSError:
        return Answer("fail", "no connection")
    async with stream:
        try:
            began = trio.current_time()
            if file := arguments.get("password_file"):
                password = await trio.to_thread.run_sync(_password, file)
                said = await _ask(stream, b"AUTH", password)
                if not said.startswith(b"+OK"):
                    return Answer("error", "the server does not take the password")
            said = await _ask(stream, b"PING")
        except (trio.BrokenResourceError, EOFError):
            return Answer("fail", "the connection was closed before an answer came")
        except OSError:
            return Answer("error", "the file of the password cannot be read")
    latency_ms = (trio.current_time() - began) * 1_000
    if said == b"+PONG":
        return Answer("pass", latency_ms=latency_ms)
    # Only the kind of a refusal is told: what follows it may quote anything.
    kind = said[1:].split(b" ")[0].decode("ascii", "replace")[:20] if said.startswith(b"-") else "something else"
    return Answer("mismatch", f"answered {kind} instead of PONG", latency_ms)


def _password(file: str) -> bytes:
    return Path(file).read_bytes().strip()


async def _ask(stream: trio.SocketStream, *words: bytes) -> bytes:
    """The first line of the answer to one command, in the Redis protocol. Raises EOFError."""
    await stream.send_all(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
    line = b""
    while not line.endswith(b"\r\n") and len(line) < _LINE_BYTES_MAX:
        chunk = await stream.receive_some(_LINE_BYTES_MAX)
        if not chunk:
            raise EOFError
        line += chunk
    return line.rstrip(b"\r\n")
