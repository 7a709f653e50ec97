"""What must neither be missed nor told falsely where two rules meet: each is a story that once would have gone wrong."""

from collections.abc import Sequence
from dataclasses import replace

from demesh import limits
from demesh.alerts.conclusions import Conclusions
from demesh.alerts.incident import Incident
from demesh.alerts.kept import Kept, decode_incidents
from demesh.outcome import Outcome
from tests.alerts.watch import Watch
from tests.view.build import ERROR, FAIL, OWN, PASS, WALL_MS, MemberLog, new_view, result, row, three_vantages

_DOWN, _ISOLATED, _SILENT = "DemeshCheckDown", "DemeshNodeIsolated", "DemeshNodeSilent"
_HOUR_MS = 3_600_000


def _find(watch: Watch, author: MemberLog, outcomes: Sequence[Outcome], detail: str | None = None) -> None:
    """Two results of each check; those at 192.168.1.1 are of index 0."""
    found = [
        result(
            outcome,
            watch.now_ms,
            check,
            address=f"198.51.{check}.7" if check else "192.168.1.1",
            **({"detail": detail} if detail and outcome == ERROR else {}),
        )
        for check, outcome in enumerate(outcomes)
        for _ in range(2)
    ]
    watch.hear(author, author.results(watch.now_ms, *found))


def _lone(count: int, **changed: object) -> tuple[Watch, MemberLog]:
    watch, a = Watch(), MemberLog("a")
    watch.hear(a, *a.start(0, *(row(f"c{n}", interval_ms=20_000, **changed) for n in range(count))))
    return watch, a


def test_being_cut_off_is_one_incident_though_something_near_answers() -> None:
    watch, own, a = Watch(), MemberLog("own"), MemberLog("a")
    rows = [row(f"c{n}", interval_ms=10_000) for n in range(6)]
    for member in (own, a):
        watch.hear(member, *member.start(0, *rows))
    while watch.now_ms < limits.STEADY_MS + 100_000:
        watch.now_ms += 10_000
        for member in (own, a):
            _find(watch, member, [PASS] * 6)
        watch.look()
    changes: list[tuple[str, str, str]] = []
    for _ in range(120):
        watch.now_ms += 10_000
        # What the node would say: failures are errors once it knows that it is cut off.
        rest = [ERROR if watch.view.cut_off else FAIL] * 5
        _find(watch, own, [PASS, *rest], "this node is cut off: no answer")
        changes += watch.look()
    assert changes == [("opened", _ISOLATED, "own")]


def test_who_starts_cut_off_and_finds_its_targets_well_is_not() -> None:
    watch, own, a = Watch(), MemberLog("own"), MemberLog("a")
    rows = [row(f"c{n}", interval_ms=10_000) for n in range(5)]
    watch.view.load(a.key, a.start(0, *rows))
    watch.hear(own, *own.start(0, *rows))
    watch.conclusions.restore(Kept((Incident(_ISOLATED, own.key.hex(), "own", WALL_MS, (), ()),)), 0, WALL_MS)
    for _ in range(20):
        watch.now_ms += 10_000
        _find(watch, own, [PASS] * 5)
        watch.look()
    assert watch.named() == [(_SILENT, "a")]
    for _ in range(10):
        watch.now_ms += 10_000
        _find(watch, own, [PASS, PASS, PASS, FAIL, PASS])
        watch.look()
    assert watch.named() == [(_DOWN, "c3"), (_SILENT, "a")]


def test_what_fails_later_is_told_though_an_old_group_lasts() -> None:
    watch, a = _lone(10)
    for _ in range(6):
        watch.now_ms += 10_000
        _find(watch, a, [FAIL] * 10)
        watch.look()
    assert watch.named() == [(_DOWN, "a")]
    for _ in range(40):
        watch.now_ms += 10_000
        _find(watch, a, [FAIL, *[PASS] * 9])
        watch.look()
    for _ in range(10):
        watch.now_ms += 10_000
        _find(watch, a, [FAIL, *[PASS] * 4, FAIL, *[PASS] * 4])
        watch.look()
    assert watch.named() == [(_DOWN, "c5"), (_DOWN, "a")]


