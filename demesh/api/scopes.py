"""What a route says of who may use it."""

from typing import Any

from fastapi import Depends, HTTPException, Request

from demesh.metrics import REFUSED
from demesh.tokens import Scope


def requires(scope: Scope) -> Any:
    """A dependency: the request may do what `scope` says."""

    async def check(request: Request) -> None:
        granted = request.scope["granted"]
        if granted is not None and granted >= scope:
            return
        REFUSED.labels("api", "scope").inc()
        token = "authorization" in request.headers
        raise HTTPException(
            403 if token else 401,
            "This token may only read." if token else "A token that may write is needed: `demesh token new` makes one.",
        )

    return Depends(check)
