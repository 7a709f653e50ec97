"""The ranking of public servers: what checks say now, joined with what vantages observed of them. Pure.

Guaranteed: the same checks, spans and time give the same ranking, in whatever order they come. What cannot be told in its lists
(`demesh.view.servers.place_of`) is not in it. Not guaranteed: that the last hour or two, whose sums are not signed yet, are in
the record; the votes speak for them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from demesh.view.checks import CheckView
from demesh.view.score import Score, Span, Witness, score
from demesh.view.servers import Place, place_of
from demesh.view.verdict import Verdict
from demesh.view.vote import Vote

Spans = Mapping[str, Mapping[bytes, Sequence[Span]]]
"""By check and by the key of the vantage: what it observed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How one vantage sees a server; `counts` says whether that counts now."""

    node: str
    vote: Vote
    counts: bool


@dataclass(frozen=True, slots=True)
class Server:
    """One check of a public server. `up_ms` and `down_ms` are what all vantages that count observed; `latency_us` is the median
    of what those that pass measured last; `since_ms` is Unix time.
    """

    place: Place
    name: str
    verdict: Verdict
    score: Score
    up_ms: int
    down_ms: int
    vantages: tuple[Seen, ...]
    address: str | None = None
    latency_us: int | None = None
    since_ms: int | None = None

    @property
    def uptime(self) -> float | None:
        """The share of the observed time in which it was up; None if nobody observed it."""
        observed_ms = self.up_ms + self.down_ms
        return self.up_ms / observed_ms if observed_ms else None


def rank(checks: Iterable[CheckView], spans: Spans, names: Mapping[bytes, str], now_ms: int) -> list[Server]:
    """The servers among `checks`, best first, at `now_ms` (Unix time); `names` are those of the members by key."""
    found = (_server(check, spans.get(check.row.name, {}), names, now_ms) for check in checks)
    return sorted(
        (each for each in found if each is not None), key=lambda each: (-each.score.value, each.place, each.name)
    )


def _server(
    check: CheckView, spans: Mapping[bytes, Sequence[Span]], names: Mapping[bytes, str], now_ms: int
) -> Server | None:
    counted = [each for each in check.vantages if each.assigned]
    address = next((each.state.address for each in counted if each.state.address), None)
    place = place_of(check.row, address)
    if place is None:
        return None
    witnesses: dict[str, Witness] = {}
    for each in check.vantages:
        name = names.get(each.member.public_key, each.member.public_key.hex())
        observed = tuple(spans.get(each.member.public_key, ()))
        witnesses[name] = Witness(each.vote, observed, counts=each.assigned)
    seen = [span for each in witnesses.values() if each.counts for span in each.spans]
    took = [
        each.state.last.result.latency_us
        for each in counted
        if each.vote == Vote.PASS and each.state.last and each.state.last.result.latency_us is not None
    ]
    return Server(
        place=place,
        name=check.row.name,
        verdict=check.verdict,
        score=score(witnesses, now_ms),
        up_ms=sum(each.up_ms for each in seen),
        down_ms=sum(each.down_ms for each in seen),
        vantages=tuple(Seen(name, each.vote, each.counts) for name, each in sorted(witnesses.items())),
        address=address,
        latency_us=round(median(took)) if took else None,
        since_ms=check.since_ms,
    )
