"""Incidents of checks. Pure.

    DemeshCheckDown            opens when a check's verdict is down; closes on evidence of recovery: a pass, and not enough other
                               vantages left that could make it down, those that have just gone among them. Not while it flaps:
                               that is one incident, not many.
                               What one vantage alone sees fail is held for a moment, and may be told as a group
                               (`demesh.alerts.grouping`): then the subject is the vantage.
    DemeshCheckPartial         opens when a minority has seen it fail for PARTIAL_TOLD_MS; closes when nobody does, or it is down
    DemeshCheckSilent          opens when a vantage is there, runs the check, and no result comes; closes when one does
    DemeshCertificateExpiring  opens CERTIFICATE_TOLD_MS before a certificate that vantages have seen expires; not for a check
                               that expects how long it is valid, which fails by that
    DemeshDefinitionsDiffer    opens when nodes have held a name in several definitions for DIFFERING_TOLD_MS

A check that no member's plan names any more takes its incidents with it.
"""

from collections.abc import Iterator, Sequence

from demesh import limits
from demesh.alerts.grouping import Group, Place
from demesh.alerts.incident import Incident, Seen
from demesh.alerts.scene import Scene, lasted, listed, pairs, rank
from demesh.view.checks import CheckView, Vantage
from demesh.view.presence import HERE
from demesh.view.verdict import Verdict
from demesh.view.vote import Vote

DOWN, PARTIAL, SILENT, EXPIRING, DIFFERING = (
    "DemeshCheckDown",
    "DemeshCheckPartial",
    "DemeshCheckSilent",
    "DemeshCertificateExpiring",
    "DemeshDefinitionsDiffer",
)
_GROUP = "group:"


def on_check(scene: Scene, check: CheckView, place: Place | None, muffled: frozenset[bytes]) -> tuple[Seen, ...]:
    """`place` is where the check belongs if it is down; of the vantages in `muffled` no single check is told to be silent."""
    return (
        _down(scene, check, place),
        _partial(scene, check),
        _silent(scene, check, muffled),
        _expiring(scene, check),
        _differing(scene, check),
    )


def calm_until_ms(check: CheckView) -> int | None:
    """Until when (Unix time) `on_check` says the same of this view of a check, in whatever scene; None: it may not any time."""
    if check.verdict in (Verdict.DOWN, Verdict.PARTIAL) or check.definitions > 1:
        return None
    if any(each.stalled for each in check.vantages):
        return None
    expires = _expires(check)
    return min(expires) * 1_000 - limits.CERTIFICATE_TOLD_MS if expires else limits.TIME_MS_MAX


def on_groups(scene: Scene, groups: Sequence[Group], opened: set[str]) -> Iterator[Seen]:
    """`opened` are the keys of the groups' incidents that are open."""
    by_name = {each.row.name: each for each in scene.checks}
    members = {each.public_key: each for each in scene.members}
    for each in groups:
        checks = [by_name[name] for name in sorted(each.checks) if name in by_name]
        if each.vantage in members and checks:
            yield Seen(DOWN, group_key(each.vantage), _group(scene, each, checks), right=False)
    for key in opened - {group_key(each.vantage) for each in groups}:
        yield Seen(DOWN, key, None, right=True)


def group_key(vantage: bytes) -> str:
    """The key of the incident that tells of a vantage's checks together. It is longer than any check's name."""
    return f"{_GROUP}{vantage.hex()}"


def vantage_of(key: str) -> bytes | None:
    """Of whose checks an incident tells together; None if it is one check's own."""
    if len(key) <= limits.NAME_CHARS_MAX or not key.startswith(_GROUP):
        return None
    try:
        return bytes.fromhex(key.removeprefix(_GROUP))
    except ValueError:
        return None


def _down(scene: Scene, check: CheckView, place: Place | None) -> Seen:
    row, wrong = check.row, None
    if check.verdict == Verdict.DOWN and place == Place.FREE:
        wrong = scene.of_check(DOWN, row, scene.past(check.since_ms), _down_annotations(scene, check))
    right = check.recovered and not check.flapping
    return Seen(DOWN, row.name, wrong, right or place == Place.GROUPED or not check.vantages)


def _down_annotations(scene: Scene, check: CheckView) -> dict[str, str]:
    failing, assigned = _failing(check), [each for each in check.vantages if each.assigned]
    flaps = "; it goes back and forth" if check.flapping else ""
    return {
        "summary": f"{check.row.name} is down: {len(failing)} of {len(assigned)} vantages agree{flaps}",
        "description": f"{check.row.target} — {_details(scene, failing)}",
        "vantages": scene.named(failing),
    }


