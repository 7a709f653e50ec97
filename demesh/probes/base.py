"""The whole contract of a probe: a coroutine from a ProbeSpec to a ProbeResult.

A probe never raises for what the target does and never outlives its timeout by more than the time one cancellation takes;
its caller enforces the deadline all the same. A probe that cannot be run on this node answers with Outcome.ERROR.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from demesh.outcome import ProbeResult


@dataclass(frozen=True, slots=True)
class Expect:
    """What a passing answer looks like; None means no such expectation."""

    status: frozenset[int] | None = None
    """Accepted HTTP status codes; None accepts 200 to 299."""
    body: re.Pattern[str] | None = None
    """Searched for in the decoded body."""
    response_time_ms: int | None = None
    cert_expires_in_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """One target and how to probe it. `target` may carry secrets; nothing of it but `public_target` may be shown."""

    type: str
    target: str
    timeout_ms: int
    expect: Expect = field(default_factory=Expect)
    verify_tls: bool = True
    ca_file: str | None = None


Probe = Callable[[ProbeSpec], Awaitable[ProbeResult]]
