"""Incidents of keys. Pure.

DemeshKeyShared   opens when two nodes write with one key; closes when only one of them goes on
DemeshLogForked   opens when a member is proven to have signed two histories of a log; closes when it has gone on in
                  another that cites the proof, and the fork is a day old
"""

from collections.abc import Iterator, Mapping

from demesh import limits
from demesh.alerts.incident import Seen
from demesh.alerts.scene import Scene
from demesh.log.evidence import Fork
from demesh.view.member import Member

SHARED, FORKED = "DemeshKeyShared", "DemeshLogForked"


def on_keys(scene: Scene) -> Iterator[Seen]:
    shared, forks = scene.view.shared(scene.now_ms), scene.view.forks()
    for member in scene.members:
        yield _shared(scene, member, shared=member.public_key in shared)
        yield _forked(scene, member, forks.get(member.public_key, {}))


def _shared(scene: Scene, member: Member, *, shared: bool) -> Seen:
    wrong = None
    if shared:
        subject = scene.names[member.public_key]
        wrong = scene.of_node(
            SHARED,
            member,
            scene.wall_ms,
            severity="critical",
            summary=f"two nodes run as {subject}",
            description=f"Two logs signed with the key of {subject} go on side by side: its disk was copied, and both copies "
            "run. They are one member to the mesh, so neither's silence would be noticed. Stop one of them, move its node.key "
            "and log.db away, and start it again as a node of its own.",
        )
    # One of the two may not have been heard yet since we listen.
    right = member.alive_since_ms is not None and scene.now_ms - member.alive_since_ms >= limits.KEY_UNSHARED_MS
    return Seen(SHARED, member.public_key.hex(), wrong, not shared and right)


def _forked(scene: Scene, member: Member, forks: Mapping[bytes, Fork]) -> Seen:
    current = member.current
    cited = current.hello.fork_proofs if current.hello and current.fork is None else ()
    open_ = [
        (fork, log)
        for log, fork in sorted(forks.items(), key=lambda each: (each[1].dated_ms, each[1].id))[
            -limits.FORK_PROOFS_CITED_MAX :
        ]
        if fork.id not in cited or abs(scene.wall_ms - fork.dated_ms) < limits.FORK_TOLD_MS
    ]
    wrong = None
    if open_:
        subject, (fork, log) = scene.names[member.public_key], max(open_, key=lambda each: (each[0].dated_ms, each[1]))
        goes_on = (
            f"{subject} has gone on in a new log." if fork.id in cited else f"{subject} has not begun a new log yet."
        )
        wrong = scene.of_node(
            FORKED,
            member,
            min(scene.wall_ms, *(fork.dated_ms for fork, _ in open_)),
            severity="critical",
            summary=f"{subject} has signed two histories",
            description=f"Two different entries stand in place {fork.seq} of log {log.hex()[:8]}, both signed with the key of "
            f"{subject}: its machine was set back to an earlier state, or its disk was copied, and both went on; or somebody "
            f"else has its key. What this log says from entry {fork.end} on counts no more, on any node. {goes_on}",
        )
    return Seen(FORKED, member.public_key.hex(), wrong, not open_)
