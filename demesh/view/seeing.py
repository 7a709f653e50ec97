"""What a node sees of the others: who vanished together, whether it is itself cut off, whose clock is off. Pure.

Looked at anew at each tick of the view, in that order, and before any vote is counted: so that nobody is accused in the moment
in which it becomes clear that nobody can be.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from demesh.outcome import Outcome
from demesh.view.clocks import deviations_ms
from demesh.view.isolation import CUT_OFF, Isolation, Ran, Seen, vanished_ms
from demesh.view.member import Member
from demesh.view.networks import is_near, network_of
from demesh.view.presence import HERE, Presence
from demesh.view.vanished import Gone, Vanished
from demesh.view.vote import VoteState

_NOTHING = VoteState()


class Seeing:
    def __init__(self) -> None:
        self.vanished = Vanished()
        self.isolation = Isolation()
        self.deviations_ms: Mapping[bytes, int] = {}
        """By how much the wall clocks of those that are alive are off (`demesh.view.clocks`)."""

    def look(
        self,
        members: Sequence[Member],
        own_key: bytes,
        presence: Callable[[Member, int], Presence],
        listening_since_ms: int,
        now_ms: int,
    ) -> None:
        presences = {each.public_key: presence(each, now_ms) for each in members}
        others = [each for each in members if each.public_key != own_key]
        gone = {
            each.public_key: Gone(each.sign.at_ms, each.sign.next_ms, presences[each.public_key] != Presence.SILENT)
            for each in others
            if presences[each.public_key] == Presence.SILENT or presences[each.public_key] in HERE
        }
        self.vanished.look(gone, [each.public_key for each in others if not each.heard], now_ms)
        since_ms = vanished_ms(
            Seen(presences[each.public_key], each.sign.at_ms, each.alive_since_ms) for each in others
        )
        own = next((each for each in members if each.public_key == own_key), None)
        expected = [each for each in others if presences[each.public_key] != Presence.AWAY]
        sees_most = sum(each.heard for each in expected) >= (len(expected) + 1) // 2
        from_ms = listening_since_ms if since_ms is None else since_ms
        self.isolation.look(since_ms, _ran(own, from_ms) if own else (), now_ms, sees_most=sees_most)
        offsets = {
            each.public_key: ms
            for each in members
            if presences[each.public_key] in HERE and (ms := _offset_ms(each)) is not None
        }
        self.deviations_ms = deviations_ms(offsets)


def _ran(own: Member, since_ms: int) -> Iterator[Ran]:
    """What this node's checks of something beyond this machine found since then."""
    log = own.current
    for row in log.plan.rows if log.plan else ():
        state = log.votes.get((row.name, row.definition), _NOTHING)
        network, last = network_of(state.address), state.last
        if (
            not row.runs
            or network is None
            or last is None
            or (row.listed and not row.answered and state.tries is not None)
        ):
            continue  # that a candidate fails says nothing of the network
        if last.result.outcome == Outcome.ERROR and not last.result.detail.startswith(CUT_OFF):
            continue
        at_ms = log.clock.local_ms(last.boot8, last.result.up_ms)
        if at_ms is not None and at_ms >= since_ms:
            yield Ran(last.result.outcome == Outcome.PASS, network, row.anchor, is_near(state.address))


def _offset_ms(member: Member) -> int | None:
    newest = member.current.newest
    if newest is None or not member.current.clock.live:
        return None
    at_ms = member.current.clock.local_ms(newest.boot8, newest.up_ms)
    return None if at_ms is None else newest.wall_ms - at_ms
