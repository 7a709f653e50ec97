"""A check as others see it: who runs it, its identity, its deadline, and none of its secrets."""

from dataclasses import replace

import pytest

from demesh.checks.check import Check
from demesh.probes.base import ProbeSpec

_MESH, _OTHER_MESH = b"m" * 16, b"o" * 16
_TARGET = "https://me:sesame@example.org:8443/health?token=sesame#part"
_CHECK = Check(
    "web", ProbeSpec("http", _TARGET, 10_000), labels=(("team", "ops"),), expectations=(("status", "[200]"),)
)


def _definition(check: Check, mesh_id: bytes = _MESH) -> bytes:
    return check.row(mesh_id, True).definition


def _target(target: str) -> Check:
    return replace(_CHECK, probe=replace(_CHECK.probe, target=target))


@pytest.mark.parametrize(
    ("nodes", "runs"),
    [
        (("*",), True),
        (("nas",), True),
        (("vps", "nas"), True),
        (("tag:eu",), True),
        (("tag:us", "vps"), False),
        (("tag:nas",), False),
        (("eu",), False),
        ((), False),
    ],
)
def test_nodes_select_the_vantages_by_name_and_tag(nodes: tuple[str, ...], runs: bool) -> None:
    assert replace(_CHECK, nodes=nodes).runs_on("nas", ("eu", "home")) == runs


def test_a_plan_tells_all_but_the_secrets_of_a_target() -> None:
    row = _CHECK.row(_MESH, False)
    assert row.target == "https://example.org:8443/health"
    assert "sesame" not in repr(row)
    assert (row.name, row.type, row.runs, row.labels, row.options) == (
        "web",
        "http",
        False,
        _CHECK.labels,
        _CHECK.expectations,
    )
    assert (row.interval_ms, row.timeout_ms, row.fail_after, row.quorum) == (60_000, 10_000, 2, 0)


@pytest.mark.parametrize(
    "other",
    [
        _target(_TARGET.replace("token=sesame", "token=open")),
        _target(_TARGET.replace("8443", "8444")),
        replace(_CHECK, probe=replace(_CHECK.probe, verify_tls=False)),
        replace(_CHECK, probe=replace(_CHECK.probe, timeout_ms=9_999)),
        replace(_CHECK, interval_ms=59_999),
        replace(_CHECK, retry_interval_ms=9_999),
        replace(_CHECK, fail_after=3),
        replace(_CHECK, recover_after=3),
        replace(_CHECK, expectations=(("status", "[201]"),)),
    ],
)
def test_whatever_decides_a_vote_makes_another_definition(other: Check) -> None:
    assert _definition(other) != _definition(_CHECK)


@pytest.mark.parametrize(
    "other",
    [
        _target(_TARGET.replace("me:sesame@", "you:open@")),
        _target(_TARGET.replace("me:sesame@", "")),
        _target(_TARGET.replace("#part", "")),
    ],
)
def test_how_a_node_authenticates_is_its_own_matter(other: Check) -> None:
    assert _definition(other) == _definition(_CHECK)


@pytest.mark.parametrize(
    "other",
    [
        replace(_CHECK, quorum=1),
        replace(_CHECK, severity="warning"),
        replace(_CHECK, nodes=("nas",)),
        replace(_CHECK, labels=(("team", "dev"),)),
        replace(_CHECK, labels=()),
    ],
)
def test_a_difference_in_what_is_made_of_the_votes_hides_none(other: Check) -> None:
    assert _definition(other) == _definition(_CHECK)


def test_a_definition_is_keyed_by_the_mesh_so_that_its_secrets_cannot_be_guessed_from_outside() -> None:
    assert _definition(_CHECK, _OTHER_MESH) != _definition(_CHECK)
    assert len(_definition(_CHECK)) == 16
