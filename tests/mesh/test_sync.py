from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh import limits
from demesh.errors import EntryError, SyncError
from demesh.log.codec import Value, decode, encode, values
from demesh.log.entry import Entry
from demesh.log.evidence import proof_of
from demesh.mesh.sync import Message, Refused, Want, WantKept, WantProof, refusal
from demesh.mesh.sync_puller import Here, Puller
from demesh.mesh.sync_server import Server, lean
from tests.log.builders import (
    MESH,
    OTHER_MESH,
    Pen,
    Shelf,
    fields_of,
    generated,
    key_of,
    lean_but_tip,
    log_of,
    rewritten,
    stripped,
)

_ANN = log_of("ann", 8)
_LOG = _ANN[0].log


def _puller(shelf: Shelf, mesh_id: bytes = MESH) -> Puller:
    return Puller(mesh_id, shelf.logs.states(), here=Here(shelf.logs.get))


def _server(shelf: Shelf, mesh_id: bytes = MESH) -> Server:
    return Server(mesh_id, shelf.logs.states())


def _greet(ours: Shelf, theirs: Shelf) -> tuple[Puller, Server]:
    """A session whose vectors were exchanged."""
    puller, server = _puller(ours), _server(theirs)
    hello, vector = server.greet(puller.hello())
    assert puller.greeted(hello)
    puller.offered(vector)
    return puller, server


def _pull(ours: Shelf, theirs: Shelf, bytes_max: int = limits.SYNC_PAGE_BYTES_MAX) -> list[list[Entry]]:
    """A whole session; returns its pages."""
    puller, server = _greet(ours, theirs)
    pages: list[list[Entry]] = []
    while (message := puller.next_pull()) is not None:
        want = server.wanted(message)
        assert isinstance(want, Want)
        read, _ = theirs.store.read(want.log, want.first, want.last, bytes_max=bytes_max)
        page = list(puller.answer(server.page(want, read)).entries)
        assert ours.take(page).refusals == []
        pages.append(page)
    return pages


def _asking() -> Puller:
    """A puller that has asked for entries 3 to 7 of Ann's log."""
    puller, _ = _greet(Shelf(_ANN[:3]), Shelf(_ANN))
    assert puller.next_pull() is not None
    return puller


def test_equal_nodes_end_after_the_greeting() -> None:
    ours, theirs = Shelf(_ANN, log_of("bob", 2)), Shelf(log_of("bob", 2), _ANN)
    puller = _puller(ours)
    answers = _server(theirs).greet(puller.hello())
    assert len(answers) == 1
    assert not puller.greeted(answers[0])
    assert puller.next_pull() is None


def test_exactly_what_is_missing_is_asked_for() -> None:
    bob, cat = log_of("bob", 4), log_of("cat", 3)
    puller, server = _greet(Shelf(_ANN[:3], bob), Shelf(_ANN, bob[:2], cat))
    pulls: list[Want | WantKept | WantProof] = []
    while (message := puller.next_pull()) is not None:
        pulls.append(server.wanted(message))
    assert {Want(cat[0].log, 0, 2), Want(_LOG, 3, 7)} == set(pulls)
    assert len(pulls) == 2
    assert puller.held[_LOG].head_seq == 7


def test_one_pull_brings_all_that_the_other_holds() -> None:
    ours, theirs = Shelf(_ANN[:3]), Shelf(_ANN, log_of("bob", 4))
    _pull(ours, theirs)
    assert ours.all() == theirs.all()


def test_the_log_that_the_server_writes_comes_first_and_the_longest_last() -> None:
    logs = {owner: log_of(owner, length) for owner, length in (("ann", 30), ("ben", 5), ("cid", 60), ("dan", 40))}
    theirs = Shelf(*logs.values())
    writes = logs["dan"][0].log
    puller, server = Puller(MESH, []), Server(MESH, theirs.logs.states(), writes)
    hello, vector = server.greet(puller.hello())
    assert puller.greeted(hello)
    puller.offered(vector)
    asked: list[bytes] = []
    while (message := puller.next_pull()) is not None:
        asked.append(server.wanted(message).log)
    assert asked == [writes, *(logs[owner][0].log for owner in ("ben", "ann", "cid"))]


