"""Whom to blame when a vantage and the others disagree: the targets, or the vantage. Pure.

A vantage is *broken*, and its votes do not count, while

    it errs       the newest results of most of its checks, three at least, are errors of its own: no route, no resolver, no
                  right to run what it is to run; or all that it has to say of any check are errors
    it is late    most of its checks, and three at least, ran so late that the node must be overloaded
    it is alone   most of its checks that others run too fail, in three independent networks at least, and most of the others
                  have seen them pass since: for all its checks, or for those of one kind, HTTP over IPv6, say

What fails in one network only may well be that network's fault. What is broken for one kind goes on to count for the others. What
enough vantages see fail is down, and nobody is blamed for it. A vantage that fails alone where no others look is not judged here
(`demesh.alerts.grouping`). Guaranteed: what is said depends on the votes alone, in no order; a vantage that no other contradicts
is not blamed. Not guaranteed: with two vantages, that it is not the other one that is wrong. One that passes has seen an answer.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from demesh import limits
from demesh.log.plan import PlanRow
from demesh.view.networks import family_of, network_of
from demesh.view.verdict import Verdict, tally
from demesh.view.vote import Vote


@dataclass(frozen=True, slots=True)
class Said:
    """What one vantage says of one check now. `error` is what kept it from running it the last time, if anything did.

    `failing_since_ms` began the run that led to its vote to fail, `told_ms` is when it saw the target last (monotonic).
    """

    vantage: bytes
    vote: Vote
    error: str = ""
    late: bool = False
    failing_since_ms: int | None = None
    told_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A check, by whom it is run, and which address is behind it."""

    kind: str
    network: str | None
    said: tuple[Said, ...]
    calm: bool
    """Whether all that was said is that it passes, or nothing: then nobody is to blame for anything."""
    down: bool = False
    """Whether enough of them see it fail."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Why a vantage does not count. `kinds` are those of the checks concerned; None: all."""

    why: str
    kinds: frozenset[str] | None = None

    def concerns(self, kind: str) -> bool:
        return self.kinds is None or kind in self.kinds


def kind_of(row: PlanRow, address: str | None) -> str:
    """What checks have in common that a vantage may be broken for: the type, the transport, the family of addresses."""
    transport = dict(row.keys).get("transport", "").strip('"')
    family = family_of(address)
    return f"{row.type}{f' over {transport}' if transport else ''}{f', IPv{family}' if family else ''}"


def is_over_ipv6(row: PlanRow, addresses: Iterable[str | None]) -> bool:
    """Whether a check asks at IPv6 addresses alone, as far as its keys, its target and where it was found tell."""
    found = {family_of(each) for each in addresses if each}
    return ("ip", '"6"') in row.keys or "[" in row.target or found == {6}


def asked(row: PlanRow, said: Sequence[Said], addresses: Iterable[str | None]) -> Asked:
    """`addresses` are those at which the vantages found the target."""
    address = next(filter(None, addresses), None)
    calm = not any(each.error or each.late or each.vote == Vote.FAIL for each in said)
    down = not calm and tally([each.vote for each in said], row.quorum).verdict == Verdict.DOWN
    return Asked(kind_of(row, address), network_of(address), tuple(said), calm, down)


def broken(checks: Collection[Asked]) -> dict[bytes, Broken]:
    """The vantages that do not count, with the reason."""
    if all(each.calm for each in checks):
        return {}
    found = dict(_contradicted(checks))
    return found | dict(_unable(checks))


def _unable(checks: Iterable[Asked]) -> Iterable[tuple[bytes, Broken]]:
    by_vantage: dict[bytes, list[Said]] = {}
    for each in checks:
        for said in each.said:
            if said.error or said.late or said.vote != Vote.UNSEEN:
                by_vantage.setdefault(said.vantage, []).append(said)
    for vantage, said in by_vantage.items():
        errors = [each.error for each in said if each.error]
        if _most(len(errors), len(said)) or all(each.error and each.vote == Vote.UNSEEN for each in said):
            common = max(sorted(set(errors)), key=errors.count)
            yield vantage, Broken(f"{len(errors)} of its {len(said)} checks cannot be run there: {common}")
        elif _most(late := sum(each.late for each in said), len(said)):
            yield vantage, Broken(f"it is overloaded: {late} of its {len(said)} checks run late")


def _contradicted(checks: Collection[Asked]) -> Iterable[tuple[bytes, Broken]]:
    against: dict[bytes, list[Asked]] = {}
    for each in checks:
        for vantage in () if each.down else _alone_with(each.said):
            against.setdefault(vantage, []).append(each)
    for vantage, failed in against.items():
        if len({each.network for each in failed} - {None}) < limits.INDEPENDENT_NETWORKS_MIN:
            continue
        compared = [each for each in checks if _is_compared(each.said, vantage)]
        guilty: dict[str, str] = {}
        for kind in sorted({each.kind for each in failed}):
            of_kind = [each for each in failed if each.kind == kind]
            if _is_guilty(of_kind, like := [each for each in compared if each.kind == kind]):
                guilty[kind] = f"{kind}: {_sentence(of_kind, like)}"
        if guilty and guilty.keys() != {each.kind for each in compared}:
            yield vantage, Broken("; ".join(guilty.values()), frozenset(guilty))
        elif guilty or _is_guilty(failed, compared):
            yield vantage, Broken(_sentence(failed, compared))


def _is_guilty(failed: Sequence[Asked], compared: Sequence[Asked]) -> bool:
    networks = {each.network for each in failed} - {None}
    return len(networks) >= limits.INDEPENDENT_NETWORKS_MIN and 2 * len(failed) > len(compared)


def _alone_with(said: Sequence[Said]) -> list[bytes]:
    """Who fails while more of the others have seen the target pass since."""
    failing = [each for each in said if each.vote == Vote.FAIL]
    passing = [each for each in said if each.vote == Vote.PASS]
    return [each.vantage for each in failing if _since(each, passing) >= max(1, len(failing) + (len(failing) > 1))]


def _since(failing: Said, passing: Iterable[Said]) -> int:
    """How many passed after `failing` had begun to fail, as far as that is known."""
    since_ms = failing.failing_since_ms
    return sum(since_ms is None or each.told_ms is None or each.told_ms > since_ms for each in passing)


def _is_compared(said: Sequence[Said], vantage: bytes) -> bool:
    seen = {each.vantage for each in said if each.vote != Vote.UNSEEN}
    return vantage in seen and len(seen) > 1


def _most(part: int, whole: int) -> bool:
    return part >= limits.INDEPENDENT_NETWORKS_MIN and 2 * part > whole


def _sentence(failed: Sequence[Asked], compared: Sequence[Asked]) -> str:
    return f"{len(failed)} of {len(compared)} checks that others run too fail there, and pass with most of the others"


def concerned(reasons: Mapping[bytes, Broken], vantage: bytes, kind: str) -> str:
    """Why the vote of a vantage does not count for checks of a kind; empty if it does."""
    found = reasons.get(vantage)
    return found.why if found and found.concerns(kind) else ""
