"""`make screenshots`: draws the pictures of the dashboard in docs/assets, from a fleet that is simulated."""

from __future__ import annotations

import asyncio
from pathlib import Path

from playwright.async_api import Browser

from tests.dashboard.browser import chromium, log_in
from tests.dashboard.stage import Stage, staged

FOLDER = Path(__file__).parents[2] / "docs" / "assets"
PAGES = {"fleet": "", "traffic": "traffic"}
"""Names of pictures, and the addresses of their pages."""


async def draw() -> None:
    """Draw all of them."""
    async with staged(24) as stage, chromium() as browser:
        await prepare(stage)
        for name, place in PAGES.items():
            await picture(browser, stage, name, place)


async def prepare(stage: Stage) -> None:
    """A night with a few problems."""
    await asyncio.sleep(3)
    stage.planes["gw-us-2a-03"].refuses = "route/payments must be at most 300"
    stage.open_circuits["payments"] = stage.api.wall() - 340
    stage.ill["payments", "payments-2"] = "connection refused"
    timeout = {"name": "payments", "prefix": "/payments", "service_name": "payments", "timeout": 400}
    stage.ejected.add(("orders", "orders-3"))
    await stage.apply({"routes": [{**timeout, "scopes": ["payments:read"]}]}, author="alice")
    await stage.remember()
    await asyncio.sleep(3)


async def picture(browser: Browser, stage: Stage, name: str, place: str) -> None:
    """One page in dark colors, as far as a screen shows it."""
    page = await browser.new_page(viewport={"width": 1200, "height": 800}, color_scheme="dark")
    await log_in(page, stage.url)
    await page.goto(f"{stage.url}/#/{place}")
    await asyncio.sleep(4)
    await page.screenshot(path=FOLDER / f"dashboard-{name}.png")
    await page.close()


if __name__ == "__main__":
    asyncio.run(draw())
