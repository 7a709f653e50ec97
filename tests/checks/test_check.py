"""A check as others see it: who runs it, its identity, its deadline, and none of its secrets."""

from dataclasses import replace

import pytest

from demesh.checks.check import Check, with_actual_key
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


def test_a_paused_check_runs_nowhere() -> None:
    assert not replace(_CHECK, nodes=("*", "nas"), enabled=False).runs_on("nas", ())


@pytest.mark.parametrize(
    ("check", "target"),
    [
        (replace(_CHECK, show_query=True), "https://example.org:8443/health?token=sesame"),
        (replace(_CHECK, target="https://${U}:${P}@example.org/${HOOK}?t=${T}"), "https://example.org/${HOOK}"),
        (replace(_CHECK, target="${URL}"), "${URL}"),
        (Check("a", ProbeSpec("dns", "dns:///example.org", 1_000)), "dns:///example.org"),
        (Check("a", ProbeSpec("command", "command:check_disk", 1_000)), "command:check_disk"),
    ],
)
def test_others_are_told_of_a_target_as_it_is_written(check: Check, target: str) -> None:
    assert check.row(_MESH, True).target == target


def test_the_deadline_is_the_longest_that_an_outage_can_go_unnoticed() -> None:
    assert _CHECK.deadline_ms == 60_000 + (2 - 1) * 10_000 + 2 * 10_000 + 30_000
    slow = replace(_CHECK, interval_ms=5_000, fail_after=3, retry_interval_ms=2_000)
    assert replace(slow, probe=replace(_CHECK.probe, timeout_ms=1_000)).deadline_ms == 5_000 + 4_000 + 3_000 + 30_000


def test_the_key_of_actual_values_is_that_of_the_mesh() -> None:
    ours, others = with_actual_key(_CHECK, _MESH), with_actual_key(_CHECK, _OTHER_MESH)
    assert ours.probe.actual_key == with_actual_key(replace(_CHECK, name="other"), _MESH).probe.actual_key
    assert len(ours.probe.actual_key) == 16
    assert ours.probe.actual_key not in (others.probe.actual_key, _CHECK.probe.actual_key)
    assert replace(ours, probe=_CHECK.probe) == _CHECK


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
        replace(_CHECK, probe=replace(_CHECK.probe, type="tcp")),
        replace(_CHECK, probe=replace(_CHECK.probe, timeout_ms=9_999)),
        replace(_CHECK, interval_ms=59_999),
        replace(_CHECK, retry_interval_ms=9_999),
        replace(_CHECK, fail_after=3),
        replace(_CHECK, recover_after=3),
        replace(_CHECK, expectations=(("status", "[201]"),)),
        replace(_CHECK, expectations=()),
        replace(_CHECK, definition=(("verify_tls", "false"),)),
        replace(_CHECK, expectations=(), definition=(("status", "[200]"),)),
        replace(_CHECK, target="https://example.org:8443/health?token=${TOKEN}"),
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
        replace(_CHECK, enabled=False),
        replace(_CHECK, show_query=True),
        replace(_CHECK, probe=replace(_CHECK.probe, show_actual=True)),
        with_actual_key(_CHECK, _MESH),
    ],
)
def test_a_difference_in_what_is_made_of_the_votes_hides_none(other: Check) -> None:
    assert _definition(other) == _definition(_CHECK)


def test_a_definition_is_keyed_by_the_mesh_so_that_its_secrets_cannot_be_guessed_from_outside() -> None:
    assert _definition(_CHECK, _OTHER_MESH) != _definition(_CHECK)
    assert len(_definition(_CHECK)) == 16
