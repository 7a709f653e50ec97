"""What opens and closes the incidents of members."""

from demesh import limits
from demesh.view.fold import View
from tests.alerts.watch import Watch
from tests.view.build import ERROR, FAIL, OWN, PASS, MemberLog, result, row, three_vantages

_SILENT, _PARTITION, _ISOLATED, _BROKEN, _SKEW = (
    "DemeshNodeSilent",
    "DemeshPartition",
    "DemeshNodeIsolated",
    "DemeshVantageBroken",
    "DemeshClockSkew",
)
_STEADY_MS = limits.STEADY_MS + 100_000


def _own_log() -> MemberLog:
    own = MemberLog("own")
    assert own.key == OWN.key
    return own


def _targets(count: int, **changed: object) -> list[object]:
    return [row(f"c{n}", **changed) for n in range(count)]


def _found(author: MemberLog, now_ms: int, outcome: object, checks: int) -> object:
    found = (
        result(outcome, now_ms, check, address=f"198.51.{check}.7")  # pyright: ignore[reportArgumentType]
        for check in range(checks)
        for _ in range(2)
    )
    return author.results(now_ms, *found)


def _mesh(others: int, checks: int = 0, **changed: object) -> tuple[Watch, MemberLog, list[MemberLog]]:
    """A watch over a mesh that has been well for a long time: this node, and `others`; all run `checks`."""
    watch, own = Watch(), _own_log()
    members = [own, *(MemberLog(f"m{n}") for n in range(others))]
    rows = _targets(checks, **changed)
    for member in members:
        watch.hear(member, *member.start(0, *rows))  # pyright: ignore[reportArgumentType]
    while watch.now_ms < _STEADY_MS:
        watch.now_ms += 10_000
        for member in members:
            watch.hear(member, _found(member, watch.now_ms, PASS, checks))  # pyright: ignore[reportArgumentType]
        assert watch.look() == []
    return watch, own, members[1:]


def _go_on(
    watch: Watch, seconds: int, own: MemberLog, outcome: object, checks: int, *others: MemberLog
) -> list[tuple[str, str, str]]:
    """This node finds `outcome` with all its checks, while `others` say that they pass."""
    changes: list[tuple[str, str, str]] = []
    end_ms = watch.now_ms + 1_000 * seconds
    while watch.now_ms < end_ms:
        watch.now_ms += 5_000
        watch.hear(own, _found(own, watch.now_ms, outcome, checks))  # pyright: ignore[reportArgumentType]
        for other in others:
            watch.hear(other, _found(other, watch.now_ms, PASS, checks))  # pyright: ignore[reportArgumentType]
        changes += watch.look()
    return changes


def test_several_that_vanish_at_once_are_one_incident_that_names_them() -> None:
    watch, own, (_, _, *rest) = _mesh(5)
    assert _go_on(watch, 90, own, PASS, 0, *rest) == [("opened", _PARTITION, "m0, m1")]
    incident = watch.open()
    assert dict(incident.labels) == {"alertname": _PARTITION, "mesh": "0a1b2c3d", "severity": "critical"}
    assert "cut off from the 4 that tell this" in dict(incident.annotations)["description"]


def test_a_partition_ends_when_each_was_heard_and_tells_that_they_were_running() -> None:
    watch, own, (one, other, *rest) = _mesh(5)
    _go_on(watch, 60, own, PASS, 0, *rest)
    # They wrote all the time, and it comes through now.
    for member in (one, other):
        for at_ms in range(watch.now_ms - 50_000, watch.now_ms + 1, 10_000):
            watch.hear(member, member.results(at_ms))
    watch.view.tick(watch.now_ms)
    (closed,) = watch.conclusions.conclude(watch.now_ms, watch.now_ms)
    assert closed.incident.name == _PARTITION
    assert "refuted: m0 was running all the time" in dict(closed.incident.annotations)["aftermath"]


def test_a_node_that_was_down_is_confirmed_to_have_been() -> None:
    watch, own, (one, *rest) = _mesh(3)
    assert _go_on(watch, 60, own, PASS, 0, *rest) == [("opened", _SILENT, "m0")]
    watch.hear(one, one.results(watch.now_ms))
    (closed,) = watch.conclusions.conclude(watch.now_ms, watch.now_ms)
    assert dict(closed.incident.annotations)["aftermath"] == "confirmed: m0 wrote nothing for 60 s."


def test_who_sees_nobody_and_no_target_is_cut_off_and_accuses_nobody() -> None:
    watch, own, _ = _mesh(2, checks=4, interval_ms=10_000)
    assert _go_on(watch, 200, own, FAIL, 4) == [("opened", _ISOLATED, "own")]
    assert [each.verdict for each in watch.view.checks(watch.now_ms)] == ["unknown"] * 4


