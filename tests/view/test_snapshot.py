"""The promises of `demesh.view.snapshot`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.errors import EntryError
from demesh.log.results import Result
from demesh.outcome import Outcome
from demesh.view.snapshot import decode_votes, encode_votes
from demesh.view.vote import Observation, VoteState, advance
from tests.log.builders import generated

_observations = st.builds(
    Observation,
    st.builds(
        Result,
        st.just(0),
        st.integers(0, 2**50),
        st.sampled_from(Outcome),
        st.none() | st.integers(0, 10**9),
        st.text(max_size=40),
        certificate_expires_s=st.none() | st.integers(1, 2**40),
        address=st.none() | st.text(min_size=1, max_size=20),
        lateness_ms=st.integers(0, 10**6),
        other_address=st.none() | st.text(min_size=1, max_size=20),
    ),
    st.binary(min_size=8, max_size=8),
    st.integers(0, 2**50),
)


@generated
@given(st.lists(_observations, max_size=12), _observations)
def test_votes_go_on_from_a_snapshot_as_if_nothing_had_been(seen: list[Observation], after: Observation) -> None:
    def fold(state: VoteState, observations: list[Observation]) -> VoteState:
        for each in observations:
            state = advance(state, each, interval_ms=10**9, fail_after=2, recover_after=3)
        return state

    state = fold(VoteState(), seen)
    ((key, restored),) = decode_votes(encode_votes({("web", b"d" * 16): state})).items()
    assert key == ("web", b"d" * 16)
    went_on, restored = fold(state, [after]), fold(restored, [after])
    bare = after.result._replace(certificate_expires_s=None, address=None, other_address=None)
    assert (restored.vote, restored.run_length, restored.address) == (went_on.vote, went_on.run_length, went_on.address)
    assert restored.certificate_expires_s == went_on.certificate_expires_s
    assert restored.other_address == went_on.other_address
    assert (restored.since is None) == (went_on.since is None)
    assert restored.last is not None
    assert restored.last.result._replace(certificate_expires_s=None, address=None, other_address=None) == bare


@generated
@given(st.binary(max_size=80))
def test_other_bytes_are_refused(data: bytes) -> None:
    if data == encode_votes({}):
        return
    with pytest.raises(EntryError):
        decode_votes(data)
