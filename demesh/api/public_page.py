"""The page for strangers: one HTML document without scripts, which loads nothing. Pure.

Guarantees: it says nothing but what it is given (`demesh.view.public`); texts of others are escaped; every state is a word, not
only a colour. Not guaranteed: all servers of a long ranking; the best of each list are there.
"""

import hashlib
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from math import floor

from demesh import limits
from demesh.api.markup import escaped
from demesh.view.presence import Presence
from demesh.view.public import Shown
from demesh.view.ranking import Server
from demesh.view.report import iso
from demesh.view.score import Score
from demesh.view.uptime import Uptime
from demesh.view.verdict import Verdict
from demesh.view.vote import Vote

_STYLE = """
:root{color-scheme:light dark;--text:#1f2328;--back:#fff;--dim:#59636e;--line:#d1d9e0;
--up:#1a7f37;--down:#c62828;--partial:#a84300;--unknown:#5f6368;--paused:#3559a8}
@media(prefers-color-scheme:dark){:root{--text:#e6edf3;--back:#0d1117;--dim:#9da7b3;--line:#3d444d;
--up:#56d364;--down:#ff8077;--partial:#f0a14a;--unknown:#a7b0ba;--paused:#8fb0ff}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--text);background:var(--back);
max-width:70rem;margin:0 auto;padding:1.5rem 1rem}
h1{font-size:1.6rem;margin:0 0 .3rem}h2{font-size:1.2rem;margin:2rem 0 .3rem}
p{margin:.3rem 0}.dim{color:var(--dim)}a{color:inherit}
.wide{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--dim);padding:.3rem 0}
th,td{text-align:left;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top;font-weight:400}
thead th{color:var(--dim);font-size:.875rem;white-space:nowrap}tbody th{overflow-wrap:anywhere;min-width:10rem;width:35%}
td.number{text-align:right;white-space:nowrap}thead th.number{text-align:right}td{white-space:nowrap}
.state::before{content:"";display:inline-block;width:.65em;height:.65em;border-radius:50%;margin-right:.45em;background:currentColor}
.up{color:var(--up)}.down{color:var(--down);font-weight:600}.partial,.flapping{color:var(--partial)}
.unknown{color:var(--unknown)}.paused{color:var(--paused)}
"""
_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_WORST_FIRST = (Verdict.DOWN, Verdict.PARTIAL, Verdict.FLAPPING, Verdict.UNKNOWN, Verdict.UP, Verdict.PAUSED)
_COVERED, _ABOUT = 0.9, "≈"
_TYPES = {"STUN(see_ip)": "STUN", "STUN(test_nat)": "STUN with NAT behaviour"}
_WINDOWS = {"24h": "24 h", "7d": "7 days", "30d": "30 days"}


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to tell, as of `wall_ms` (Unix time): `checks` are those that are in no ranking, `servers` the ranking, as of
    `ranked_ms`; how many members are how; `doubts` are sentences on why it may not be how it is.
    """

    wall_ms: int
    checks: Sequence[Shown]
    servers: Sequence[Server]
    ranked_ms: int
    presences: Mapping[Presence, int]
    doubts: Sequence[str] = ()


def page(scene: Scene) -> bytes:
    """The document."""
    parts = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Status</title>',
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head><body><main>',
        f"<h1>Status</h1><p>{_summary(scene)}</p>",
        f'<p class="dim">As of {_time(scene.wall_ms)}. {_members(scene.presences)}</p>',
        *(f"<p><strong>{escaped(each)}</strong></p>" for each in scene.doubts),
        *_checks(scene.checks),
        *_ranking(scene),
        "</main></body></html>\n",
    ]
    return "".join(parts).encode()


def _summary(scene: Scene) -> str:
    said = [
        *_counted("check", [each.verdict for each in scene.checks]),
        *_counted("public server", [each.verdict for each in scene.servers]),
    ]
    return " ".join(said) or "There is nothing here that is meant for everybody."


def _counted(what: str, verdicts: Sequence[Verdict]) -> Iterable[str]:
    if verdicts:
        many = Counter(verdicts)
        states = ", ".join(f"{many[each]} {_state(each)}" for each in _WORST_FIRST if many[each])
        yield f"{len(verdicts)} {what}{'s' * (len(verdicts) != 1)}: {states}."


def _members(presences: Mapping[Presence, int]) -> str:
    here = presences.get(Presence.ALIVE, 0) + presences.get(Presence.SUSPECT, 0)
    others = [f"{many} {each}" for each in (Presence.SILENT, Presence.AWAY) if (many := presences.get(each))]
    return ", ".join((f"{here} node{'s' * (here != 1)} {'looks' if here == 1 else 'look'}", *others)) + "."


def _checks(checks: Sequence[Shown]) -> Iterable[str]:
    if not checks:
        return
    told = sorted(checks, key=lambda each: (_WORST_FIRST.index(each.verdict), each.name))
    cut = told[: limits.PUBLIC_PAGE_CHECKS_MAX]
    rows = [
        f'<tr><th scope="row">{escaped(each.name)}{_target(each)}</th><td>{_state(each.verdict)}</td>'
        f"<td>{_time(each.since_ms)}</td><td>{each.passes} of {each.vantages}</td>"
        + "".join(f'<td class="number">{_uptime(each.uptime.get(window))}</td>' for window in _WINDOWS)
        + "</tr>"
        for each in cut
    ]
    heads = ("Check", "State", "Since", "Passes from", *(f"#Up in {words}" for words in _WINDOWS.values()))
    yield "<h2>Checks</h2>"
    yield _table("The worst first", heads, rows)
    if any(_ABOUT in row for row in rows):
        yield f'<p class="dim">{_ABOUT}: less than nine tenths of that time was observed.</p>'
    if len(told) > len(cut):
        yield f'<p class="dim">{len(told) - len(cut)} more are left out.</p>'


def _target(check: Shown) -> str:
    return f'<br><span class="dim">{escaped(check.target)}</span>' if check.target else ""


def _ranking(scene: Scene) -> Iterable[str]:
    if not scene.servers:
        return
    yield (
        f'<h2>Public servers</h2><p class="dim">Ranked at {_time(scene.ranked_ms)} by how reliably they answered, best first. '
        'All of them, for programs: <a href="api/v1/servers">/api/v1/servers</a>, <a href="servers">/servers</a>.</p>'
    )
    ordered = sorted(scene.servers, key=lambda each: each.place[:3])  # stable: the best stay first
    for (type_, family, transport), each in groupby(ordered, lambda each: each.place[:3]):
        servers = list(each)
        best = servers[: limits.PUBLIC_PAGE_SERVERS_MAX]
        name = f"{_TYPES.get(type_, type_)} over {transport}, {family}"
        caption = (
            f"{name}: {len(servers)}"
            if len(best) == len(servers)
            else f"{name}: the best {len(best)} of {len(servers)}"
        )
        heads = ("Server", "State", "Passes from", "#Score", "#Uptime", "#Latency")
        yield _table(caption, heads, [_server(each) for each in best])


def _server(server: Server) -> str:
    counted = [each for each in server.vantages if each.counts]
    passes = sum(each.vote == Vote.PASS for each in counted)
    host = f"[{server.place.host}]" if ":" in server.place.host else server.place.host
    latency = "–" if server.latency_us is None else f"{server.latency_us / 1_000:.0f} ms"
    return (
        f'<tr><th scope="row">{escaped(host)}:{server.place.port}</th><td>{_state(server.verdict)}</td>'
        f"<td>{passes} of {len(counted)}</td>"
        f'<td class="number">{_score(server.score)}</td>'
        f'<td class="number">{_share(server.uptime)}</td><td class="number">{latency}</td></tr>'
    )


def _table(caption: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    """Heads that begin with # are of numbers. It scrolls by itself where it is too wide, by keyboard too."""
    cells = "".join(
        f'<th scope="col" class="number">{escaped(head[1:])}</th>'
        if head.startswith("#")
        else f'<th scope="col">{escaped(head)}</th>'
        for head in heads
    )
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escaped(caption)}"><table>'
        f"<caption>{escaped(caption)}</caption><thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _state(verdict: Verdict) -> str:
    return f'<span class="state {verdict}">{verdict}</span>'


def _time(wall_ms: int | None) -> str:
    told = iso(wall_ms)
    if wall_ms is None or told is None:
        return ""
    shown = datetime.fromtimestamp(wall_ms // 1_000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f'<time datetime="{told}">{shown}</time>'


def _uptime(uptime: Uptime | None) -> str:
    share = _share(uptime.ratio if uptime else None)
    return f"{_ABOUT} {share}" if uptime and uptime.ratio is not None and uptime.coverage < _COVERED else share


def _score(score: Score) -> str:
    return "new" if score.record is None else f"{floor(score.value * 1_000) / 1_000:.3f}"


def _share(ratio: float | None) -> str:
    """Rounded down: what was not always up is never 100 %."""
    return "–" if ratio is None else f"{floor(ratio * 10_000) / 100:.2f} %"
