"""The documents: what they point at is there."""

import re
from pathlib import Path

import pytest

from tests.deploy.documents import ROOT, anchors

_PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "deploy").glob("*.md"))]
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        if re.match("[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), link
        assert not anchor or anchor in anchors(str(there.relative_to(ROOT))), link


def test_every_page_is_found_from_the_readme() -> None:
    unseen, seen = [ROOT / "README.md"], set[Path]()
    while unseen:
        page = unseen.pop()
        seen.add(page)
        for link in _LINK.findall(page.read_text()):
            there = (page.parent / link.partition("#")[0]).resolve()
            if there.suffix == ".md" and there.exists() and there not in seen:
                unseen.append(there)
    assert set(_PAGES) <= seen
