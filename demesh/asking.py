"""Trying something once from several nodes: what others ask this node for, and what this node asks others (`demesh.mesh.ask`).

Guarantees: for others this node probes targets in the network only, as `mesh.allow_requests` says: by default public addresses
alone, looked at where the connection is made, redirects included, and nothing that asks for a change (POST and the like). A
check of a list of public servers is tried at public addresses only, whoever asks.
Whoever asks is a member, and asks within the bounds of `Turnstile`; every refusal is counted and says why. What a member answers
is bounded and ends by a deadline; nothing of it is recorded.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import trio

from demesh import limits
from demesh.checks.check import Check, selects
from demesh.clock import Clock
from demesh.config.adopt import rebuild
from demesh.config.load import Settings
from demesh.config.values import AllowRequests
from demesh.errors import EntryError, NetworkError, SyncError, UsageError
from demesh.favours import Favours
from demesh.identity import peer_id
from demesh.log.plan import PlanRow
from demesh.mesh import ask
from demesh.mesh.ask import No, Refused, Turnstile
from demesh.mesh.network import ASK, Network, Stream
from demesh.mesh.session import Frames
from demesh.metrics import REFUSED
from demesh.outcome import ProbeResult
from demesh.probes.base import HttpOptions, MqttOptions, Probe, ProbeSpec
from demesh.probes.once import run_once
from demesh.view.fold import View
from demesh.view.member import Member
from demesh.view.names import name_of, shown_names
from demesh.view.presence import Presence
from demesh.view.report import iso

_HERE = frozenset((Presence.ALIVE, Presence.SUSPECT, Presence.SILENT, Presence.AWAY))
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")  # RFC 9110, section 9.2.1
Json = dict[str, Any]
Tell = Callable[[Json], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Probers:
    """`any` asks whatever address it is told to, `public` those of the public Internet; so does `listed`, for this node's own
    checks of lists.
    """

    any: Mapping[str, Probe]
    public: Mapping[str, Probe]
    listed: Mapping[str, Probe]


class Answerer:
    """Tries for other members what they ask for. `settings` are those in force."""

    def __init__(
        self,
        mesh_id: bytes,
        view: View,
        clock: Clock,
        probers: Probers,
        turnstile: Turnstile,
        settings: Callable[[], Settings],
    ) -> None:
        self._mesh_id = mesh_id
        self._probers = probers
        self._settings = settings
        self._favours = Favours("ask", ask.refusal, limits.ASK_FRAME_BYTES_MAX, view, clock, turnstile, settings)

    async def serve(self, stream: Stream) -> None:
        """Answer one question; never raises for what the peer does."""
        await self._favours.serve(stream, self._answer)

    async def _answer(self, peer: bytes, frames: Frames) -> None:
        with trio.fail_after(limits.ASK_OPEN_SECONDS_MAX):
            row = ask.read_question(await frames.expect())
        with self._favours.place(peer) as no:
            answer = no or await self._try(row, self._settings().allow_requests)
        await frames.send(answer)

    async def _try(self, row: PlanRow, allowed: AllowRequests) -> bytes:
        refused = self._favours.refused
        try:
            check = rebuild(row, self._mesh_id)
        except UsageError as why:
            return refused("cannot", Refused.CANNOT, f"this node cannot run it: {why}")
        spec = replace(check.probe, timeout_ms=min(check.probe.timeout_ms, limits.ASK_TIMEOUT_MS_MAX))
        if why := _objection(spec, allowed):
            return refused("policy", Refused.POLICY, why)
        unbounded = allowed == "any" and not check.listed
        probe = (self._probers.any if unbounded else self._probers.public).get(spec.type)
        if probe is None:
            return refused("cannot", Refused.CANNOT, "this node has no probe of that type")
        return ask.answer(await run_once(probe, spec))


def _objection(spec: ProbeSpec, allowed: AllowRequests) -> str | None:
    if len(spec.expect.header) + len(spec.expect.json) > limits.ASKED_EXPECTATIONS_MAX:
        return f"this node compares at most {limits.ASKED_EXPECTATIONS_MAX} headers and JSON values for others"
    if isinstance(spec.options, HttpOptions) and spec.options.method not in _SAFE_METHODS:
        return f"this node sends {', '.join(_SAFE_METHODS)} for others, and nothing that may change something"
    if isinstance(spec.options, MqttOptions) and spec.options.topic:
        return "this node publishes for others beneath no topic that they name"
    if allowed == "public" and spec.type == "dns" and spec.target.startswith("dns:///"):
        return "this node asks its own resolver for nobody else (mesh.allow_requests); name a server: dns://SERVER/NAME"
    return None


class Asker:
    """Asks members, and this node's own probes, for whoever asks this node."""

    def __init__(
        self,
        own_key: bytes,
        mesh_id: bytes,
        view: View,
        clock: Clock,
        network: Network,
        probers: Probers,
    ) -> None:
        self._own_key = own_key
        self._mesh_id = mesh_id
        self._view = view
        self._clock = clock
        self._network = network
        self._probers = probers
        self._asking = 0

    def question(self, check: Check, selectors: Sequence[str]) -> "Question":
        """What `run` of it then asks of the members that `selectors` mean, and of this node. Raises UsageError."""
        members = self._selected(selectors)
        row = check.row(self._mesh_id, False)
        if not row.whole and any(key != self._own_key for key in members):
            raise UsageError(
                f"{check.name!r} cannot be tried from other nodes: it needs what only this one has (a login, a header, a body, "
                "a query, a file or a variable), or is no check of something in the network."
            )
        if self._asking >= limits.ASKS_AT_ONCE_MAX:
            REFUSED.labels("ask", "own_busy").inc()
            raise UsageError(f"This node asks for {self._asking} others at the moment; try again when they are done.")
        return Question(check, row, members, self._run)

    async def _run(self, question: "Question", tell: Tell) -> None:
        one_at_a_time = trio.Lock()

        async def one(key: bytes, name: str) -> None:
            began_ms = self._clock.monotonic_ms()
            answer = await self._answer(key, question)
            took_ms = self._clock.monotonic_ms() - began_ms
            async with one_at_a_time:
                await tell(_told(name, key, key == self._own_key, answer, took_ms))

        self._asking += 1
        try:
            async with trio.open_nursery() as nursery:
                for key, name in question.members.items():
                    nursery.start_soon(one, key, name)
        finally:
            self._asking -= 1

    async def _answer(self, key: bytes, question: "Question") -> ProbeResult | No:
        if key != self._own_key:
            return await self._ask(key, question.row)
        spec = question.check.probe
        spec = replace(spec, timeout_ms=min(spec.timeout_ms, limits.ASK_TIMEOUT_MS_MAX))
        probes = self._probers.listed if question.check.listed else self._probers.any
        if (probe := probes.get(spec.type)) is None:
            return No(Refused.CANNOT, "has no probe of that type")
        return await run_once(probe, spec)

    def _selected(self, selectors: Sequence[str]) -> dict[bytes, str]:
        now_ms = self._clock.monotonic_ms()
        names = shown_names(self._view.members())
        here = [member for member in self._view.members() if self._view.presence(member, now_ms) in _HERE]
        found: dict[bytes, str] = {}
        for selector in selectors:
            meant = {each.public_key: names[each.public_key] for each in here if _is_meant(each, names, selector)}
            if not meant:
                known = ", ".join(sorted(names.values()))
                raise UsageError(
                    f"No node is meant by {selector}: there are {known}, tags as in tag:eu, and * for all."
                )
            found |= meant
        found.setdefault(self._own_key, names.get(self._own_key, peer_id(self._own_key)))
        return found

    async def _ask(self, key: bytes, row: PlanRow) -> ProbeResult | No:
        if key not in self._network.peers():
            return No(0, "not connected with this node")
        member = self._view.member(key)
        if member and member.current.hello and ASK not in member.current.hello.protocols:
            return No(0, "answers no requests, or is of a version that does not know them")
        seconds = min(row.timeout_ms, limits.ASK_TIMEOUT_MS_MAX) / 1_000 + limits.ASK_GRACE_SECONDS
        try:
            with trio.fail_after(limits.ASK_OPEN_SECONDS_MAX):
                stream = await self._network.open_stream(key, ASK)
            try:
                frames = Frames(stream, limits.ASK_FRAME_BYTES_MAX, seconds)
                with trio.fail_after(seconds):
                    await frames.send(ask.question(row))
                    return ask.read_answer(await frames.expect())
            finally:
                await stream.close()
        except (EntryError, SyncError):
            REFUSED.labels("ask", "malformed_answer").inc()
            return No(Refused.MALFORMED, "gave an answer that makes no sense")
        except (NetworkError, trio.TooSlowError):
            return No(0, "gave no answer in time, or broke off")


