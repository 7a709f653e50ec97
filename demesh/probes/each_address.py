"""A name that is checked on each of its addresses: one run asks them all, each as if it were the only one.

The name is looked up once. Then the type's own probe runs for each address, with a resolver that finds the name there alone. So
the name is still what goes into TLS and HTTP (SNI, certificate, Host); a redirect to another host goes where that one leads.

Guaranteed:

- It passes if all addresses pass that this node can ask. Else it tells a FAIL before a MISMATCH before a TIMEOUT, what the target
  did before what it did not do, and in its detail which addresses of how many, and why.
- An address that this node cannot ask (no route, no such family: whatever is an ERROR) counts neither way, unless so are all.
- At most NAME_ADDRESSES_MAX are asked, always the same ones of the same addresses, of both families; what goes beyond is counted.
  They are asked HOST_SPACING_MS apart, and no more than OTHER_ADDRESSES_MAX by all such checks besides the first of each.
- Lookup, waiting and asking end within the timeout.
- The latency is that of the slowest address that passed, or of the one whose failure is told; without the lookup, which is in the
  phase `dns`. So is what `expect.response_time` is held against. The expiry of certificates is the earliest of all.
- If one of them asks to be left alone (`ProbeResult.confirm`), the name is not asked again soon.
- Order is no change: the addresses are told sorted (`demesh.addresses`), those that could not be asked left out.

Not guaranteed: that a name with more addresses than that is well where nobody looks.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from urllib.parse import urlsplit

import trio

from demesh.addresses import in_order, joined
from demesh.failure import Failed
from demesh.limits import HOST_SPACING_MS, NAME_ADDRESSES_MAX, OTHER_ADDRESSES_MAX
from demesh.metrics import REFUSED
from demesh.outcome import Outcome, ProbeResult, fit_detail
from demesh.probes.base import Probe, ProbeSpec
from demesh.probes.once import run_once
from demesh.probes.resolving import Resolver, of_family

_GRACE_SECONDS = 0.2  # less than whoever runs this gives it: one probe that does not end hides no other's result


class EachAddress:
    """A `Probe` that asks all addresses of a name where that is wanted, and else is the one that `make` makes.

    `make` makes the probe that uses a resolver, and is called for each address. `others` are places for all but first addresses.
    """

    def __init__(self, make: Callable[[Resolver], Probe], resolver: Resolver, others: trio.Semaphore) -> None:
        self._make = make
        self._resolver = resolver
        self._others = others
        self.usual = make(resolver)

    async def __call__(self, spec: ProbeSpec) -> ProbeResult:
        host = _name_in(spec.target) if spec.all_addresses else None
        if host is None:
            return await self.usual(spec)
        begun_s = trio.current_time()
        try:
            addresses = await self._addresses(host, spec, begun_s)
        except Failed as failed:
            return ProbeResult(failed.outcome, detail=fit_detail(str(failed)))
        lookup_us = round((trio.current_time() - begun_s) * 1_000_000)
        results: dict[str, ProbeResult] = {}

        async def ask(address: str, waits_s: float) -> None:
            results[address] = await self._ask(host, address, spec, begun_s, waits_s)

        left_s = spec.deadline_s(begun_s) - trio.current_time()
        spacing_s = min(HOST_SPACING_MS / 1000, left_s / 2 / len(addresses))
        async with trio.open_nursery() as nursery:
            for place, address in enumerate(addresses):
                nursery.start_soon(ask, address, place * spacing_s)
        result = judged({address: results[address] for address in addresses})
        return replace(result, phases_us={**result.phases_us, "dns": lookup_us})

    async def _addresses(self, host: str, spec: ProbeSpec, begun_s: float) -> list[str]:
        """Those to ask, in order. Raises Failed."""
        found = await self._resolver.resolve_all(host, spec.deadline_s(begun_s) - begun_s)
        return _within_bounds(in_order(of_family(found, spec.ip_version)))

    async def _ask(self, host: str, address: str, spec: ProbeSpec, begun_s: float, waits_s: float) -> ProbeResult:
        if not waits_s:
            return await self._run(host, address, spec, begun_s)
        with trio.move_on_at(spec.deadline_s(begun_s)) as waiting:
            await trio.sleep(waits_s)
            await self._others.acquire()
        if waiting.cancelled_caught:
            REFUSED.labels("probes", "addresses_at_once").inc()
            return ProbeResult(Outcome.ERROR, detail=f"this node asks {OTHER_ADDRESSES_MAX} other addresses")
        try:
            return await self._run(host, address, spec, begun_s)
        finally:
            self._others.release()

    async def _run(self, host: str, address: str, spec: ProbeSpec, begun_s: float) -> ProbeResult:
        spent_ms = spec.spent_ms + round((trio.current_time() - begun_s) * 1000)
        here = replace(spec, spent_ms=min(spent_ms, spec.timeout_ms))
        return await run_once(self._make(self._resolver.pinned(host, address)), here, _GRACE_SECONDS)


def judged(results: Mapping[str, ProbeResult]) -> ProbeResult:
    """What the results of a name's addresses, by address, come to. Pure."""
    asked = {address: each for address, each in results.items() if each.outcome is not Outcome.ERROR} or dict(results)
    failed = {address: each for address, each in asked.items() if each.outcome is not Outcome.PASS}
    if failed:
        told = min(failed.values(), key=lambda each: each.outcome)
    else:
        told = max(asked.values(), key=lambda each: each.latency_us or 0)
    expiries = [each.certificate_expires_s for each in asked.values() if each.certificate_expires_s is not None]
    offsets_us = [each.clock_offset_us for each in asked.values() if each.clock_offset_us is not None]
    return replace(
        told,
        detail=told.detail if len(results) == 1 else fit_detail(_detail(asked, failed, len(results) - len(asked))),
        certificate_expires_s=min(expiries, default=None),
        address=joined(asked),
        other_address=told.other_address if len(asked) == 1 else None,
        confirm=all(each.confirm for each in results.values()),
        clock_offset_us=statistics.median_low(offsets_us) if offsets_us else None,
    )


