"""Several pulls at once share the work."""

from demesh import limits
from demesh.mesh.claims import Claims

_A, _B = b"a" * 32, b"b" * 32
_ONE, _TWO = b"1" * 16, b"2" * 16


def test_log_is_taken_by_one_pull_at_a_time() -> None:
    claims = Claims()
    assert claims.claim(_A, _ONE, 0)
    assert claims.claim(_A, _ONE, 1), "page after page"
    assert not claims.claim(_B, _ONE, 2)
    assert claims.claim(_B, _TWO, 3)


def test_pull_that_goes_on_to_another_log_leaves_the_one_before() -> None:
    claims = Claims()
    claims.claim(_A, _ONE, 0)
    claims.claim(_A, _TWO, 1)
    assert claims.claim(_B, _ONE, 2)
    assert not claims.claim(_B, _TWO, 2)


def test_pull_that_ends_leaves_its_log() -> None:
    claims = Claims()
    claims.claim(_A, _ONE, 0)
    claims.release(_A)
    assert claims.claim(_B, _ONE, 1)


def test_whoever_has_a_log_for_long_may_lose_it() -> None:
    claims = Claims()
    claims.claim(_A, _ONE, 0)
    claims.claim(_A, _ONE, limits.CLAIM_MS_MAX - 1)
    assert not claims.claim(_B, _ONE, limits.CLAIM_MS_MAX - 1)
    assert claims.claim(_B, _ONE, limits.CLAIM_MS_MAX)
    assert not claims.claim(_A, _ONE, limits.CLAIM_MS_MAX + 1)


def test_log_that_a_peer_writes_itself_is_taken_from_it_at_once() -> None:
    claims = Claims()
    claims.claim(_A, _ONE, 0)
    assert claims.claim(_B, _ONE, 1, at_once=True)
    assert not claims.claim(_A, _ONE, 2)
