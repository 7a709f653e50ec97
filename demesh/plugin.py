"""What a plug-in of the `python` probe returns. With `docs/plugins.md` the whole of what demesh promises to plug-ins."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Answer:
    """What a plug-in found out.

    `pass`: the target is well. `fail`: it refused, or said no. `mismatch`: it answered, but not as it should. `error`: the
    plug-in could not find out, which says nothing about the target. That it took too long is for demesh to say.
    """

    outcome: Literal["pass", "fail", "mismatch", "error"]
    detail: str = ""
    """One line that the whole mesh reads when the outcome is not `pass`: no secrets."""
    latency_ms: float | None = None
    """How long the target took; None: as long as the plug-in took."""
