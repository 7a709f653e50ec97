"""What one run of a check says: the outcome and what was measured on the way. Shared by probes, logs and views."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from demesh import limits


class Outcome(IntEnum):
    """How one run ended; the numbers are the wire's (docs/protocol.md).

    `ERROR` means that the node itself could not run the probe; it never counts against the target.
    """

    PASS = 0
    FAIL = 1  # refused, or said no
    MISMATCH = 2  # answered, but not as expected
    TIMEOUT = 3
    ERROR = 4

    @property
    def blames_target(self) -> bool:
        return self in (Outcome.FAIL, Outcome.MISMATCH, Outcome.TIMEOUT)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One run of a probe against one target.

    `detail` is the failed expectation with its actual value, or why there was no answer: a sentence of at most
    DETAIL_BYTES_MAX bytes of UTF-8 without secrets, empty when the outcome is PASS but for a remark such as how many
    packets were lost. `phases_us` holds the duration of each phase by name. `certificate_expires_s` is Unix time, for the
    earliest expiry in the chain that the server sent. `other_address` is that of a STUN server, with its port, from which it was
    seen to answer too.
    `broken` has a phrase for each expectation that a MISMATCH failed, by its key in a check's table (`status`,
    `json.$.db`); it is empty for types that tell them in `detail` alone. `facts` are further things learned, by name, such
    as `http_version`, and `clock_offset_us` is by how much a time server that can be believed is ahead of this node's wall clock.
    `confirm` is False where the target asks to be left alone, as time servers do: if the result turns a vote, the next run at
    its usual time confirms it, and none before.
    None of these leaves the node that ran the probe.
    """

    outcome: Outcome
    latency_us: int | None = None
    detail: str = ""
    phases_us: Mapping[str, int] = field(default_factory=dict[str, int])
    certificate_expires_s: int | None = None
    address: str | None = None
    status: int | None = None
    broken: Mapping[str, str] = field(default_factory=dict[str, str])
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    clock_offset_us: int | None = None
    other_address: str | None = None
    confirm: bool = True


def fit_detail(text: str) -> str:
    """`text` cut to DETAIL_BYTES_MAX bytes of UTF-8, between characters, with an ellipsis where something is missing."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limits.DETAIL_BYTES_MAX:
        return raw.decode()
    return raw[: limits.DETAIL_BYTES_MAX - 3].decode("utf-8", "ignore") + "…"
