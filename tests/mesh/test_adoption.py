"""Logs whose beginning their holders have forgotten: they are taken up in their middle, with what was kept of them."""

from collections.abc import Sequence

import pytest

from demesh import limits
from demesh.errors import EntryError, SyncError
from demesh.log.entry import Entry, Kind
from demesh.log.rollup import rollup_payloads
from demesh.log.state import LogState
from demesh.log.sums import Sums
from demesh.mesh.sync import Adoption, Want, WantKept, WantProof
from demesh.mesh.sync_puller import Answer, Puller
from demesh.mesh.sync_server import Server
from tests.log.builders import MESH, Pen, Shelf, damaged, key_of, log_of, rewritten

_KEPT = (Kind.HELLO, Kind.ROLLUP, Kind.EVENT)


def _log_with_rollups(owner: str = "ann", hours: int = 6) -> list[Entry]:
    """A hello, then three results and a rollup for each hour, then two results."""
    pen = Pen(owner)
    pen.hello()
    for hour in range(hours):
        for _ in range(3):
            pen.results()
        (payload,) = rollup_payloads(hour, {"web": Sums()})
        pen.write(Kind.ROLLUP, payload)
    pen.results()
    pen.results()
    return pen.entries


_LOG = _log_with_rollups()
_ID = _LOG[0].log
_CUT = 14


def _shortened(below: int = _CUT, log: Sequence[Entry] = _LOG) -> Shelf:
    shelf = Shelf(log)
    shelf.shorten(log[0].log, below, *_KEPT)
    return shelf


async def _pull(ours: Shelf, theirs: Shelf, kept_at_once: int = 1_000) -> list[Answer]:
    """A whole session, each side holding what it held at its start; returns what its pages brought."""
    puller, server = Puller(MESH, ours.logs.states()), Server(MESH, theirs.logs.states())
    answers = server.greet(puller.hello())
    found: list[Answer] = []
    if not puller.greeted(answers[0]):
        return found
    puller.offered(answers[1])
    while (message := puller.next_pull()) is not None:
        want = server.wanted(message)
        assert not isinstance(want, WantProof)
        if isinstance(want, WantKept):
            page = theirs.store.kept_before(want.log, want.below, bytes_max=2**30, count_max=kept_at_once)
        else:
            page, _ = theirs.store.read(want.log, want.first, want.last)
        found.append(puller.answer(server.page(want, page)))
        if found[-1].adoption:
            await ours.adopt(found[-1].adoption)
        if found[-1].entries:
            assert ours.take(found[-1].entries).refusals == []
    return found


def _rows(shelf: Shelf) -> list[int]:
    return [entry.seq for entry in shelf.store.each(_ID)]


@pytest.mark.trio
@pytest.mark.parametrize("kept_at_once", [1, 2, 1_000])
async def test_newcomer_gets_what_is_left_of_a_shortened_log(kept_at_once: int) -> None:
    ours, theirs = Shelf(), _shortened()
    await _pull(ours, theirs, kept_at_once)
    assert _rows(ours) == _rows(theirs) == [0, 4, 8, 12, *range(_CUT, len(_LOG))]
    assert ours.logs.states() == theirs.logs.states()


@pytest.mark.trio
async def test_newcomer_passes_on_what_it_got() -> None:
    second, third = Shelf(), Shelf()
    await _pull(second, _shortened())
    await _pull(third, second)
    assert _rows(third) == _rows(second)


@pytest.mark.trio
async def test_node_that_was_away_longer_than_results_are_kept_goes_on_behind_the_gap() -> None:
    ours, theirs = Shelf(_LOG[:6]), _shortened()
    await _pull(ours, theirs)
    assert ours.logs.states() == theirs.logs.states()
    assert _rows(ours) == _rows(theirs)


@pytest.mark.trio
async def test_node_that_still_reaches_what_is_whole_needs_no_adoption() -> None:
    ours, theirs = Shelf(_LOG[:_CUT]), _shortened()
    answers = await _pull(ours, theirs)
    assert not any(answer.adoption for answer in answers)
    assert _rows(ours) == list(range(len(_LOG)))


@pytest.mark.trio
async def test_log_goes_on_growing_after_it_was_adopted() -> None:
    pen = Pen("ann")
    first = list(pen.fill(9))
    theirs = Shelf(first)
    theirs.shorten(first[0].log, 5, *_KEPT)
    ours = Shelf()
    await _pull(ours, theirs)
    assert ours.take(pen.fill(12)[9:]).refusals == []
    state = ours.logs.get(first[0].log)
    assert state is not None
    assert (state.head, state.pruned_to) == (pen.entries[-1].head, 5)


