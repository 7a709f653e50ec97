"""What the documents and the files in deploy/ say, for tests that hold them to each other and to the program."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/demesh.rules.yml"
_NAMED = re.compile(r"`([A-Za-z_:]+)")


def section(file: str, heading: str) -> str:
    """A document's text below a heading, up to the next of that or a higher level."""
    level = len(heading) - len(heading.lstrip("#"))
    below = (ROOT / file).read_text().partition(f"\n{heading}\n")[2]
    assert below, f"{file} has no {heading!r}"
    return re.split(rf"\n#{{1,{level}}} ", below)[0]


def rows(file: str, heading: str) -> dict[str, list[str]]:
    """The first table below a heading: by the first name of its first column, the other cells. A row may name several."""
    lines = section(file, heading).partition("\n|---")[2].splitlines()[1:]
    found: dict[str, list[str]] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        first, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        for name in _NAMED.findall(first):
            assert name not in found, f"{file} names {name} twice"
            found[name] = cells
    return found


def anchors(file: str) -> set[str]:
    """What `file#…` may be followed by: headings as they are linked to."""
    headings = re.findall(r"^#+ (.*)$", (ROOT / file).read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rules() -> Iterator[dict[str, Any]]:
    """Each rule of Prometheus, alerting or recording."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from group["rules"]


def prometheus_alerts() -> dict[str, str]:
    """The alerts of those rules, with their severity."""
    return {rule["alert"]: rule["labels"]["severity"] for rule in rules() if "alert" in rule}
