"""What this node knows of the mesh, for `/metrics`: verdicts, votes, members, logs, and what its own store weighs.

A verdict is a label, and only the present one has a series: `demesh_check_verdict{verdict="down"} == 1` is a rule.
"""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from demesh import __version__, limits
from demesh.api.exposition import Family, labels
from demesh.log.state import LogState
from demesh.view.checks import CheckView
from demesh.view.own_clock import OwnClock
from demesh.view.presence import Presence


def mesh_metrics(
    mesh: str,
    checks: Iterable[CheckView],
    presences: Iterable[Presence],
    states: Iterable[LogState],
    behind: int,
    store_bytes: int,
    own_clock: OwnClock | None = None,
) -> str:
    """The text; `presences` of all members, `states` of all logs, `behind`: entries that are not folded into uptime yet."""
    verdict = Family("demesh_check_verdict", "1 for what the mesh says of the check now.")
    votes = Family("demesh_check_votes", "Votes of the check's assigned vantages.")
    for check in checks:
        common = _labels(check.row.name, check.row.type, check.row.severity)
        verdict.add(f'{common},verdict="{check.verdict}"', 1)
        votes.add(f'{common},vote="pass"', check.tally.passes)
        votes.add(f'{common},vote="fail"', check.tally.fails)
        votes.add(f'{common},vote="unseen"', check.tally.unseen)
    found = Counter(presences)
    members = Family("demesh_members", "Members of the mesh by presence, this node included.")
    for presence in Presence:
        members.add(f'presence="{presence}"', found[presence])
    held = list(states)
    logs = Family("demesh_logs", "Logs held, this node's own included.")
    logs.add("", len(held))
    entries = Family("demesh_log_entries", "Entries held, of all logs.")
    entries.add("", sum(state.head.seq + 1 - state.pruned_to for state in held))
    history = Family("demesh_history_behind_entries", "Entries held that are not part of uptime yet.")
    history.add("", behind)
    store = Family("demesh_store_bytes", "Size of the store's files.")
    store.add("", store_bytes)
    offset = Family(
        "demesh_clock_offset_seconds",
        "What this node's wall clock lacks to the time of its NTP checks (the median); below 0 it is ahead.",
    )
    if own_clock is not None:
        offset.add("", -own_clock.ahead_ms / 1_000)
    info = Family("demesh_info", "1, with what this node is.")
    info.add(labels((("mesh", mesh), ("version", __version__))), 1)
    return "".join(family.text() for family in (info, verdict, votes, members, logs, entries, history, store, offset))


@lru_cache(limits.CHECKS_MAX)
def _labels(name: str, type_: str, severity: str) -> str:
    return labels((("check", name), ("type", type_), ("severity", severity)))
