"""How the API says no: `{"error": "one sentence"}` with the HTTP status that fits."""

from starlette.responses import JSONResponse


def problem(status: int, sentence: str) -> JSONResponse:
    """An answer that is an ASGI application of its own."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": sentence}, status, headers)