def _group(scene: Scene, group: Group, checks: Sequence[CheckView]) -> Incident:
    node, names = scene.names[group.vantage], [each.row.name for each in checks]
    severity = min((each.row.severity for each in checks), key=lambda each: (rank(each), each))
    labels = {**dict(scene.extra), "alertname": DOWN, "mesh": scene.mesh, "node": node, "severity": severity}
    down = [each for each in checks if each.verdict == Verdict.DOWN]
    annotations = {
        "summary": f"{len(checks)} checks that only {node} runs fail together",
        "description": f"{listed(names)}. Nobody else looks at them, so it may be {node}'s own network. "
        + "; ".join(f"{each.row.name}: {_details(scene, _failing(each))}" for each in down[:3]),
        "vantages": node,
    }
    onset_ms = min(scene.past(each.since_ms) for each in checks)
    notify = any(each.row.notify for each in checks)
    return Incident(
        DOWN, group_key(group.vantage), node, onset_ms, pairs(labels), pairs(annotations), tuple(names), notify
    )


def _partial(scene: Scene, check: CheckView) -> Seen:
    wrong = None
    if check.verdict == Verdict.PARTIAL:
        failing, tally = _failing(check), check.tally
        assigned = tally.passes + tally.fails + tally.unseen
        annotations = {
            "summary": f"{check.row.name} fails from {scene.named(failing)}: {tally.fails} of {assigned} vantages, "
            f"fewer than the {tally.quorum} that make it down",
            "description": f"{check.row.target} — {_details(scene, failing)}",
            "vantages": scene.named(failing),
        }
        wrong = scene.of_check(PARTIAL, check.row, scene.past(check.since_ms), annotations, severity="info")
    right = (check.recovered and not check.tally.fails) or check.verdict == Verdict.DOWN or not check.vantages
    return Seen(PARTIAL, check.row.name, wrong, right, limits.PARTIAL_TOLD_MS)


def _silent(scene: Scene, check: CheckView, muffled: frozenset[bytes]) -> Seen:
    stalled = [each for each in check.vantages if each.stalled and each.member.public_key not in muffled]
    wrong = None
    if stalled:
        dates = [each.state.last.wall_ms for each in stalled if each.state.last]
        annotations = {
            "summary": f"no results of {check.row.name} from {scene.named(stalled)}",
            "description": f"{scene.named(stalled)} would run {check.row.name} every {lasted(check.row.interval_ms)} and is "
            "alive, but tells no result of it.",
            "vantages": scene.named(stalled),
        }
        wrong = scene.of_check(SILENT, check.row, scene.past(min(dates, default=None)), annotations, severity="warning")
    here = [each for each in check.vantages if each.presence in HERE]
    right = (bool(here) and all(each.told for each in here)) or not check.vantages
    return Seen(SILENT, check.row.name, wrong, right)


def _expiring(scene: Scene, check: CheckView) -> Seen:
    expires = _expires(check)
    expected = any(key == "cert_expires_in" for key, _ in check.row.options)
    if not expires or expected:
        return Seen(EXPIRING, check.row.name, None, right=expected or not check.vantages)
    left_ms = min(expires) * 1_000 - scene.wall_ms
    wrong = None
    if left_ms < limits.CERTIFICATE_TOLD_MS:
        when = f"expires in {lasted(left_ms)}" if left_ms > 0 else f"has expired {lasted(-left_ms)} ago"
        annotations = {
            "summary": f"the certificate of {check.row.name} {when}",
            "description": f"{check.row.target} shows a certificate that {when}. Whatever renews it has not done so.",
        }
        onset_ms = scene.past(min(expires) * 1_000 - limits.CERTIFICATE_TOLD_MS)
        wrong = scene.of_check(EXPIRING, check.row, onset_ms, annotations, severity="warning")
    return Seen(EXPIRING, check.row.name, wrong, right=wrong is None)


def _expires(check: CheckView) -> list[int]:
    return [
        each.state.certificate_expires_s
        for each in check.vantages
        if each.state.certificate_expires_s and each.assigned and each.vote != Vote.UNSEEN
    ]


def _differing(scene: Scene, check: CheckView) -> Seen:
    wrong = None
    if check.definitions > 1:
        annotations = {
            "summary": f"{check.row.name} is {check.definitions} different checks",
            "description": f"The nodes' configurations do not say the same of {check.row.name}, so votes on it cannot be counted "
            "together: only those of the definition that most nodes have count, and what the others see is not told. Give them "
            "one definition, or names of their own.",
        }
        wrong = scene.of_check(DIFFERING, check.row, scene.wall_ms, annotations, severity="warning")
    return Seen(DIFFERING, check.row.name, wrong, wrong is None, limits.DIFFERING_TOLD_MS)


def _failing(check: CheckView) -> list[Vantage]:
    return [each for each in check.vantages if each.assigned and each.vote == Vote.FAIL]


def _details(scene: Scene, failing: Sequence[Vantage]) -> str:
    return "; ".join(
        f"{scene.names[each.member.public_key]}: {each.state.counted.result.detail}"
        for each in failing
        if each.state.counted
    )
