"""The ranking of public servers: what checks say now, joined with what vantages recorded of them. Pure.

Guaranteed: the same checks and records give the same ranking, in whatever order they come. What cannot be told in its lists
(`demesh.view.servers.place_of`) is not in it. Not guaranteed: that the last hour or two, whose sums are not signed yet, are in
the record; the votes speak for them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from statistics import median

from demesh.addresses import first_of
from demesh.outcome import Outcome
from demesh.view.checks import CheckView, Vantage
from demesh.view.dogdorm import Life, life_of
from demesh.view.record import NOTHING, Record
from demesh.view.score import Score, Witness, score
from demesh.view.servers import Endpoint, Place, goodness, other_endpoint, place_of
from demesh.view.verdict import Verdict
from demesh.view.vote import Vote

Records = Mapping[str, Mapping[bytes, Record]]
"""By check and by the key of the vantage: what it recorded, as of now."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How one vantage sees a server; `counts` says whether that counts now."""

    node: str
    vote: Vote
    counts: bool


@dataclass(frozen=True, slots=True)
class Server:
    """One check of a public server. `up_ms` and `down_ms` are what all vantages that count observed; `latency_us` is the median
    of what those that pass measured last; `since_ms` is Unix time. `other` is its other address and port, if it has such and was
    seen to answer from there; `dogdorm` is what Dogdorm would say of it. `address` is the first at which its name is asked.
    """

    place: Place
    name: str
    verdict: Verdict
    score: Score
    up_ms: int
    down_ms: int
    vantages: tuple[Seen, ...]
    address: str | None = None
    other: Endpoint | None = None
    dogdorm: Life | None = None
    latency_us: int | None = None
    since_ms: int | None = None
    never_answered: str = ""
    """`candidate` or `parked` of one that never answered anybody (`demesh.view.checks`); empty for any other."""

    @property
    def state(self) -> str:
        return self.never_answered or str(self.verdict)

    @property
    def uptime(self) -> float | None:
        """The share of the observed time in which it was up; None if nobody observed it."""
        observed_ms = self.up_ms + self.down_ms
        return self.up_ms / observed_ms if observed_ms else None


def rank(checks: Iterable[CheckView], records: Records, names: Mapping[bytes, str]) -> list[Server]:
    """The servers among `checks`, best first, at the time that `records` are of; `names` are those of the members by key."""
    found = (_server(check, records.get(check.row.name, {}), names) for check in checks)
    return sorted((each for each in found if each is not None), key=_goodness)


def _goodness(server: Server) -> tuple[float, float, int, Place, str]:
    score = server.score
    return goodness(score.value, score.now, len(score.passing), server.place, server.name)


def _server(check: CheckView, records: Mapping[bytes, Record], names: Mapping[bytes, str]) -> Server | None:
    counted = [each for each in check.vantages if each.assigned]
    asked = next((each.state.address for each in counted if each.state.address), None)
    address = _address(first_of(asked))
    place = place_of(check.row, address)
    if place is None:
        return None
    others = (each.state.other_address for each in counted if each.state.address == asked)
    witnesses: dict[str, Witness] = {}
    passed_ms: dict[str, int] = {}
    for each in check.vantages:
        key, last = each.member.public_key, each.state.last
        name = names.get(key, key.hex())
        witnesses[name] = Witness(each.vote, records.get(key, NOTHING), counts=each.assigned)
        if last and last.result.outcome == Outcome.PASS:
            passed_ms[name] = last.wall_ms
    seen = [each.record for each in witnesses.values() if each.counts]
    return Server(
        place=place,
        name=check.row.name,
        verdict=check.verdict,
        score=score(witnesses),
        up_ms=sum(each.up_ms for each in seen),
        down_ms=sum(each.down_ms for each in seen),
        vantages=tuple(Seen(name, each.vote, each.counts) for name, each in sorted(witnesses.items())),
        address=address,
        other=next((found for each in others if (found := other_endpoint(place, address, each))), None),
        dogdorm=life_of(witnesses, passed_ms),
        latency_us=_latency_us(counted),
        since_ms=check.since_ms,
        never_answered="" if not check.candidate else "candidate" if check.vantages else "parked",
    )


def _address(told: str | None) -> str | None:
    """What another member says that it asked, if it is an address."""
    try:
        ip_address(told or "")
    except ValueError:
        return None
    return told


def _latency_us(vantages: Iterable[Vantage]) -> int | None:
    took = [
        each.state.last.result.latency_us
        for each in vantages
        if each.vote == Vote.PASS and each.state.last and each.state.last.result.latency_us is not None
    ]
    return round(median(took)) if took else None
