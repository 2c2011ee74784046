"""The pages of the documentation for tests and generators: links, headings, fenced blocks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(r"^(?P<indent> *)(?P<marks>`{3,}|~{3,})(?P<info>[^`]*)$")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$")
_LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)(?: +\"[^\"]*\")?\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its first line (that of the fence, from 1), its language, its text without indentation."""

    page: Path
    line: int
    language: str
    text: str
    above: str
    """The last line above the fence that is not empty."""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def all_pages() -> list[Path]:
    """Every Markdown page: those of the site, and others."""
    return [*sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order. ValueError if a fence is not closed."""
    opened: re.Match[str] | None = None
    start, body, above = 0, list[str](), ""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None:
            if fence:
                opened, start, body = fence, number, []
            elif line.strip():
                above = line.strip()
        elif fence and fence["marks"].startswith(opened["marks"]) and not fence["info"].strip():
            words = opened["info"].split()
            yield Block(page, start, words[0] if words else "", "\n".join(body) + "\n", above)
            opened, above = None, ""
        else:
            body.append(line.removeprefix(opened["indent"]))
    if opened is not None:
        raise ValueError(f"{page}:{start}: the fence is not closed")


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Number and text of every line that is not within a fenced block."""
    marks = ""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and not marks:
            marks = fence["marks"]
        elif marks:
            if fence and fence["marks"].startswith(marks) and not fence["info"].strip():
                marks = ""
        else:
            yield number, line


def slug(heading: str) -> str:
    """The anchor that the site gives a heading (Python-Markdown's toc extension)."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())


def anchors(page: Path) -> set[str]:
    """Every anchor of a page; that of a repeated heading ends with a number."""
    found: set[str] = set()
    for _, line in prose(page):
        found.update(re.findall(r"\b(?:id|name)=\"([^\"]+)\"", line))
        if match := _HEADING.match(line):
            first = slug(match[1])
            name, count = first, 0
            while name in found:
                count += 1
                name = f"{first}_{count}"
            found.add(name)
    return found


def links(page: Path) -> Iterator[tuple[int, str]]:
    """Line and target of every link and picture of a page, without inline code."""
    for number, line in prose(page):
        for target in _LINK.findall(re.sub(r"`[^`]*`", "`", line)):
            yield number, target