def test_being_cut_off_ends_when_the_others_are_heard_again() -> None:
    watch, own, others = _mesh(2, checks=4, interval_ms=10_000)
    _go_on(watch, 100, own, FAIL, 4)
    _go_on(watch, 30, own, ERROR, 4)
    assert watch.named() == [(_ISOLATED, "own")]
    assert _go_on(watch, 60, own, PASS, 4, *others) == [("closed", _ISOLATED, "own")]


def test_whose_targets_answer_is_not_cut_off_and_tells_who_is_gone() -> None:
    watch, own, _ = _mesh(2, checks=4, interval_ms=10_000)
    assert _go_on(watch, 100, own, PASS, 4) == [("opened", _PARTITION, "m0, m1")]


def test_a_survivor_of_two_still_tells_of_a_target_that_fails() -> None:
    watch, own, _ = _mesh(1, checks=4, interval_ms=10_000)
    _go_on(watch, 60, own, PASS, 4)
    assert watch.named() == [(_SILENT, "m0")]
    for _ in range(12):
        watch.now_ms += 5_000
        found = [
            result(FAIL if check == 1 else PASS, watch.now_ms, check, address=f"198.51.{check}.7") for check in range(4)
        ]
        watch.hear(own, own.results(watch.now_ms, *found, *found))
        watch.look()
    assert watch.named() == [("DemeshCheckDown", "c1"), (_SILENT, "m0")]


def test_a_survivor_whose_only_target_fails_speaks_too() -> None:
    watch, own, _ = _mesh(1, checks=1, interval_ms=10_000)
    _go_on(watch, 120, own, FAIL, 1)
    assert watch.named() == [("DemeshCheckDown", "c0"), (_SILENT, "m0")]


def test_an_anchor_decides_with_a_single_target() -> None:
    watch, own, _ = _mesh(1, checks=1, interval_ms=10_000, anchor=True)
    _go_on(watch, 120, own, FAIL, 1)
    assert watch.named() == [(_ISOLATED, "own")]


def test_who_vanished_with_others_counts_as_unseen_for_a_while() -> None:
    watch, own, (*_, last) = _mesh(4, checks=1, interval_ms=10_000, target="https://192.0.2.1/")
    changes: list[tuple[str, str, str]] = []
    end_ms = watch.now_ms + 35_000 + limits.PARTITION_VOTES_MS + 20_000
    while watch.now_ms < end_ms:
        watch.now_ms += 5_000
        for member in (own, last):
            watch.hear(member, _found(member, watch.now_ms, FAIL, 1))  # pyright: ignore[reportArgumentType]
        changes += watch.look()
        if watch.now_ms < end_ms - 25_000:
            assert ("DemeshCheckDown", "c0") not in watch.named(), "two of five"
    assert changes == [("opened", _PARTITION, "m0, m1, m2"), ("opened", "DemeshCheckDown", "c0")]


def _dogdorm(watch: Watch) -> None:
    """One of three vantages loses its UDP; the others see all the targets."""
    a, b, c = three_vantages(watch.view, *(row(f"stun{n}", type="stun", interval_ms=10_000) for n in range(8)))
    for at_ms in range(0, 100_000, 10_000):
        watch.now_ms = at_ms
        for author, outcome in ((a, FAIL), (b, PASS), (c, PASS)):
            watch.hear(author, _found(author, at_ms, outcome, 8))  # pyright: ignore[reportArgumentType]
        watch.look()


def test_a_vantage_that_loses_most_of_its_targets_is_blamed_and_no_target_is() -> None:
    watch = Watch()
    _dogdorm(watch)
    assert watch.named() == [(_BROKEN, "a")]
    incident = watch.open()
    assert incident.about == tuple(f"stun{n}" for n in range(8))
    assert "8 of 8 checks that others run too fail there" in dict(incident.annotations)["description"]
    assert {str(each.verdict) for each in watch.view.checks(watch.now_ms)} == {"up"}
    assert _excluded(watch.view, watch.now_ms) == {"a"}


def _excluded(view: View, now_ms: int) -> set[str]:
    return {
        each.member.current.hello.name
        for check in view.checks(now_ms)
        for each in check.vantages
        if each.broken and each.member.current.hello
    }


def test_a_clock_that_is_off_is_told_of_and_changes_no_vote() -> None:
    watch = Watch()
    members = [MemberLog("a"), MemberLog("b"), MemberLog("c", skew_ms=3_600_000)]
    for member in members:
        watch.hear(member, *member.start(0, row(interval_ms=10_000)))
    watch.live(120_000, *members, outcomes=(PASS,))
    assert watch.named() == [(_SKEW, "c")]
    assert dict(watch.open().annotations)["summary"] == "the clock of c is 60 min ahead of the others'"
    assert watch.view.checks(watch.now_ms)[0].tally.passes == 3


def test_of_two_clocks_both_are_named() -> None:
    watch, a, b = Watch(), MemberLog("a"), MemberLog("b", skew_ms=-60_000)
    for member in (a, b):
        watch.hear(member, *member.start(0))
    watch.live(120_000, a, b)
    assert watch.named() == [(_SKEW, "a, b")]
