"""Every alert that a mesh posts, with the labels that the rules give it: made by these rules, each from what it is for."""

from collections.abc import Callable
from functools import cache

from demesh import limits
from demesh.alerts.watchdog import watchdog
from demesh.log.entry import Kind
from demesh.log.evidence import Fork
from demesh.log.notice import PathAlive, path_notice
from tests.alerts.watch import Watch
from tests.view.build import FAIL, OWN, PASS, WALL_MS, MemberLog, result, row, three_vantages

MESH = "0a1b2c3d"
Labels = dict[str, str]


def posted() -> dict[str, list[Labels]]:
    """By name; of `DemeshCheckDown` first that of a check, then that of a vantage whose checks fail together."""
    found: dict[str, list[Labels]] = {}
    for watch in _watches():
        for incident in watch.conclusions.open():
            found.setdefault(incident.name, []).append(dict(incident.labels))
    beat = watchdog("a", MESH, (), WALL_MS)
    return {**found, beat.name: [dict(beat.labels)]}


def annotations() -> set[str]:
    """The names of the annotations that alerts have, while they are open and when they close."""
    incidents = [
        incident
        for watch in _watches()
        for incident in (*watch.conclusions.open(), *(each.incident for each in watch.conclusions.closed))
    ]
    return {name for incident in incidents for name, _ in incident.annotations}


@cache
def _watches() -> list[Watch]:
    return [story() for story in (*_OF_CHECKS, *_OF_MEMBERS)]


def _seen_by(*outcomes: object, seconds: int = 0) -> Watch:
    """A check, and what its three vantages find all that time."""
    watch = Watch()
    vantages = three_vantages(watch.view, row(runbook="https://wiki.example.org/"))
    for _ in range(0, seconds + 1, 10):
        for author, outcome in zip(vantages, outcomes, strict=True):
            watch.say(outcome, author)  # pyright: ignore[reportArgumentType]
        watch.look()
        watch.now_ms += 10_000
    return watch


def _alone(*outcomes: object, rows: int = 1) -> Watch:
    """Checks that one vantage alone runs; it lives for five minutes, and finds `outcomes` of the first and of all others."""
    watch, a = Watch(), MemberLog("a")
    watch.hear(a, *a.start(0, *(row(f"c{n}", interval_ms=20_000) for n in range(rows))))
    while watch.now_ms < 300_000:
        watch.now_ms += 10_000
        found = [
            result(outcome, watch.now_ms, check)  # pyright: ignore[reportArgumentType]
            for check in range(rows)
            if (outcome := outcomes[0] if check == 0 else outcomes[1]) is not None
        ]
        watch.hear(a, a.results(watch.now_ms, *found))
        watch.look()
    return watch


def _expiring() -> Watch:
    watch, a = Watch(), MemberLog("a")
    watch.hear(a, *a.start(0, row()))
    watch.hear(a, a.results(0, result(PASS, 0, certificate_expires_s=WALL_MS // 1_000 + 86_400)))
    watch.look()
    return watch


def _differing() -> Watch:
    watch, a, b = Watch(), MemberLog("a"), MemberLog("b")
    watch.hear(a, *a.start(0, row()))
    watch.hear(b, *b.start(0, row(interval_ms=30_000)))
    watch.live(limits.DIFFERING_TOLD_MS + 20_000, a, b, outcomes=(PASS,))
    return watch


def _fell_silent(*names: str) -> Watch:
    """Of five members, after they were there for long."""
    watch, members = Watch(), [MemberLog(OWN.name), *map(MemberLog, "abcd")]
    for each in members:
        watch.hear(each, *each.start(0))
    watch.live(limits.STEADY_MS + 100_000, *members)
    watch.live(watch.now_ms + 60_000, *(each for each in members if each.name not in names))
    return watch


def _came_back() -> Watch:
    watch = _fell_silent("a")
    watch.live(watch.now_ms + 60_000, MemberLog("a", epoch=1))
    return watch


def _cut_off() -> Watch:
    watch, own, other = Watch(), MemberLog(OWN.name), MemberLog("a")
    for each in (own, other):
        watch.hear(each, *each.start(0, row(interval_ms=10_000, anchor=True)))
    watch.live(limits.STEADY_MS + 100_000, own, other, outcomes=(PASS,))
    for _ in range(24):
        watch.now_ms += 5_000
        watch.hear(own, own.results(watch.now_ms, *[result(FAIL, watch.now_ms, address="198.51.100.7")] * 2))
        watch.look()
    return watch


def _skewed() -> Watch:
    watch, members = Watch(), [MemberLog("a"), MemberLog("b"), MemberLog("c", skew_ms=3_600_000)]
    for each in members:
        watch.hear(each, *each.start(0))
    watch.live(120_000, *members)
    return watch


def _shared() -> Watch:
    watch, one, copy = Watch(), MemberLog("a"), MemberLog("a", epoch=1)
    for each in (one, copy):
        watch.hear(each, each.hello(0))
    watch.live(60_000, one, copy)
    return watch


def _forked() -> Watch:
    """A proof is not made here: the view is told of one."""
    watch, a = Watch(), MemberLog("a")
    watch.hear(a, *a.start(0))
    watch.view.forks = lambda: {a.key: {a.log: Fork(3, bytes(32), bytes(32), WALL_MS)}}
    watch.look()
    return watch


def _path_broken() -> Watch:
    watch, a, b = Watch(), MemberLog("a"), MemberLog("b")
    for each in (a, b):
        watch.hear(each, *each.start(0))
    watch.hear(b, b.entry(Kind.NOTICE, path_notice(PathAlive("demesh", ("a",))).payload(), 0))
    watch.live(limits.ALERT_PATH_STOPPED_MS + 60_000, a, b)
    return watch


_OF_CHECKS: tuple[Callable[[], Watch], ...] = (
    lambda: _seen_by(FAIL, FAIL, FAIL),
    lambda: _alone(FAIL, FAIL, rows=4),
    lambda: _seen_by(FAIL, PASS, PASS, seconds=620),
    lambda: _alone(None, PASS, rows=2),
    _expiring,
    _differing,
)
_OF_MEMBERS: tuple[Callable[[], Watch], ...] = (
    lambda: _fell_silent("a"),
    lambda: _fell_silent("a", "b"),
    _came_back,
    _cut_off,
    lambda: _alone(None, None, rows=4),
    _skewed,
    _shared,
    _forked,
    _path_broken,
)
