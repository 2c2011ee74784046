"""Links between pages lead somewhere, and every page is in the site's menu."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import DOCS, ROOT, all_pages, anchors, links, slug

known = cache(anchors)


def broken(page: Path) -> Iterator[str]:
    """Every link of a page to a file or an anchor that is not there."""
    for number, target in links(page):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            yield f"line {number}: {target}: there is no such file"
        elif page.is_relative_to(DOCS) and not file.is_relative_to(DOCS):
            yield f"line {number}: {target}: a page of the site links out of docs/"
        elif anchor and anchor not in known(file):
            yield f"line {number}: {target}: there is no such heading"


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken(page)) == []


def test_what_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Other things\n\n```\n# not a heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md#other-things) [b](nosuch.md)\n`[c](code.md)`\n[d](other.md#not-a-heading)\n"
    )
    assert [text.split(": there")[0] for text in broken(page)] == [
        "line 1: nosuch.md",
        "line 3: other.md#not-a-heading",
    ]


def test_a_slug_is_that_of_the_site() -> None:
    assert slug("What `apply` takes: files, and HTTP/1.1") == "what-apply-takes-files-and-http11"


def pages_in(entry: Any) -> Iterator[str]:
    """Every page that a part of the menu names."""
    if isinstance(entry, str):
        yield entry
    else:
        for part in entry.values() if isinstance(entry, dict) else entry:
            yield from pages_in(part)


def test_every_page_is_in_the_menu_once() -> None:
    menu = Counter(pages_in(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    there = Counter(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
    assert menu == there
