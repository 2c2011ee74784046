"""A browser for the tests of the dashboard; without Debian's chromium, or without built assets, they are skipped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.dashboard.browser import CHROMIUM, chromium
from tests.dashboard.stage import Stage, staged

ROOT = Path(__file__).parents[2]
WITHIN = 30_000
"""Milliseconds in which a page shows what it should, also on a busy machine."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip with the reason, in place of a failure for each test."""
    built = (ROOT / "controlplane/dashboard/index.html").exists()
    why = "there is no chromium (apt-get install chromium)" if CHROMIUM is None else ""
    why = why or ("" if built else "the dashboard is not built (make dashboard)")
    if why:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Twelve data planes that serve eight services."""
    async with staged() as stage:
        yield stage


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page that fails the test if a script fails, or the policy of the page is violated."""
    complaints: list[str] = []
    async with chromium() as browser:
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None,
        )
        page.set_default_timeout(WITHIN)
        expect.set_options(timeout=WITHIN)
        yield page
    assert not complaints
