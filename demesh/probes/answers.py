"""From what somebody else's code says to a ProbeResult: checked, cut to one clean line, and held against expectations.

Shared by the probes that run other people's code (`command`, `python`).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from demesh.errors import UsageError
from demesh.outcome import Outcome, ProbeResult, fit_detail
from demesh.probes.base import Expect

_OUTCOMES = {"pass": Outcome.PASS, "fail": Outcome.FAIL, "mismatch": Outcome.MISMATCH, "error": Outcome.ERROR}
_LATENCY_MS_MAX = 86_400_000


def read_answer(fields: Mapping[str, Any], took_us: int) -> ProbeResult:
    """From `outcome`, `detail` and `latency_ms`, as `demesh.plugin.Answer` has them; `took_us` is the latency if none is told.

    Raises UsageError with a phrase without a full stop, which quotes nothing.
    """
    if unknown := fields.keys() - {"outcome", "detail", "latency_ms"}:
        raise UsageError(f"it has {len(unknown)} more than outcome, detail and latency_ms")
    said, detail, latency_ms = fields.get("outcome"), fields.get("detail", ""), fields.get("latency_ms")
    if not isinstance(said, str) or said not in _OUTCOMES:
        raise UsageError("its outcome is none of pass, fail, mismatch and error")
    if not isinstance(detail, str):
        raise UsageError("its detail is not text")
    if latency_ms is not None:
        if isinstance(latency_ms, bool) or not isinstance(latency_ms, int | float):
            raise UsageError("its latency_ms is not a number")
        if not 0 <= latency_ms <= _LATENCY_MS_MAX:  # nor is NaN
            raise UsageError("its latency_ms is not between 0 and a day")
        took_us = round(latency_ms * 1_000)
    outcome = _OUTCOMES[said]
    if outcome is Outcome.PASS:
        return ProbeResult(outcome, took_us)
    latency_us = None if outcome is Outcome.ERROR else took_us
    return ProbeResult(outcome, latency_us, clean_line(detail) or f"it said {said}, and no more")


def clean_line(text: str) -> str:
    """The first line of `text` as a detail: control characters as spaces, cut to size."""
    first = text.strip().partition("\n")[0]
    return fit_detail("".join(c if c.isprintable() else " " for c in first).strip())


def in_time(result: ProbeResult, expect: Expect) -> ProbeResult:
    """`result`, or a mismatch if it passed but took longer than expected."""
    most_ms = expect.response_time_ms
    if result.outcome is not Outcome.PASS or most_ms is None or (result.latency_us or 0) <= most_ms * 1_000:
        return result
    took_ms = -(-(result.latency_us or 0) // 1_000)
    detail = f"response took {took_ms} ms, expected at most {most_ms} ms"
    return replace(result, outcome=Outcome.MISMATCH, detail=detail)
