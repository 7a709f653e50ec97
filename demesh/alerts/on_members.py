"""Incidents of members: who is silent, cut off, broken as a vantage, or has a wrong clock. Pure.

DemeshNodeSilent     opens when a member is silent by itself; closes when it is heard again or has taken leave
DemeshPartition      opens when several fell silent together; closes when each of them has been heard or has left. Both sides
                     of a split tell the same alert
DemeshNodeIsolated   opens when this node is cut off, and accuses nobody meanwhile; closes when it sees the others again
DemeshVantageBroken  opens when a member's votes do not count (`demesh.view.blame`), or none of its checks gives results
DemeshClockSkew      opens when a wall clock is CLOCK_SKEW_MS_MAX away from the others', or this node's own from its time servers'
                     (`demesh.view.own_clock`); closes at half of that
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from demesh import limits
from demesh.alerts.incident import Incident, Labels, Seen
from demesh.alerts.scene import Scene, lasted, listed, pairs
from demesh.view.clocks import can_tell_who
from demesh.view.member import Member
from demesh.view.presence import HERE, Presence
from demesh.view.vote import Vote

SILENT, PARTITION, ISOLATED, BROKEN, SKEW = (
    "DemeshNodeSilent",
    "DemeshPartition",
    "DemeshNodeIsolated",
    "DemeshVantageBroken",
    "DemeshClockSkew",
)
MESH = "mesh"
"""The key of incidents that concern all."""


def on_members(scene: Scene, idle: frozenset[bytes]) -> Iterator[Seen]:
    """`idle` are the `idle_vantages`."""
    seeing = scene.view.seeing
    blind = seeing.isolation.cut_off or seeing.isolation.undecided
    for member in scene.members:
        yield _silent(scene, member, blind=blind)
    yield _partition(scene, blind=blind)
    yield _isolated(scene)
    yield from _broken(scene, idle)
    yield from _skewed(scene)


def idle_vantages(scene: Scene) -> frozenset[bytes]:
    """Who is there and runs checks, none of which gives results."""
    vantages = [each for check in scene.checks for each in check.vantages]
    stalled = Counter(each.member.public_key for each in vantages if each.stalled)
    if not stalled:
        return frozenset()
    ran = {each.member.public_key for each in vantages if not each.stalled}
    return frozenset(key for key, count in stalled.items() if count >= limits.GROUPED_CHECKS_MIN and key not in ran)


def _silent(scene: Scene, member: Member, *, blind: bool) -> Seen:
    state = scene.view.presence(member, scene.now_ms)
    alone = member.public_key in scene.view.seeing.vanished.alone
    wrong = None
    if state == Presence.SILENT and alone and not blind:
        subject, quiet_ms = scene.names[member.public_key], scene.now_ms - member.sign.at_ms
        wrong = scene.of_node(
            SILENT,
            member,
            scene.wall_ms - quiet_ms,
            severity="critical",
            summary=f"node {subject} is silent",
            description=f"Nothing was heard of {subject} for {quiet_ms // 1_000} s; {_promised(member)}.",
        )
    heard = member.heard or member.public_key == scene.own_key
    right = state == Presence.AWAY or (state == Presence.ALIVE and heard)
    return Seen(SILENT, member.public_key.hex(), wrong, right, epilogue=_aftermath(scene, member))


def _promised(member: Member) -> str:
    if member.sign.back_by_ms is not None:
        return f"it took leave and had meant to be back within {lasted(member.sign.back_by_ms)}"
    return f"it had promised an entry every {member.sign.next_ms // 1_000} s"


def _aftermath(scene: Scene, member: Member) -> Labels:
    absence = member.absence
    if absence is None or scene.view.presence(member, scene.now_ms) not in HERE:
        return ()
    subject, quiet = scene.names[member.public_key], lasted(absence.quiet_ms)
    if absence.was_running:
        said = f"refuted: {subject} was running all the time; for {quiet} it could not be heard."
    elif absence.pause.booted:
        said = f"confirmed: {subject} was started anew."
    else:
        said = f"confirmed: {subject} wrote nothing for {lasted(absence.pause.longest_ms)}."
    return (("aftermath", said),)


def _partition(scene: Scene, *, blind: bool) -> Seen:
    together = scene.view.seeing.vanished.together
    gone = [each for each in scene.members if each.public_key in together]
    wrong = None
    if gone and not blind:
        names = sorted(scene.names[each.public_key] for each in gone)
        onset_ms = scene.wall_ms - (scene.now_ms - min(each.sign.at_ms for each in gone))
        here = sum(scene.view.presence(each, scene.now_ms) in HERE for each in scene.members)
        labels = {**dict(scene.extra), "alertname": PARTITION, "mesh": scene.mesh, "severity": "critical"}
        annotations = {
            "summary": f"{listed(names)} vanished together",
            "description": f"{listed(names)} fell silent at one time: they are down, or cut off from the {here} that tell this. "
            "Each side of a split tells of the other.",
        }
        about = tuple(sorted(each.public_key.hex() for each in gone))
        wrong = Incident(PARTITION, MESH, ", ".join(names[:8]), onset_ms, pairs(labels), pairs(annotations), about)
    epilogue = pairs({"aftermath": " ".join(_told_of_absences(scene))})
    return Seen(PARTITION, MESH, wrong, not together, epilogue=epilogue)


def _told_of_absences(scene: Scene) -> Iterator[str]:
    for member in scene.members:
        yield from (said for _, said in _aftermath(scene, member))


def _isolated(scene: Scene) -> Seen:
    own = next((each for each in scene.members if each.public_key == scene.own_key), None)
    isolation = scene.view.seeing.isolation
    wrong = None
    if own is not None and isolation.cut_off:
        subject = scene.names[own.public_key]
        wrong = scene.of_node(
            ISOLATED,
            own,
            scene.wall_ms,
            severity="critical",
            summary=f"node {subject} is cut off",
            description=f"{subject} sees half of the mesh or less, and what it checks fails too: it is its own network that is "
            "down. Its results meanwhile are errors and blame nobody.",
        )
    right = not isolation.cut_off and not isolation.undecided
    return Seen(ISOLATED, scene.own_key.hex(), wrong, right)


def _broken(scene: Scene, idle: frozenset[bytes]) -> Iterator[Seen]:
    reasons = scene.view.broken
    muted = _muted(scene) if reasons else dict[bytes, list[str]]()
    for member in scene.members:
        key, subject = member.public_key, scene.names[member.public_key]
        why = reasons[key].why if key in reasons else "none of its checks gives results" if key in idle else ""
        wrong = None
        if why and scene.view.presence(member, scene.now_ms) in HERE:
            names = muted.get(key, [])
            mutes = f" Its votes do not count for {listed(names)}." if names else ""
            wrong = scene.of_node(
                BROKEN,
                member,
                scene.wall_ms,
                severity="warning",
                summary=f"node {subject} is not fit to check",
                description=f"{why[:1].upper()}{why[1:]}.{mutes}",
                about=tuple(names),
            )
        sees = any(
            each.vote != Vote.UNSEEN for check in scene.checks for each in check.vantages if each.member is member
        )
        yield Seen(BROKEN, key.hex(), wrong, not why and sees, limits.BROKEN_TOLD_MS)


def _muted(scene: Scene) -> Mapping[bytes, list[str]]:
    """The checks for which a vantage that is broken does not count."""
    found: dict[bytes, list[str]] = {}
    for check in scene.checks:
        for each in check.vantages:
            if each.broken:
                found.setdefault(each.member.public_key, []).append(check.row.name)
    return found


def _skewed(scene: Scene) -> Iterator[Seen]:
    deviations = scene.view.seeing.deviations_ms
    judged, own = can_tell_who(deviations), scene.view.own_clock()
    for member in scene.members:
        ahead: list[tuple[float, str]] = []
        if judged and member.public_key in deviations:
            ahead.append((deviations[member.public_key], "the others'"))
        if own is not None and own.is_proven and member.public_key == scene.own_key:
            ahead.append((own.ahead_ms, "its time servers'"))
        yield _clock_skewed(scene, member, ahead)
    yield Seen(SKEW, MESH, None, right=True) if judged else _pair_skewed(scene, deviations)


def _clock_skewed(scene: Scene, member: Member, ahead: Sequence[tuple[float, str]]) -> Seen:
    """`ahead` has by how many milliseconds a member's clock is ahead of whose, as far as that is known."""
    subject, wrong = scene.names[member.public_key], None
    ahead_ms, whose = max(ahead, key=lambda each: abs(each[0]), default=(0, ""))
    if abs(ahead_ms) > limits.CLOCK_SKEW_MS_MAX:
        way = "ahead of" if ahead_ms > 0 else "behind"
        wrong = scene.of_node(
            SKEW,
            member,
            scene.wall_ms,
            severity="warning",
            summary=f"the clock of {subject} is {lasted(abs(round(ahead_ms)))} {way} {whose}",
            description=f"What {subject} says is dated wrongly, and it judges certificates by that clock. Votes and silence "
            "do not depend on it. Does it run an NTP client?",
        )
    right = bool(ahead) and 2 * abs(ahead_ms) <= limits.CLOCK_SKEW_MS_MAX
    return Seen(SKEW, member.public_key.hex(), wrong, right, limits.CLOCK_SKEW_TOLD_MS)


def _pair_skewed(scene: Scene, deviations: Mapping[bytes, int]) -> Seen:
    apart_ms = max(map(abs, deviations.values()), default=0)
    wrong = None
    if len(scene.members) == len(deviations) and apart_ms > limits.CLOCK_SKEW_MS_MAX:
        names = sorted(scene.names.get(key, "") for key in deviations)
        both = ", ".join(names)
        labels = {**dict(scene.extra), "alertname": SKEW, "mesh": scene.mesh, "node": both, "severity": "warning"}
        annotations = {
            "summary": f"the clocks of {both} are {lasted(apart_ms)} apart",
            "description": "One of the two is wrong; with a third node it would be known which. Do both run an NTP client?",
        }
        wrong = Incident(SKEW, MESH, both, scene.wall_ms, pairs(labels), pairs(annotations))
    right = bool(deviations) and 2 * apart_ms <= limits.CLOCK_SKEW_MS_MAX
    return Seen(SKEW, MESH, wrong, right, limits.CLOCK_SKEW_TOLD_MS)
