"""Previews: what is asked for, and what of the answers is believed."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from demesh import limits
from demesh.checks.check import Check
from demesh.errors import SyncError
from demesh.log.admission import Admission, Policy
from demesh.log.chain import Logs
from demesh.log.codec import encode
from demesh.log.entry import NO_LOG, Entry, Kind
from demesh.log.plan import split_plan
from demesh.log.results import Result, Results
from demesh.mesh.preview import Preview, Previews, PreviewSearch
from demesh.mesh.sync import Want
from demesh.mesh.sync_puller import Here, Puller
from demesh.mesh.sync_server import Server
from demesh.outcome import Outcome
from demesh.probes.base import ProbeSpec
from tests.log.builders import (
    MESH,
    OTHER_MESH,
    Pen,
    Shelf,
    damaged,
    key_of,
    log_of,
    public_key_of,
    rewritten,
    stripped,
)


@pytest.fixture(autouse=True)
def long_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STARTUP_TAIL_ENTRIES_MAX", 32)
    monkeypatch.setattr(limits, "PREVIEW_BEHIND_MIN", 64)


def _log(parts: int = 1, length: int = 120) -> list[Entry]:
    """A hello, a plan in `parts` parts, results that name it."""
    pen = Pen("ann")
    pen.hello()
    rows = [
        Check(f"c{number}", ProbeSpec("http", "https://example.org/", 1_000)).row(MESH, runs=True)
        for number in range(parts)
    ]
    (whole,) = split_plan(rows)
    for part in range(parts):
        payload = replace(whole, part=part, parts=parts, rows=whole.rows[part : part + 1]).payload()
        pen.write(Kind.PLAN, payload)
    while len(pen.entries) < length:
        found = Result(0, pen.clock.up_ms(), Outcome.PASS, 1_200)
        pen.write(Kind.RESULTS, Results(1, (found,)).payload(pen.clock.up_ms() + 1_000))
    return pen.entries


_ANN = _log()
_LOG = _ANN[0].log


def _search(
    entries: Sequence[Entry], answers: Callable[[Want], Sequence[Entry]], logs: Logs | None = None
) -> PreviewSearch:
    logs = Logs(MESH, NO_LOG) if logs is None else logs
    state = logs.get(entries[0].log)
    held_seq = state.head.seq if state else -1
    search = PreviewSearch(
        MESH, entries[0].log, held_seq, 0, entries[-1].seq, lambda log, hello: logs.owner_of(log, hello, 0)
    )
    for _ in range(100):
        if search.want is None:
            return search
        search.answer(answers(search.want))
    raise AssertionError("it asks without end")


def _of(entries: Sequence[Entry]) -> Callable[[Want], Sequence[Entry]]:
    return lambda want: entries[want.first : want.last + 1]


def _session(ours: Shelf, theirs: Shelf) -> tuple[list[Preview], list[int]]:
    """A whole session, in which nothing is taken; returns the previews, and the first places of what was asked for."""
    puller = Puller(MESH, ours.logs.states(), here=Here(owner_of=lambda log, hello: ours.logs.owner_of(log, hello, 0)))
    server = Server(MESH, theirs.logs.states())
    hello, vector = server.greet(puller.hello())
    assert puller.greeted(hello)
    puller.offered(vector)
    previews: list[Preview] = []
    asked: list[int] = []
    while (message := puller.next_pull()) is not None:
        want = server.wanted(message)
        if not isinstance(want, Want):
            break
        asked.append(want.first)
        answer = puller.answer(server.page(want, theirs.store.read(want.log, want.first, want.last)[0]))
        previews += [answer.preview] if answer.preview else []
        if asked.count(0) == 2:
            break
    return previews, asked


def test_the_end_of_a_long_log_is_asked_for_first_and_then_all_of_it() -> None:
    previews, asked = _session(Shelf(), Shelf(_ANN))
    assert [entry.seq for entry in previews[0].entries] == [0, 1, *range(88, 120)]
    assert previews[0].public_key == public_key_of("ann")
    assert asked == [0, 88, 1, 0]


def test_of_a_log_that_is_not_long_the_end_is_not_asked_for() -> None:
    assert _session(Shelf(), Shelf(_ANN[:64])) == ([], [0])
    assert _session(Shelf(_ANN[:70]), Shelf(_ANN)) == ([], [70])


def test_of_a_log_that_is_known_only_what_is_not_held_is_asked_for() -> None:
    previews, asked = _session(Shelf(_ANN[:5]), Shelf(_ANN))
    assert [entry.seq for entry in previews[0].entries] == list(range(88, 120))
    assert asked == [88, 5]


def test_a_plan_of_many_parts_is_asked_for_until_it_is_whole() -> None:
    entries = _log(parts=5)
    found = _search(
        entries,
        lambda want: entries[want.first : min(want.first + 2, want.last + 1)] if want.first < 9 else entries[88:],
    ).found
    assert found is not None
    assert [entry.seq for entry in found.entries] == [0, 1, 2, 3, 4, 5, *range(88, 120)]


def test_a_plan_that_is_forgotten_leaves_the_rest() -> None:
    found = _search(_ANN, lambda want: [] if want.first == 1 else _of(_ANN)(want)).found
    assert found is not None
    assert [entry.seq for entry in found.entries] == [0, *range(88, 120)]


def test_a_plan_that_is_larger_than_a_bound_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PREVIEW_PLAN_BYTES_MAX", 300)
    entries = _log(parts=5)
    found = _search(entries, _of(entries)).found
    assert found is not None
    assert [entry.seq for entry in found.entries] == [0, *range(88, 120)]


def test_signatures_that_the_end_vouches_for_may_be_missing() -> None:
    lean = [stripped(entry) if entry.seq % 40 and entry.seq != 119 else entry for entry in _ANN]
    found = _search(_ANN, lambda want: _of(lean if want.first == 88 else _ANN)(want)).found
    assert found is not None
    assert found.newest == _ANN[-1]


def test_a_log_whose_first_entry_is_forgotten_has_no_preview() -> None:
    theirs = Shelf(_ANN)
    theirs.shorten(_LOG, 40, Kind.PLAN)
    search = _search(_ANN, lambda want: theirs.store.read(_LOG, want.first, want.last)[0])
    assert (search.found, search.refused) == (None, "")


def test_a_shortened_log_whose_hello_is_kept_has_one() -> None:
    theirs = Shelf(_ANN)
    theirs.shorten(_LOG, 50, Kind.PLAN, Kind.HELLO)
    previews, _ = _session(Shelf(), theirs)
    assert [entry.seq for entry in previews[0].entries] == [0, 1, *range(88, 120)]


_MALLORY = key_of("mallory")
_FORGED = [rewritten(entry, _MALLORY) for entry in _ANN]
_JUNK = rewritten(_ANN[119], key_of("ann"), payload=["junk"])


@pytest.mark.parametrize(
    ("lies", "reason"),
    [
        ({0: rewritten(_ANN[0], _MALLORY)}, "bad_signature"),
        ({0: _ANN[0]._replace(signature=b"")}, "bad_signature"),
        ({0: rewritten(_ANN[0], key_of("ann"), mesh_id=OTHER_MESH)}, "bad_signature"),
        ({0: log_of("mallory", 1)[0]._replace(log=_LOG)}, "wrong_key"),
        ({0: _ANN[5]._replace(seq=0)}, "shape"),
        ({seq: _FORGED[seq] for seq in range(88, 120)}, "wrong_link"),
        ({119: _FORGED[119]}, "bad_signature"),
        ({119: _ANN[119]._replace(signature=damaged(_ANN[119].signature))}, "bad_signature"),
        ({119: stripped(_ANN[119])}, "no_signature"),
        ({100: rewritten(_ANN[100], key_of("ann"))}, "wrong_link"),
        ({1: rewritten(_ANN[1], _MALLORY)}, "bad_signature"),
    ],
)
def test_what_the_owner_did_not_sign_so_is_no_preview(lies: dict[int, Entry], reason: str) -> None:
    told = [lies.get(entry.seq, entry) for entry in _ANN]
    search = _search(_ANN, _of(told))
    assert (search.found, search.refused) == (None, reason)


def test_a_payload_of_no_meaning_is_no_reason_to_refuse() -> None:
    told = [*_ANN[:119], _JUNK]
    found = _search(_ANN, _of(told)).found
    assert found is not None
    assert [entry.seq for entry in found.entries][:2] == [0, 1]


def test_a_page_that_was_not_asked_for_ends_the_session() -> None:
    ours, theirs = Shelf(), Shelf(_ANN)
    puller = Puller(MESH, [], here=Here(owner_of=lambda log, hello: ours.logs.owner_of(log, hello, 0)))
    hello, vector = Server(MESH, theirs.logs.states()).greet(puller.hello())
    puller.greeted(hello)
    puller.offered(vector)
    assert puller.next_pull() is not None
    with pytest.raises(SyncError):
        puller.answer(encode([4, _LOG, [[_ANN[1].body, _ANN[1].signature]]]))


def test_of_a_key_that_is_not_admitted_there_is_none() -> None:
    denied = Logs(MESH, NO_LOG, admission=Admission(policy=Policy(denied=frozenset({public_key_of("ann")}))))
    search = _search(_ANN, _of(_ANN), denied)
    assert (search.found, search.refused) == (None, "denied")


def test_of_the_own_log_there_is_none() -> None:
    search = _search(_ANN, _of(_ANN), Logs(MESH, _LOG))
    assert (search.found, search.refused) == (None, "own_log")


def _shown(length: int = 100) -> Previews:
    previews = Previews(MESH)
    assert previews.take(Preview(_LOG, public_key_of("ann"), tuple(_ANN[68:length])), b"ben")
    return previews


def test_what_follows_a_preview_is_news_of_the_log() -> None:
    previews = _shown()
    assert previews.follow(_LOG, _ANN[98:110]) == (public_key_of("ann"), _ANN[100:110])
    assert previews.follow(_LOG, _ANN[98:110])[1] == []
    assert previews.head_seq(_LOG) == 109


@pytest.mark.parametrize(
    "entries",
    [
        _ANN[101:],
        [rewritten(_ANN[100], _MALLORY)],
        [rewritten(_ANN[100], key_of("ann"), prev=bytes(31) + b"x")],
        [stripped(_ANN[100])],
    ],
)
def test_what_does_not_follow_a_preview_is_not_shown(entries: list[Entry]) -> None:
    previews = _shown()
    assert previews.follow(_LOG, entries)[1] == []
    assert previews.head_seq(_LOG) == 99


def test_an_older_preview_does_not_take_the_place_of_a_newer_one() -> None:
    previews = _shown()
    assert not previews.take(Preview(_LOG, public_key_of("ann"), tuple(_ANN[60:90])), b"cid")
    assert previews.of(b"ben") == [_LOG]


def test_previews_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PREVIEWS_MAX", 1)
    previews = _shown()
    bob = log_of("bob", 3)
    assert not previews.take(Preview(bob[0].log, public_key_of("bob"), tuple(bob)), b"cid")
    assert previews.drop(_LOG)
    assert previews.take(Preview(bob[0].log, public_key_of("bob"), tuple(bob)), b"cid")
