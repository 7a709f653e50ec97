"""Of several members one tells a sink: at least once whatever fails, once when nothing does."""

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demesh import limits
from demesh.alerts.incident import Incident
from demesh.alerts.ladder import Send, _weight, lease_ms
from demesh.log.telling import Step, Telling, read_telling
from tests.alerts.build import incident
from tests.alerts.bus import DIGEST, SINK, Bus, Peer
from tests.log.builders import generated

_KEY = ("DemeshCheckDown", "web")
_RANK_MS = limits.NOTIFY_RANK_MS
_WEB = incident()


def _open(peer: Peer, what: Incident = _WEB) -> None:
    key = (what.name, what.key)
    peer.closed.pop(key, None)
    peer.over.discard(key)
    peer.open[key] = what


def _close(peer: Peer, key: tuple[str, str] = _KEY) -> None:
    if key in peer.open:
        peer.closed[key] = peer.open.pop(key)
    peer.over.add(key)


def _order(bus: Bus, key: tuple[str, str] = _KEY) -> list[Peer]:
    return sorted(bus.peers.values(), key=lambda peer: _weight((*key, DIGEST), peer.key))


def _open_at_all(bus: Bus, what: Incident = _WEB) -> None:
    for peer in bus.peers.values():
        _open(peer, what)


members = st.integers(1, 6)
seeds = st.integers(0, 2**32)


@generated
@given(members, seeds, st.integers(0, 5_000), st.integers(0, 5_000))
def test_when_nothing_fails_each_change_is_told_exactly_once(
    count: int, seed: int, delay_ms: int, skew_ms: int
) -> None:
    rng = random.Random(seed)
    bus = Bus(count, rng, delay_ms)
    for change, apply in ((1, _open), (2, _close), (3, _open)):
        at_ms = {peer.key: bus.now_ms + rng.randint(0, skew_ms) for peer in bus.peers.values()}

        def see(at_ms: dict[bytes, int] = at_ms, apply=apply) -> None:
            for peer in bus.peers.values():
                if peer.key in at_ms and bus.now_ms >= at_ms[peer.key]:
                    del at_ms[peer.key]
                    apply(peer)

        bus.run(300_000, see)
        assert len(bus.sent) == change
    assert bus.states() == ["firing", "resolved", "firing"]


@generated
@given(st.integers(2, 6), seeds, st.integers(0, 20_000), st.floats(0, 0.8), st.data())
def test_whatever_fails_each_open_incident_is_told_at_least_once(
    count: int, seed: int, delay_ms: int, loss: float, data: st.DataObject
) -> None:
    """Delays beyond a rank, losses, a sink that nobody reaches for a while, members that die: one stays, and reaches it."""
    rng = random.Random(seed)
    bus = Bus(count, rng, delay_ms, loss)
    survivor, *others = rng.sample(list(bus.peers.values()), count)
    away_ms = data.draw(st.integers(0, 400_000))
    dies_ms = {peer.key: data.draw(st.integers(0, 300_000)) for peer in others}
    several = [incident(f"web{n}") for n in range(data.draw(st.integers(1, 6)))]
    for each in several:
        _open_at_all(bus, each)

    def disturb() -> None:
        for peer in bus.peers.values():
            peer.sends = bus.now_ms > away_ms
            if peer is not survivor and peer.alive and bus.now_ms > dies_ms[peer.key]:
                bus.kill(peer)

    bus.run(1_500_000, disturb)
    told = Counter(telling.key for telling in _told(survivor))
    assert set(told) == {each.key for each in several}
    assert bus.states().count("firing") >= len(several)


def _told(peer: Peer) -> list[Telling]:
    found = {key: noted.telling for log in peer.logs.values() for key, noted in log.told.items()}
    return list(found.values())


@generated
@given(st.integers(2, 6), seeds, st.integers(0, 3_000))
def test_when_the_first_dies_before_it_sends_another_does_once(count: int, seed: int, delay_ms: int) -> None:
    bus = Bus(count, random.Random(seed), delay_ms)
    first = _order(bus)[0]
    bus.crash = lambda peer, telling: peer is first
    _open_at_all(bus)
    bus.run(bus.silent_after_ms + 12_000)
    assert not first.alive
    assert len(bus.sent) == 1, "its lease, which is longer, is not waited for"
    bus.run(300_000)
    assert [(state, by == first.key) for by, state, _ in bus.sent] == [("firing", False)]


def test_a_crash_between_sending_and_saying_so_costs_one_message_more() -> None:
    bus = Bus(3, random.Random(1))
    first = _order(bus)[0]
    bus.crash_before = lambda peer, telling: peer is first and telling.lease is None
    _open_at_all(bus)
    bus.run(300_000)
    assert [by == first.key for by, _, _ in bus.sent] == [True, False]


@settings(generated, max_examples=12)
@given(st.integers(2, 5), seeds)
def test_leases_of_one_message_never_overlap_while_the_sink_is_away(count: int, seed: int) -> None:
    bus = Bus(count, random.Random(seed), 1_000)
    _open_at_all(bus)
    for peer in bus.peers.values():
        peer.sends = False
    bus.run(900_000)
    leases = [(at_ms, telling.lease) for _, telling, at_ms in bus.written]
    assert len({by for by, _, _ in bus.written}) == min(count, len(leases)), "it was passed on to all"
    assert [number for _, number in leases] == list(range(len(leases)))
    for (at_ms, number), (next_ms, _) in pairwise(leases):
        assert number is not None
        assert next_ms >= at_ms + lease_ms(number)
    assert bus.sent == []