def test_small_pages_bring_the_same_in_several_steps() -> None:
    ours, theirs = Shelf(_ANN[:1]), Shelf(_ANN)
    pages = _pull(ours, theirs, bytes_max=_ANN[1].size + _ANN[2].size)
    assert [[entry.seq for entry in page] for page in pages] == [[1, 2], [3, 4], [5, 6], [7]]
    assert ours.all() == theirs.all()


def test_a_new_node_begins_where_the_others_were_pruned() -> None:
    puller = _puller(Shelf())
    puller.offered(encode([Message.VECTOR, [[_LOG, 5, 7, bytes(8)]]]))
    assert puller.next_pull() == encode([Message.PULL, _LOG, 5, 7])
    known = _puller(Shelf(_ANN[:3]))
    known.offered(encode([Message.VECTOR, [[_LOG, 5, 7, bytes(8)]]]))
    assert known.next_pull() == encode([Message.PULL, _LOG, 5, 7])  # see test_adoption.py


def test_another_entry_at_the_same_head_is_a_conflict() -> None:
    fork = [*_ANN[:7], rewritten(_ANN[7], key_of("ann"))]
    puller, _ = _greet(Shelf(_ANN), Shelf(fork))
    assert puller.next_pull() is None
    (search,) = puller.searches()
    assert search.want == Want(_LOG, 3, 7)
    assert _greet(Shelf(_ANN[:7]), Shelf(fork))[0].searches() == []


def test_pages_carry_signatures_only_where_they_are_needed() -> None:
    pen = Pen("ann")
    entries = [*pen.fill(3), pen.hello(), *[pen.results() for _ in range(3)]]
    page = lean(entries)
    assert [bool(entry.signature) for entry in page] == [True, False, False, True, False, False, True]
    assert [entry.body for entry in page] == [entry.body for entry in entries]
    assert Shelf(page).all() == Shelf(entries).all()


def test_a_page_ends_at_a_signature() -> None:
    assert lean([*_ANN[:4], *map(stripped, _ANN[4:6])]) == lean(_ANN[:4])
    assert lean([stripped(entry) for entry in _ANN[1:4]]) == []
    assert lean([]) == []


def test_what_came_without_signatures_is_passed_on_and_verified_again() -> None:
    """Whichever part the third node lacks, and however small the pages are that brought it to the second."""
    first, second = Shelf(_ANN), Shelf()
    _pull(second, first, bytes_max=3 * _ANN[1].size)
    assert any(not entry.signature for entry in second.stored(_LOG))
    for held in range(len(_ANN)):
        third = Shelf(_ANN[:held]) if held else Shelf()
        _pull(third, second)
        assert third.all() == first.all()


_PROOF = proof_of(_ANN[5:6], [rewritten(_ANN[5], key_of("ann"))])


def _pull_proofs(ours: Shelf, theirs: Shelf) -> list[Message]:
    """A whole session with a server that knows of a fork; returns the types of what was asked for."""
    puller, server = _greet(ours, theirs)
    asked: list[Message] = []
    while (message := puller.next_pull()) is not None:
        want = server.wanted(message)
        if isinstance(want, WantProof):
            answer = puller.answer(server.proof(want, theirs.store.proof(want.log)))
            assert answer.proof is not None
            assert ours.prove(answer.proof)
            asked.append(Message.EVIDENCE)
        elif isinstance(want, Want):
            read, _ = theirs.store.read(want.log, want.first, want.last)
            ours.take(puller.answer(server.page(want, read, server.proven(want.log))).entries)
            asked.append(Message.PULL)
    assert puller.searches() == []
    return asked


