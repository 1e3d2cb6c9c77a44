"""Links between pages lead somewhere, also those to a heading; pictures are there and small."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from .markdown import PAGES, ROOT

_LINK = re.compile(r"(?:(?<!`)\[[^\]]*\]\(|<img src=\")([^)\s\"]+)")
_MAX_PICTURE_BYTES = 150_000


def _prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """Return the anchors of the headings as GitHub makes them."""
    headings = re.findall(r"^#+\s+(.*?)\s*#*$", _prose(page), re.MULTILINE)
    plain = [re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        missing = not target.exists() or not target.is_relative_to(ROOT)
        if missing or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, open_pages = set(), [ROOT / "README.md"]
    while open_pages:
        page = open_pages.pop()
        if page in reached:
            continue
        reached.add(page)
        for link in _LINK.findall(_prose(page)):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.is_file():
                open_pages.append(target)
            elif target.is_dir():
                open_pages += sorted(target.glob("*.md"))
    assert [page.relative_to(ROOT).as_posix() for page in PAGES if page not in reached] == []


def test_pictures_are_small_and_whole() -> None:
    pictures = [path for path in (ROOT / "docs" / "images").iterdir() if path.is_file()]
    assert pictures
    assert [path.name for path in pictures if path.stat().st_size > _MAX_PICTURE_BYTES] == []
    title = ElementTree.parse(ROOT / "docs" / "images" / "network.svg").getroot().find("{*}title")
    assert title is not None
    assert title.text == "Network 64-16-16-10 with 1,482 weights and biases"


def test_pictures_have_a_description() -> None:
    silent = [f"{page.name}: {link}" for page in PAGES for link in re.findall(r"!\[\]\(([^)]*)\)", _prose(page))]
    silent += [f"{page.name}: {tag}" for page in PAGES for tag in re.findall(r"<img(?![^>]*alt=)[^>]*>", _prose(page))]
    assert silent == []


def test_a_broken_link_is_noticed() -> None:
    text = 'See [a](no/such.md), [b](https://example.org) and <img src="no/such.png" alt="x">.'
    assert _LINK.findall(text) == ["no/such.md", "https://example.org", "no/such.png"]
