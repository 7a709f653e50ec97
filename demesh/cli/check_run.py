"""`demesh check run`: one probe, once, from several nodes, side by side."""

import json
import sys
from typing import Any

import click

from demesh import limits
from demesh.cli import options
from demesh.cli.client import ask_lines
from demesh.cli.terminal import printable
from demesh.errors import NodeNotRunning, UsageError

_ANSWER_SECONDS_MAX = limits.ASK_TIMEOUT_MS_MAX / 1_000 + limits.ASK_OPEN_SECONDS_MAX + limits.ASK_GRACE_SECONDS + 5
_KEYS = frozenset(("node", "own", "answered", "why_not", "outcome", "detail", "latency_ms", "address", "status"))


@click.command()
@click.argument("what", metavar="URL|NAME")
@click.option(
    "--from",
    "selectors",
    metavar="NODE",
    multiple=True,
    default=("*",),
    help="From where, besides the node asked: a node's name, tag:TAG or * [default: *]. May be repeated.",
)
@click.option("--timeout", metavar="DURATION", help="Give up after this long, at most 30s [default: 10s].")
@click.option("--method", metavar="METHOD", help="The HTTP method: GET, HEAD or OPTIONS [default: GET].")
@click.option(
    "--expect-status", metavar="CODE", multiple=True, type=int, help="HTTP status that passes. May be repeated."
)
@click.option("--expect-body", metavar="REGEX", help="What the body must match.")
@click.option("-4", "ipv4", is_flag=True, help="Try IPv4 addresses only.")
@click.option("-6", "ipv6", is_flag=True, help="Try IPv6 addresses only.")
@options.as_json
@options.node_url
@options.data_dir
def run(
    what: str, selectors: tuple[str, ...], as_json: bool, node_url: str | None, data_dir: str | None, **given: Any
) -> None:
    """Is it down, or is it me? Have one check run once, now, by this node and by others, side by side.

    With a URL, options say how, and the nodes asked are told the URL as it stands here; with the NAME of a check, its
    configuration says it all. A node must run here, and those asked must be connected with it; each says no if its owner wants
    that (mesh.allow_requests). By default they try public addresses only. Nothing is recorded.

    Exits with 0 if it passes for all who could try it, 2 if it cannot be tried as asked, 3 if no node runs here, 1 otherwise.

    \b
    Examples:
      demesh check run https://example.org
      demesh check run blog --from tag:eu --from vps1
      demesh check run blog --json
    """
    document: dict[str, Any] = {"from": [each for text in selectors for each in text.split(",")]}
    if "://" in what:
        document["table"] = _table(what, given)
    else:
        _refuse_options(what, given)
        document["check"] = what
    lines = ask_lines("/api/v1/ask", data_dir, node_url, document, _ANSWER_SECONDS_MAX)
    head = next(lines, None)
    if head is None or not {"asked", "target"} <= head.keys():
        raise NodeNotRunning("What answers there is no demesh node that can ask others.")
    answers: list[dict[str, Any]] = []
    width = max(map(len, printable(head["asked"])), default=0)
    if not as_json:
        click.echo(f"{printable(head['target'])}, tried now by {len(head['asked'])} of the mesh's nodes:\n")
    for answer in lines:
        if not answer.keys() >= _KEYS:
            raise NodeNotRunning("What answers there is no demesh node that can ask others.")
        answers.append(answer)
        if not as_json:
            click.echo(_line(printable(answer), width))
    said, code = conclusion(answers)
    if as_json:
        answers.sort(key=lambda each: (each["node"], each.get("peer_id", "")))
        click.echo(json.dumps({**head, "answers": answers, "conclusion": said}, indent=2))
    else:
        click.echo(f"\n{said}")
    sys.exit(code)


def conclusion(answers: list[dict[str, Any]]) -> tuple[str, int]:
    """What the answers come to, in a sentence, and the exit code."""
    tried = [each for each in answers if each["answered"] and each["outcome"] != "error"]
    own = [each for each in tried if each["own"]]
    others = [each for each in tried if not each["own"]]
    passes, fails = ([each for each in tried if (each["outcome"] == "pass") is passed] for passed in (True, False))
    code = 0 if passes and not fails else 1
    if not tried:
        return "Nobody could try it.", 1
    if not others:
        found = "passes" if passes else "fails"
        return f"It {found} here, and nobody else could try it.", code
    if not fails:
        return f"It passes for all {len(tried)} who could try it.", code
    if not passes:
        return f"It is down: it fails for all {len(tried)} who could try it.", code
    if own and fails == own:
        return f"It is you: only the node asked here sees it fail, and it passes for {len(passes)}.", code
    return f"It passes for {len(passes)} and fails for {len(fails)}.", code


def _line(answer: dict[str, Any], width: int) -> str:
    name = f"{answer['node']:{width}}"
    if not answer["answered"]:
        return f"  {name}  {click.style('·', dim=True)} {answer['why_not']}"
    passed = answer["outcome"] == "pass"
    glyph = click.style("✔", fg="green") if passed else click.style("✘", fg="red", bold=True)
    latency = f"{answer['latency_ms']:.0f} ms" if answer["latency_ms"] is not None else ""
    status = f"status {answer['status']}" if answer["status"] and "status" not in answer["detail"] else ""
    parts = (f"{answer['outcome']:8}", f"{latency:>8}", answer["address"] or "", status, answer["detail"])
    here = "(here)" if answer["own"] else ""
    return "  ".join(each for each in (f"  {name}", f"{glyph} {parts[0]}", *parts[1:], here) if each).rstrip()


def _table(target: str, given: dict[str, Any]) -> dict[str, Any]:
    """The check of a URL. Raises UsageError."""
    if given["ipv4"] and given["ipv6"]:
        raise UsageError("-4 and -6 leave nothing to try; give one of them.")
    if not target.lower().startswith("http") and (given["method"] or given["expect_status"] or given["expect_body"]):
        raise UsageError("--method, --expect-status and --expect-body are for http:// and https:// only.")
    table: dict[str, Any] = {"target": target, "timeout": given["timeout"] or "10s"}
    expect: dict[str, Any] = {}
    if given["expect_status"]:
        expect["status"] = list(given["expect_status"])
    if given["expect_body"]:
        expect["body"] = given["expect_body"]
    if expect:
        table["expect"] = expect
    if given["method"]:
        table["method"] = given["method"].upper()
    if given["ipv4"] or given["ipv6"]:
        table["ip"] = "4" if given["ipv4"] else "6"
    return table


def _refuse_options(name: str, given: dict[str, Any]) -> None:
    for option, value in given.items():
        if value:
            shown = {"ipv4": "-4", "ipv6": "-6"}.get(option, f"--{option.replace('_', '-')}")
            raise UsageError(f"{shown} goes with a URL; the check {name!r} is tried as the configuration has it.")