@dataclass(frozen=True, slots=True)
class Question:
    """One check, and whom to ask to try it: names by key, this node's own among them."""

    check: Check
    row: PlanRow
    members: Mapping[bytes, str]
    _run: Callable[["Question", Tell], Awaitable[None]]

    async def run(self, tell: Tell) -> None:
        """Ask; `tell` gets first who is asked, then the answer of each, one by one as they come."""
        names = sorted(self.members.values())
        await tell({"asked": names, "check": self.check.name, "target": self.row.target, "type": self.row.type})
        await self._run(self, tell)


def _is_meant(member: Member, names: Mapping[bytes, str], selector: str) -> bool:
    hello = member.current.hello
    return selector in (names[member.public_key], peer_id(member.public_key)) or selects(
        (selector,), name_of(member), hello.tags if hello else ()
    )


def _told(name: str, key: bytes, own: bool, answer: ProbeResult | No, took_ms: int) -> Json:
    result = answer if isinstance(answer, ProbeResult) else None
    return {
        "node": name,
        "peer_id": peer_id(key),
        "own": own,
        "answered": result is not None,
        "why_not": answer.sentence if isinstance(answer, No) else None,
        "outcome": result.outcome.name.lower() if result else None,
        "detail": result.detail if result else "",
        "latency_ms": round(result.latency_us / 1_000, 1) if result and result.latency_us is not None else None,
        "phases_ms": {phase: round(us / 1_000, 1) for phase, us in result.phases_us.items()} if result else {},
        "address": result.address if result else None,
        "status": result.status if result else None,
        "certificate_expires_at": iso(result.certificate_expires_s * 1_000)
        if result and result.certificate_expires_s
        else None,
        "took_ms": took_ms,
    }
