"""A proof convicts whoever signed two histories, and nobody else."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.errors import EntryError
from demesh.log.codec import Value
from demesh.log.entry import Entry, Kind
from demesh.log.evidence import Proof, check_proof, proof_of, read_proof, segment_of
from tests.log.builders import MESH, OTHER_MESH, damaged, key_of, lean_but_tip, log_of, public_key_of, rewritten

_ANN, _KEY = log_of("ann", 12), public_key_of("ann")
_FORKED = [*_ANN[:7], rewritten(_ANN[7], key_of("ann"))]


def _proof(length: int = 1) -> Proof:
    return proof_of(lean_but_tip(_ANN[7 : 7 + length]), lean_but_tip(_FORKED[7:8]))


@pytest.mark.parametrize("length", [1, 3])
def test_two_entries_at_one_place_are_a_proof_whoever_holds_which(length: int) -> None:
    proof = _proof(length)
    check_proof(_KEY, MESH, proof)
    assert proof_of(proof.other, proof.one) == proof
    assert read_proof(proof.value()) == proof
    assert read_proof(proof.value()).id == proof.id
    assert proof.seq == 7


def test_another_signature_of_the_same_entry_proves_nothing() -> None:
    with pytest.raises(EntryError, match="do not part"):
        proof_of(_ANN[7:8], [_ANN[7]._replace(signature=damaged(_ANN[7].signature))])


_BAD: dict[str, Callable[[], Proof]] = {
    "a signature of somebody else": lambda: proof_of(_ANN[7:8], [_FORKED[7]._replace(signature=_ANN[7].signature)]),
    "no signature": lambda: proof_of(_ANN[7:8], [_FORKED[7]._replace(signature=b"")]),
    "a gap": lambda: proof_of([*lean_but_tip(_ANN[7:9]), _ANN[11]][::2], _FORKED[7:8]),
    "another history behind the first entry": lambda: proof_of(
        [_FORKED[7]._replace(signature=b""), _ANN[8]], _ANN[7:8]
    ),
    "more than is needed": lambda: proof_of(_ANN[7:9], _FORKED[7:8]),
}


@pytest.mark.parametrize("make", _BAD.values(), ids=_BAD)
def test_what_the_owner_did_not_sign_twice_convicts_nobody(make: Callable[[], Proof]) -> None:
    with pytest.raises(EntryError):
        check_proof(_KEY, MESH, make())


def test_proof_holds_for_its_mesh_and_its_key_only() -> None:
    for key, mesh_id in ((public_key_of("ben"), MESH), (_KEY, OTHER_MESH)):
        with pytest.raises(EntryError, match="not signed"):
            check_proof(key, mesh_id, _proof())


@pytest.mark.parametrize("other", [log_of("ben", 12), log_of("ann", 12, epoch=1)], ids=["another member", "an epoch"])
def test_entries_of_two_logs_are_no_proof(other: list[Entry]) -> None:
    with pytest.raises(EntryError, match="one log"):
        proof_of(_ANN[7:8], other[7:8])


@given(st.data())
def test_whatever_is_changed_in_a_proof_is_refused(data: st.DataObject) -> None:
    value = _proof(3).value()
    assert isinstance(value, list)
    at = data.draw(st.integers(0, 3))
    changed: list[Value] = list(value)
    changed[at] = data.draw(
        st.one_of(
            st.integers(0, 2**60), st.binary(max_size=20), st.text(max_size=5), st.just([]), st.just(value[3 - at])
        )
    )
    if changed == value:
        return
    with pytest.raises(EntryError):
        check_proof(_KEY, MESH, read_proof(changed))


def test_segment_ends_at_its_first_signature() -> None:
    assert segment_of(_ANN) == _ANN[:1]
    assert segment_of(lean_but_tip(_ANN[3:9])) == lean_but_tip(_ANN[3:9])
    assert segment_of([]) == segment_of([entry._replace(signature=b"") for entry in _ANN[3:9]]) == []


def test_nobody_can_make_another_proof_of_one_by_what_stands_behind_the_two_entries() -> None:
    """Each would have another id, and whoever has both histories could send them without end."""
    assert len({_proof(length).id for length in (1, 2, 3)}) == 1


def test_fork_in_place_0_is_of_two_hellos() -> None:
    """One of the two stays, and says whose log it is."""
    key = key_of("ann")
    for other, holds in ((rewritten(_ANN[0], key), True), (rewritten(_ANN[0], key, kind=Kind.EVENT), False)):
        proof = proof_of(_ANN[:1], [other])
        if holds:
            check_proof(public_key_of("ann"), MESH, proof)
        else:
            with pytest.raises(EntryError, match="hello"):
                check_proof(public_key_of("ann"), MESH, proof)