def test_a_severe_check_is_not_hidden_in_a_group_of_lesser_ones() -> None:
    watch, a = Watch(), MemberLog("a")
    rows = [row(f"c{n}", interval_ms=20_000, severity="info") for n in range(5)]
    watch.hear(a, *a.start(0, *rows, row("vital", interval_ms=20_000)))
    for n in range(20):
        watch.now_ms += 10_000
        _find(watch, a, [*[FAIL] * 5, FAIL if n > 5 else PASS])
        watch.look()
    severities = {each.subject: dict(each.labels)["severity"] for each in watch.conclusions.open()}
    assert severities == {"vital": "critical", "a": "info"}


def test_a_node_that_can_run_none_of_its_checks_is_told_of() -> None:
    watch, a = _lone(2)
    for _ in range(20):
        watch.now_ms += 10_000
        _find(watch, a, [ERROR, ERROR])
        watch.look()
    assert watch.named() == [("DemeshVantageBroken", "a")]


def test_a_check_that_somebody_else_calls_like_a_group_breaks_nothing() -> None:
    watch = Watch()
    watch.say(FAIL, *three_vantages(watch.view, row("group:zz"), row("*zz")))
    assert watch.look() == [("opened", _DOWN, "group:zz")]
    assert watch.look(1_000) == []
    again = Conclusions(new_view(), OWN.key, "m")
    again.restore(decode_incidents(watch.conclusions.kept()), 0, WALL_MS)


def test_the_rows_of_the_living_say_what_a_check_is_worth() -> None:
    watch = Watch()
    old, new = row(notify=False, severity="info"), row()
    members = sorted((MemberLog(name) for name in "abc"), key=lambda member: member.key)
    for member, its in zip(members, (old, new, new), strict=True):
        watch.hear(member, *member.start(0, replace(its, definition=new.definition)))
    dead, *living = members
    watch.say(PASS, dead)
    for _ in range(8):
        watch.now_ms += 10_000
        watch.say(FAIL, *living)
        watch.look()
    (check,) = watch.view.checks(watch.now_ms)
    assert (check.row.notify, check.row.severity) == (True, "critical")


def test_a_roaming_laptop_that_was_shut_down_is_away_for_days() -> None:
    watch, laptop = Watch(), MemberLog("laptop", presence=1)
    watch.hear(laptop, *laptop.start(0), laptop.bye(1_000))
    assert [watch.look(at_ms) for at_ms in (700_000, _HOUR_MS, 48 * _HOUR_MS)] == [[], [], []]


def test_a_check_that_is_paused_is_not_down_for_ever() -> None:
    watch = Watch()
    members = three_vantages(watch.view, row())
    watch.say(FAIL, *members)
    assert watch.look() == [("opened", _DOWN, "web")]
    for member in members:
        watch.hear(member, member.plan(1_000, row(runs=False, paused=True)))
    assert watch.look(1_000) == [("closed", _DOWN, "web")]


def test_who_saw_it_fail_and_can_only_err_now_has_not_seen_it_recover() -> None:
    watch = Watch()
    a, b, c = three_vantages(watch.view, row(interval_ms=20_000))
    watch.say(FAIL, a, b)
    watch.say(PASS, c)
    assert watch.look() == [("opened", _DOWN, "web")]
    for _ in range(30):
        watch.now_ms += 10_000
        watch.say(ERROR, a, b)
        watch.say(PASS, c)
        assert ("closed", _DOWN, "web") not in watch.look()
    watch.say(PASS, a)
    watch.say(PASS, b)
    assert ("closed", _DOWN, "web") in watch.look()


def test_a_clock_that_is_off_is_still_off_for_who_restarts() -> None:
    members = [MemberLog("a"), MemberLog("b"), MemberLog("c", skew_ms=_HOUR_MS)]
    skewed = Incident("DemeshClockSkew", members[2].key.hex(), "c", WALL_MS, (), ())
    watch = Watch()
    for member in members:
        watch.view.load(member.key, member.start(0))
    watch.conclusions.restore(Kept((skewed,)), 0, WALL_MS)
    assert watch.look(1_000) == []
    for at_ms in range(10_000, 90_000, 10_000):
        watch.now_ms = at_ms
        for member in members:
            watch.hear(member, member.results(at_ms))
        assert watch.look() == []