@pytest.mark.parametrize("held", [_ANN, _ANN[:3], _ANN[:6], [*_ANN[:5], rewritten(_ANN[5], key_of("ann"))]])
def test_proof_is_asked_for_first_and_one_session_brings_both_to_one_end(held: list[Entry]) -> None:
    ours, theirs = Shelf(held), Shelf(lean_but_tip(_ANN))
    theirs.prove(_PROOF)
    asked = _pull_proofs(ours, theirs)
    assert asked[0] == Message.EVIDENCE
    assert len(asked) == (2 if len(held) < 5 else 1), "what leads up to the fork, where that is missing"
    assert [state.head for state in ours.logs.states()] == [_ANN[4].head]
    assert not _puller(ours).greeted(_server(theirs).greet(_puller(ours).hello())[0]), "now they are equal"


def test_newcomer_gets_log_and_proof_in_two_sessions() -> None:
    """What no signature vouches for it cannot take before it has the proof, nor that before it knows whose log it is."""
    ours, theirs = Shelf(), Shelf(lean_but_tip(_ANN))
    theirs.prove(_PROOF)
    assert _pull_proofs(ours, theirs) == [Message.PULL, Message.EVIDENCE]
    assert _pull_proofs(ours, theirs) == [Message.PULL]
    assert ours.all() == theirs.all()


def test_nothing_beyond_a_known_fork_is_asked_for() -> None:
    ours = Shelf(_ANN[:3])
    ours.prove(_PROOF)
    puller, _ = _greet(ours, Shelf(_ANN))
    assert puller.next_pull() == encode([Message.PULL, _LOG, 3, 4])
    assert puller.next_pull() is None


def test_server_that_has_lost_its_proof_says_so_and_the_session_goes_on() -> None:
    ours, theirs = Shelf(_ANN), Shelf(_ANN)
    theirs.prove(_PROOF)
    puller, _ = _greet(ours, theirs)
    assert puller.next_pull() == encode([Message.EVIDENCE, _LOG])
    assert puller.answer(Server.proof(WantProof(_LOG), None)).proof is None
    assert puller.next_pull() is None


@pytest.mark.parametrize(
    "answer",
    [
        [Message.PROOF, bytes(16), _PROOF.value()],
        [Message.PROOF, _LOG, [_LOG]],
        [Message.PROOF, _LOG, proof_of(log_of("bob", 1), [rewritten(log_of("bob", 1)[0], key_of("bob"))]).value()],
        [Message.PAGE, _LOG, []],
    ],
)
def test_answer_that_is_not_the_proof_asked_for_is_refused(answer: Value) -> None:
    theirs = Shelf(_ANN)
    theirs.prove(_PROOF)
    puller, _ = _greet(Shelf(_ANN), theirs)
    assert puller.next_pull() == encode([Message.EVIDENCE, _LOG])
    with pytest.raises((SyncError, EntryError)):
        puller.answer(encode(answer))


@pytest.mark.parametrize(
    ("bound", "limit"),
    [("SYNC_PAGE_ENTRIES_MAX", 4), ("SYNC_PAGE_BYTES_MAX", sum(entry.size for entry in lean(_ANN[3:])) - 1)],
)
def test_page_longer_than_can_be_passed_on_is_refused(monkeypatch: pytest.MonkeyPatch, bound: str, limit: int) -> None:
    """Its one signature is so far behind that our own pages would all end before it."""
    page = Server.page(Want(_LOG, 3, 7), _ANN[3:])
    monkeypatch.setattr(limits, bound, limit + 1)
    assert _asking().answer(page).entries == lean(_ANN[3:])
    monkeypatch.setattr(limits, bound, limit)
    with pytest.raises(SyncError, match="passed on"):
        _asking().answer(page)


def test_empty_page_ends_a_log_but_not_the_session() -> None:
    bob = log_of("bob", 2)
    puller, server = _greet(Shelf(), Shelf(_ANN, bob))
    asked: list[Want] = []
    while (message := puller.next_pull()) is not None:
        want = server.wanted(message)
        assert isinstance(want, Want)
        asked.append(want)
        assert puller.answer(server.page(asked[-1], [])).entries == []
    assert sorted(want.log for want in asked) == sorted([_LOG, bob[0].log])


