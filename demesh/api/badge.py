"""A badge: the name of a check and what the mesh says of it, as an SVG that loads nothing and runs nothing."""

from starlette.responses import Response

from demesh import limits
from demesh.api.markup import escaped
from demesh.view.verdict import Verdict

MEDIA_TYPE = "image/svg+xml"
_COLOURS = {
    Verdict.UP: "#1a7f37",
    Verdict.DOWN: "#c62828",
    Verdict.PARTIAL: "#a84300",
    Verdict.FLAPPING: "#a84300",
    Verdict.UNKNOWN: "#5f6368",
    Verdict.PAUSED: "#3559a8",
}
"""White text on each has a contrast of 5 to 1 or more."""
_NAME_COLOUR = "#3c4043"
_CHAR_PIXELS, _WIDE_PIXELS, _MARGIN_PIXELS, _HEIGHT_PIXELS = 6.6, 12.0, 6, 20
_LATIN_END = 0x0250


def response(name: str, verdict: Verdict) -> Response:
    """The badge as an answer, that may be shown for a moment."""
    headers = {"Cache-Control": f"max-age={limits.PUBLIC_TOLD_AGAIN_MS // 1_000}", "X-Content-Type-Options": "nosniff"}
    return Response(badge(name, verdict), media_type=MEDIA_TYPE, headers=headers)


def badge(name: str, verdict: Verdict) -> bytes:
    """`name | up`, in the colour of the verdict."""
    left, right = _width(name), _width(verdict)
    said = escaped(name)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{_HEIGHT_PIXELS}" role="img" '
        f'aria-label="{said}: {verdict}"><title>{said}: {verdict}</title>'
        f'<rect width="{left + right}" height="{_HEIGHT_PIXELS}" rx="3" fill="{_NAME_COLOUR}"/>'
        f'<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1 -3 3h-{right - 3}z" fill="{_COLOURS[verdict]}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f"{_text(said, _MARGIN_PIXELS, left)}{_text(verdict, left + _MARGIN_PIXELS, right)}</g></svg>"
    ).encode()


def _text(said: str, at: int, width: int) -> str:
    """Fits its width whatever fonts there are."""
    length = width - 2 * _MARGIN_PIXELS
    return f'<text x="{at}" y="14" textLength="{length}" lengthAdjust="spacingAndGlyphs">{said}</text>'


def _width(text: str) -> int:
    wide = sum(ord(char) >= _LATIN_END for char in text)
    return round(wide * _WIDE_PIXELS + (len(text) - wide) * _CHAR_PIXELS) + 2 * _MARGIN_PIXELS