def _adoption(**changed: object) -> Adoption:
    fields = {
        "log": _ID,
        "before": _LOG[_CUT - 1].head,
        "kept": tuple(_LOG[seq] for seq in (0, 4, 8, 12)),
        "following": tuple(_LOG[_CUT:]),
        **changed,
    }
    return Adoption(**fields)  # pyright: ignore[reportArgumentType]


def _unsigned(entry: Entry) -> Entry:
    return entry._replace(signature=b"")


_STRANGER = key_of("eve")
_BAD = {
    "no hello": (_adoption(kept=(_LOG[4], _LOG[8])), "no_hello"),
    "hello of another log": (_adoption(kept=(log_of("eve", 1)[0], _LOG[4])), "bad_signature"),
    "kept without a signature": (_adoption(kept=(_LOG[0], _unsigned(_LOG[4]))), "bad_signature"),
    "kept with a wrong signature": (
        _adoption(kept=(_LOG[0], _LOG[4]._replace(signature=damaged(_LOG[4].signature)))),
        "bad_signature",
    ),
    "kept from behind the cut": (_adoption(kept=(_LOG[0], _LOG[_CUT + 2])), "bad_signature"),
    "following written by a stranger": (
        _adoption(following=(rewritten(_LOG[_CUT], _STRANGER),)),
        "bad_signature",
    ),
    "nothing follows": (_adoption(following=()), "bad_signature"),
    "what follows does not": (_adoption(following=tuple(_LOG[_CUT + 1 :])), "bad_signature"),
}


@pytest.mark.trio
@pytest.mark.parametrize(("adoption", "reason"), _BAD.values(), ids=_BAD)
async def test_what_the_owner_did_not_sign_is_not_adopted(adoption: Adoption, reason: str) -> None:
    ours = Shelf()
    with pytest.raises(EntryError) as refused:
        await ours.adopt(adoption)
    assert refused.value.reason == reason
    assert ours.logs.states() == []


@pytest.mark.trio
async def test_adoption_never_takes_back_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Shelf(_LOG)
    before = ours.logs.states()
    await ours.adopt(_adoption())
    assert ours.logs.states() == before
    assert _rows(ours) == list(range(len(_LOG)))
    monkeypatch.setattr(limits, "LOGS_MAX", 0)
    with pytest.raises(EntryError, match="0 logs"):
        await Shelf().adopt(_adoption())


def _asking_for_kept() -> tuple[Puller, WantKept]:
    puller, server = Puller(MESH, []), Server(MESH, _shortened().logs.states())
    hello, vector = server.greet(puller.hello())
    puller.greeted(hello)
    puller.offered(vector)
    message = puller.next_pull()
    assert message is not None
    want = server.wanted(message)
    assert isinstance(want, Want)
    puller.answer(Server.page(want, _LOG[_CUT:]))
    message = puller.next_pull()
    assert message is not None
    kept = server.wanted(message)
    assert isinstance(kept, WantKept)
    return puller, kept


@pytest.mark.parametrize(
    "page",
    [
        [_LOG[8], _LOG[12]],  # forwards
        [_LOG[12], _LOG[12]],
        [_LOG[_CUT]],
        [_LOG[5]],  # a result
        [_unsigned(_LOG[12])],
        [log_of("eve", 1)[0]],
    ],
)
def test_kept_page_that_is_not_what_was_asked_for_is_refused(page: list[Entry]) -> None:
    puller, want = _asking_for_kept()
    with pytest.raises(SyncError):
        puller.answer(Server.page(want, page))


def test_what_is_kept_is_taken_up_to_a_bound_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ADOPTION_BYTES_MAX", 2 * _LOG[4].size)
    puller, want = _asking_for_kept()
    for page in ([_LOG[12], _LOG[8]], [_LOG[4]]):
        assert puller.answer(Server.page(want, page)).adoption is None
        assert puller.next_pull() is not None
    answer = puller.answer(Server.page(want, [_LOG[0]]))
    assert answer.adoption is not None
    assert answer.adoption.kept == (_LOG[0], _LOG[8], _LOG[12]), "but for the hello, which says whose log it is"


def test_state_of_an_adopted_log_says_where_it_begins() -> None:
    ours = Shelf()
    adopted = ours.logs.adopt(_ID, _LOG[_CUT - 1].head, [_LOG[0]], _LOG[_CUT:])
    assert adopted is not None
    assert adopted.state == LogState(_ID, Pen("ann").public_key, _LOG[_CUT - 1].head, _CUT)