def test_log_that_is_skipped_is_not_asked_for_again() -> None:
    bob = log_of("bob", 2)
    puller, server = _greet(Shelf(), Shelf(_ANN, bob))
    message = puller.next_pull()
    assert message is not None
    want = server.wanted(message)
    assert isinstance(want, Want)
    first = {_LOG: _ANN, bob[0].log: bob}[want.log][:1]
    puller.answer(server.page(want, first))
    puller.skip(want.log)
    message = puller.next_pull()
    assert message is not None
    assert server.wanted(message).log != want.log
    assert puller.next_pull() is None


@pytest.mark.parametrize(
    ("hello", "code", "sentence"),
    [
        ([1, [2, 3], MESH, bytes(32)], Refused.VERSION, "this node speaks version 1 of sync"),
        ([1, [1], OTHER_MESH, bytes(32)], Refused.MESH, "this node belongs to mesh 00010203, not to 01020304"),
    ],
)
def test_server_refuses_in_a_sentence(hello: Value, code: Refused, sentence: str) -> None:
    (answer,) = _server(Shelf(_ANN)).greet(encode(hello))
    assert decode(answer) == [Message.REFUSED, code, sentence]
    with pytest.raises(SyncError, match=f"^the peer refused: {sentence}$") as refused:
        _puller(Shelf()).greeted(answer)
    assert refused.value.code == code


def test_refused_puller_gets_nothing() -> None:
    server = _server(Shelf(_ANN))
    server.greet(_puller(Shelf(), OTHER_MESH).hello())
    with pytest.raises(SyncError):
        server.wanted(encode([Message.PULL, _LOG, 0, 7]))


def test_version_in_common_is_enough() -> None:
    assert len(_server(Shelf()).greet(encode([1, [1, 2], MESH, bytes(32)]))) == 2


@pytest.mark.parametrize("code", [*Refused, 99])
def test_refusal_at_any_point_is_told_with_its_sentence(code: int) -> None:
    said = encode([Message.REFUSED, code, "try later"])
    puller = _asking()
    for receive in (puller.greeted, puller.offered, puller.answer):
        with pytest.raises(SyncError, match="the peer refused: try later") as refused:
            receive(said)
        assert refused.value.code == code
    assert refusal(Refused.BUSY, "try later") == encode([5, 3, "try later"])


@pytest.mark.parametrize("hello", [[1, 2, MESH, bytes(32)], [1, 1, OTHER_MESH, bytes(32)]], ids=["version", "mesh"])
def test_puller_refuses_a_server_of_another_kind(hello: Value) -> None:
    with pytest.raises(SyncError):
        _puller(Shelf()).greeted(encode(hello))


_MALFORMED: list[bytes] = [
    b"",
    b"\xff",
    encode(7),
    encode([]),
    encode(["1"]),
    encode([9]),
    encode([256]),
    *[encode([kind]) for kind in Message],
    *[encode([kind, 0, 0, 0]) for kind in Message],
    encode([Message.HELLO, [1], MESH, bytes(31)]),
    encode([Message.HELLO, 1, bytes(15), bytes(32)]),
    encode([Message.VECTOR, [[_LOG, 0, 7]]]),
    encode([Message.VECTOR, [[_LOG, 0, 2**53, bytes(8)]]]),
    encode([Message.VECTOR, [values([_LOG, 0, 7, bytes(8)]) for _ in range(limits.SYNC_VECTOR_ROWS_MAX + 1)]]),
    encode([Message.PULL, _LOG, 0]),
    encode([Message.PULL, bytes(15), 0, 7]),
    encode([Message.PULL, _LOG, 7, 2**53]),
    encode([Message.KEPT, _LOG]),
    encode([Message.KEPT, bytes(15), 7]),
    encode([Message.KEPT, bytes(16), 7]),
    encode([Message.EVIDENCE, bytes(15)]),
    encode([Message.EVIDENCE, bytes(16)]),
    encode([Message.VECTOR, [[_LOG, 0, 7, bytes(8), 3]]]),
    encode([Message.VECTOR, [[_LOG, 0, 7, bytes(8), 3, bytes(7)]]]),
    encode([Message.PAGE, _LOG]),
    encode([Message.PAGE, _LOG, [[b"no entry", b""]]]),
]