def test_each_waits_a_rank_longer_than_the_one_before() -> None:
    for place in range(3):
        bus = Bus(3, random.Random(7))
        peer = _order(bus)[place]
        _open(peer)  # the others see nothing
        bus.run(place * _RANK_MS - 1_000)
        assert bus.sent == []
        bus.run(6_000)
        assert [by for by, _, _ in bus.sent] == [peer.key]


def test_an_end_is_told_only_of_what_was_told_to_begin() -> None:
    bus = Bus(2, random.Random(3))
    _open_at_all(bus)
    for peer in bus.peers.values():
        peer.sends = False
    bus.run(20_000)
    for peer in bus.peers.values():
        _close(peer)
        peer.sends = True
    bus.run(600_000)
    assert bus.sent == []


def test_who_never_saw_it_open_leaves_its_end_to_who_told_it_and_takes_over_when_that_one_is_gone() -> None:
    bus = Bus(2, random.Random(3))
    ann, ben = bus.peers.values()
    _open(ann)
    ben.over.add(_KEY)
    bus.run(600_000)
    assert bus.states() == ["firing"]
    bus.kill(ann)
    bus.run(bus.silent_after_ms + limits.NOTIFY_DISAGREE_MS + 10_000)
    assert [(by, state) for by, state, _ in bus.sent] == [(ann.key, "firing"), (ben.key, "resolved")]


def test_what_was_told_to_be_over_too_soon_is_told_again_by_who_still_sees_it() -> None:
    bus = Bus(2, random.Random(3))
    _open_at_all(bus)
    bus.run(30_000)
    ann, ben = bus.peers.values()
    _close(ben)
    bus.run(600_000)
    assert bus.states() == ["firing", "resolved", "firing"]
    assert bus.sent[-1][0] == ann.key
    (_, _, over_ms), (_, _, again_ms) = bus.sent[1:]
    assert again_ms >= over_ms + limits.NOTIFY_DISAGREE_MS


def test_that_one_saw_an_earlier_one_close_says_nothing_of_the_next() -> None:
    bus = Bus(2, random.Random(3))
    _open_at_all(bus)
    bus.run(30_000)
    ann, ben = bus.peers.values()
    _close(ann)
    _close(ben)
    bus.run(30_000)
    ann.over.clear()  # it cannot tell any more
    _open(ben)
    bus.run(30_000)
    bus.kill(ben)
    bus.run(600_000)
    assert bus.states() == ["firing", "resolved", "firing"]


def test_no_more_than_a_few_messages_are_on_their_way_to_one_sink() -> None:
    bus = Bus(1, random.Random(3))
    for n in range(50):
        _open_at_all(bus, incident(f"web{n}"))
    (peer,) = bus.peers.values()
    most = 0

    def count() -> None:
        nonlocal most
        most = max(most, sum(task.trying is not None for task in peer.ladder._tasks.values()))

    bus.run(120_000, count)
    assert most == limits.NOTIFY_AT_ONCE_MAX
    assert len(bus.sent) == 50


def test_nothing_is_kept_of_what_is_over() -> None:
    bus = Bus(1, random.Random(3))
    (peer,) = bus.peers.values()
    _open_at_all(bus)
    bus.run(10_000)
    _close(peer)
    bus.run(10_000)
    assert bus.states() == ["firing", "resolved"]
    assert peer.ladder._tasks == {}


@generated
@given(st.integers(1, 2**40), st.integers(0, 2**40), st.one_of(st.none(), st.integers(0, 99)), st.text(max_size=20))
def test_a_notice_comes_back_from_its_event_as_it_was(turn: int, reminder: int, lease: int | None, text: str) -> None:
    labels = (("alertname", "A"), ("team", text)) if lease is None and turn % 2 and not reminder else ()
    telling = Telling("DemeshCheckDown", "web", text or "web", DIGEST, Step(turn, reminder), "firing", 5, lease, labels)
    assert read_telling(telling.event()) == telling


@pytest.mark.parametrize("state", ["firing", "resolved"])
def test_a_send_has_what_the_message_needs(state: str) -> None:
    sends: list[Send] = []
    bus = Bus(1, random.Random(3))
    (peer,) = bus.peers.values()
    look = peer.ladder.look
    ladder = peer.ladder

    class Spy:
        tried = ladder.tried

        def look(self, world, now_ms):
            effects, wait_ms = look(world, now_ms)
            sends.extend(each for each in effects if isinstance(each, Send))
            return effects, wait_ms

    peer.ladder = Spy()  # pyright: ignore[reportAttributeAccessIssue]
    _open(peer)
    bus.run(10_000)
    _close(peer)
    peer.closed.clear()  # as after a restart: what it was is in the log alone
    bus.run(limits.NOTIFY_DISAGREE_MS + 10_000)
    (found,) = (send for send in sends if send.state == state)
    assert replace(found.incident, annotations=()) == replace(_WEB, annotations=())
    assert found.sink is SINK
