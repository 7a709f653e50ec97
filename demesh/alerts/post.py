"""The edge of the Alertmanager sender: one POST over libcurl, with a bearer token from a file if there is one.

Guarantees: the file is read anew for each post, so a token that was replaced is used at once; it is in no log line and no
error. While it cannot be read nothing is posted, and the sentence says why. Redirects are not followed, so no other host gets it.
"""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import trio

from demesh.alerts.alertmanager import Post
from demesh.config.outside import Files, Unfilled
from demesh.curl import CurlEngine, fetch
from demesh.errors import NetworkError
from demesh.limits import ALERT_POST_SECONDS_MAX


def curl_post(curl: CurlEngine, token_file: Callable[[], Path | None]) -> Post:
    """`token_file` says at each post where the token is now; None: there is none. A URL that names a user gets that instead."""

    async def post(url: str, document: bytes) -> tuple[int, int | None]:
        bearer = await bearer_of(url, token_file())
        answer = await fetch(curl, url, timeout_ms=ALERT_POST_SECONDS_MAX * 1_000, json=document, bearer=bearer)
        return answer.status, answer.date_ms

    return post


async def bearer_of(url: str, token_file: Path | None) -> str | None:
    """The token to show at `url`, if there is one and the URL names no user. Raises NetworkError."""
    if token_file is None or urlsplit(url).username:
        return None
    return await trio.to_thread.run_sync(_token, token_file)


def _token(path: Path) -> str:
    try:
        return Files(path.parent).token(path.name)
    except Unfilled as problem:
        raise NetworkError(f"{problem}.") from None