def _wanted(data: bytes) -> object:
    _, server = _greet(Shelf(), Shelf(_ANN))
    return server.wanted(data)


_RECEIVERS: dict[str, Callable[[bytes], object]] = {
    "greet": lambda data: _server(Shelf(_ANN)).greet(data),
    "wanted": _wanted,
    "greeted": lambda data: _puller(Shelf()).greeted(data),
    "offered": lambda data: _puller(Shelf()).offered(data),
    "page": lambda data: _asking().answer(data),
}


@pytest.mark.parametrize("receiver", list(_RECEIVERS))
@pytest.mark.parametrize("message", _MALFORMED, ids=lambda message: message[:8].hex())
def test_malformed_message_is_refused_wherever_it_comes(receiver: str, message: bytes) -> None:
    with pytest.raises((SyncError, EntryError)):
        _RECEIVERS[receiver](message)


@generated
@given(st.sampled_from(sorted(_RECEIVERS)), st.binary(max_size=60))
def test_arbitrary_bytes_end_a_session_and_nothing_else(receiver: str, data: bytes) -> None:
    with pytest.raises((SyncError, EntryError)):
        _RECEIVERS[receiver](data)


def test_server_gives_only_what_it_offered() -> None:
    _, server = _greet(Shelf(), Shelf(_ANN))
    for want in ([bytes(16), 0, 7], [_LOG, 5, 4]):
        with pytest.raises(SyncError, match="not offered"):
            server.wanted(encode([Message.PULL, *want]))
    assert server.wanted(encode([Message.PULL, _LOG, 4, 4])) == Want(_LOG, 4, 4)


def test_server_gives_nothing_before_the_greeting() -> None:
    with pytest.raises(SyncError):
        _server(Shelf(_ANN)).wanted(encode([Message.PULL, _LOG, 0, 7]))


_BOB = log_of("bob", 8)


@pytest.mark.parametrize(
    "entries",
    [_ANN[4:], _ANN[2:], [_ANN[3], _ANN[5]], [_ANN[3], _ANN[3]], [_ANN[4], _ANN[3]], log_of("ann", 9)[3:], _BOB[3:]],
    ids=["late", "early", "hole", "twice", "swapped", "too far", "another log"],
)
def test_entries_that_were_not_asked_for_are_refused(entries: list[Entry]) -> None:
    page = encode([Message.PAGE, _LOG, [[entry.body, entry.signature] for entry in entries]])
    with pytest.raises(SyncError, match="not asked for"):
        _asking().answer(page)


def test_page_of_another_log_is_refused() -> None:
    with pytest.raises(SyncError, match="another log"):
        _asking().answer(encode([Message.PAGE, _BOB[0].log, []]))


def test_fields_of_a_later_version_are_skipped() -> None:
    puller, server = _puller(Shelf()), _server(Shelf(_ANN))

    def longer(message: bytes) -> bytes:
        return encode([*fields_of(decode(message)), "more"])

    hello, vector = server.greet(longer(puller.hello()))
    assert puller.greeted(longer(hello))
    (rows,) = fields_of(decode(vector))[1:]
    extended = [values([*fields_of(row), 2**53 - 1, bytes(8), "more"]) for row in fields_of(rows)]
    puller.offered(longer(encode([Message.VECTOR, values(extended)])))
    pull = puller.next_pull()
    assert pull is not None
    want = server.wanted(longer(pull))
    assert isinstance(want, Want)
    assert len(puller.answer(longer(server.page(want, _ANN))).entries) == len(_ANN)