def _detail(asked: Mapping[str, ProbeResult], failed: Mapping[str, ProbeResult], unasked: int) -> str:
    """`1 of 4 addresses: 192.0.2.9: no answer within 2000 ms`; of what passes, its remarks."""
    by_detail: dict[str, list[str]] = {}
    for address, each in (failed or asked).items():
        by_detail.setdefault(each.detail, []).append(address)
    said = "; ".join(f"{', '.join(addresses)}: {detail}" for detail, addresses in by_detail.items() if detail)
    if not failed:
        return said
    others = f" ({unasked} more cannot be asked from here)" if unasked else ""
    return f"{len(failed)} of {len(asked)} addresses{others}: {said}"


def _name_in(target: str) -> str | None:
    """The host in a target as probes look it up; None if there is none, or it is an address, or cannot be read."""
    try:
        host = (urlsplit(target).hostname or "").encode("idna").decode()
    except ValueError:
        return None
    try:
        ip_address(host)
    except ValueError:
        return host or None
    return None


def _within_bounds(addresses: list[str]) -> list[str]:
    """The first ones, as many of either family as there is room for."""
    if len(addresses) <= NAME_ADDRESSES_MAX:
        return addresses
    REFUSED.labels("probes", "addresses").inc(len(addresses) - NAME_ADDRESSES_MAX)
    v4 = [address for address in addresses if ":" not in address]
    v6 = addresses[len(v4) :]
    v4 = v4[: max(NAME_ADDRESSES_MAX // 2, NAME_ADDRESSES_MAX - len(v6))]
    return v4 + v6[: NAME_ADDRESSES_MAX - len(v4)]
