"""Whether what a node tells its Alertmanager reaches anybody: its watchdog comes back by a webhook to some member, or
not. Pure.

A path *stopped* when it worked before and nothing of it came for ALERT_PATH_STOPPED_MS, though its sender is alive, and
so is every member that it came back to and that has not left. One of these that is silent or away may be the one that
it comes back to now: then nobody can say. Times are the observer's monotonic clock, and the silence of a path counts
only from when the observer heard the member that it comes back to: neither a wall clock nor a start makes a path stop.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from demesh import limits
from demesh.view.fold import View
from demesh.view.member import LogView
from demesh.view.names import shown_names
from demesh.view.notices import PathTold, path_ends, path_of
from demesh.view.presence import Presence


@dataclass(frozen=True, slots=True)
class AlertPath:
    """The path of one sending node. `came_back_ms` is monotonic, None when that is not known; `told_ms` is by the wall
    clock of who told it. `quiet_ms` is for how long nothing came, as far as was observed. `receivers` are those that it
    came back to, by name.
    """

    node: str
    receiver: str
    receivers: tuple[str, ...]
    came_back_ms: int | None
    told_ms: int
    quiet_ms: int
    works: bool
    stopped: bool


def alert_paths(view: View, now_ms: int) -> list[AlertPath]:
    """The path of every node whose watchdog came back and was not given up, by the node's name."""
    names = shown_names(view.members())
    alive = {names[each.public_key] for each in view.members() if view.presence(each, now_ms) == Presence.ALIVE}
    ends = path_ends(each.notices for each in view.logs())
    found: dict[str, list[tuple[LogView, PathTold]]] = {}
    for log in view.logs():
        for node, told in log.notices.paths.items():
            if log.public_key in names and path_of((log.log, told.seq), node, ends):
                found.setdefault(node, []).append((log, told))
    return [_path(view, node, told, names, now_ms, sends=node in alive) for node, told in sorted(found.items())]


def stopped_paths(view: View, now_ms: int) -> list[AlertPath]:
    return [each for each in alert_paths(view, now_ms) if each.stopped]


def _path(
    view: View, node: str, told: list[tuple[LogView, PathTold]], names: dict[bytes, str], now_ms: int, *, sends: bool
) -> AlertPath:
    came_back = [made for log, each in told if (made := log.clock.local_ms(each.boot8, each.up_ms)) is not None]
    heard = list(_heard(view, [log for log, _ in told], now_ms))
    last_ms = max(came_back, default=None)
    since_ms = max([*came_back, *(each for each in heard if each is not None)], default=now_ms)
    newest = max((each for _, each in told), key=lambda each: (each.wall_ms, each.seq))
    works = last_ms is not None and now_ms - last_ms <= limits.ALERT_PATH_STOPPED_MS
    quiet = now_ms - since_ms > limits.ALERT_PATH_STOPPED_MS
    return AlertPath(
        node,
        newest.receiver,
        tuple(sorted({names[log.public_key] for log, _ in told})),
        last_ms,
        newest.wall_ms,
        now_ms - since_ms,
        works,
        sends and quiet and None not in heard,
    )


def _heard(view: View, logs: list[LogView], now_ms: int) -> Iterator[int | None]:
    """Since when the owner of each of these logs is heard; None of one that is not alive now."""
    for log in logs:
        member = view.member(log.public_key)
        alive = member is not None and view.presence(member, now_ms) == Presence.ALIVE
        lived = member.current.lived if member is not None else None
        yield lived.first_ms if alive and lived is not None else None
