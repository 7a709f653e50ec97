"""What strangers are told, made once for all of them.

Guarantees: however many ask, the view is read at most once in PUBLIC_TOLD_AGAIN_MS, and what is long is written in a thread, by
one task at a time; the ranking and its two lists are as old as `demesh.ranking` lets them be. Of a check that strangers may not
know (`demesh.view.public`) nothing is in an answer.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from demesh import limits
from demesh.api.public_page import Scene, page
from demesh.api.servers import RankingNode, Written, dated, dogdorms_list, servers_told, tag_of
from demesh.clock import Clock
from demesh.config.load import Settings
from demesh.ranking import Ranked
from demesh.view.checks import CheckView
from demesh.view.fold import View
from demesh.view.public import known, public_servers, shown, without_names
from demesh.view.uptime import Past
from demesh.view.verdict import Verdict

_NOT_SETTLED = "This node has started a moment ago, and has not heard from all others yet."
_CUT_OFF = "This node seems to have no network: what stands here may be old."


class PublicBooks(Protocol):
    """What is needed of a historian."""

    @property
    def past(self) -> Mapping[str, Past]: ...


class PublicNode(RankingNode, Protocol):
    """What strangers' answers are made of."""

    view: View

    @property
    def clock(self) -> Clock: ...

    @property
    def historian(self) -> PublicBooks: ...

    @property
    def settings(self) -> Settings: ...


@dataclass(frozen=True, slots=True)
class Lists:
    """The ranking that strangers may know, and the two forms in which programs get it."""

    ranked: Ranked
    own: Written
    dogdorms: Written


@dataclass(frozen=True, slots=True)
class Told:
    """The answers. `verdicts` is by the name of a check that strangers may know."""

    page: Written
    verdicts: Mapping[str, Verdict]
    lists: Lists


class Answers:
    def __init__(self, node: PublicNode) -> None:
        self._node = node
        self._one_at_a_time = trio.Lock()
        self._told: Told | None = None
        self._due_ms = 0
        self._lists = Lists(Ranked((), 0), Written(b"", ""), Written(b"", ""))
        self._lists_of: Ranked | None = None

    async def told(self) -> Told:
        async with self._one_at_a_time:
            if self._told is None or self._node.clock.monotonic_ms() >= self._due_ms:
                self._told = await self._look()
                self._due_ms = self._node.clock.monotonic_ms() + limits.PUBLIC_TOLD_AGAIN_MS
            return self._told

    async def _look(self) -> Told:
        node = self._node
        ranked = await node.ranking.ranked()
        view, now_ms, named = node.view, node.clock.monotonic_ms(), node.settings.public_checks
        checks = known(view.checks(now_ms), named)
        if self._lists_of is not ranked:
            self._lists = await trio.to_thread.run_sync(_lists, ranked, checks)
            self._lists_of = ranked
        lists, past = self._lists, node.historian.past
        ranking = lists.ranked
        elsewhere = {each.name for each in ranking.servers}
        alone = [each for each in checks if each.row.name not in elsewhere]
        doubts = [
            sentence
            for sentence, holds in ((_NOT_SETTLED, not view.settled(now_ms)), (_CUT_OFF, view.cut_off))
            if holds
        ]
        presences = Counter(view.presence(member, now_ms) for member in view.members())
        wall_ms = node.clock.wall_ms()

        def write() -> Written:
            body = page(Scene(wall_ms, shown(alone, named, past), ranking.servers, ranking.wall_ms, presences, doubts))
            return Written(body, tag_of(body))

        written = await trio.to_thread.run_sync(write)
        return Told(written, {each.row.name: each.verdict for each in checks}, lists)


def _lists(ranked: Ranked, checks: Sequence[CheckView]) -> Lists:
    public = Ranked(public_servers(ranked.servers, checks), ranked.wall_ms)
    own = dated(without_names(servers_told(public.servers, public.wall_ms)), "as_of")
    return Lists(public, own, dogdorms_list(public))
