"""A change from the preview to the last data plane, and back."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.dashboard.browser import log_in
from tests.dashboard.stage import Stage
from tests.support.api import READER

DOCUMENT = """
routes:
  - {name: payments, prefix: /payments, service_name: payments, scopes: [payments:read], timeout: 12}
"""


async def test_a_change_is_previewed_applied_watched_and_rolled_back(stage: Stage, page: Page) -> None:
    await log_in(page, stage.url)
    await page.get_by_role("link", name="Changes").click()
    await page.get_by_role("link", name="Make a change").click()
    await page.get_by_role("textbox", name="Document").fill("routes: [{name: x, prefix: nonsense}]")
    await page.get_by_role("button", name="Preview").click()
    await expect(page.get_by_role("alert")).to_contain_text("routes[0].prefix")
    await page.get_by_role("textbox", name="Document").fill(DOCUMENT)
    await page.get_by_role("button", name="Preview").click()
    preview = page.get_by_role("region", name="Preview: Change 1 route")
    await expect(preview).to_contain_text("timeout set to 12")
    stage.planes["gw-eu-1b-02"].stuck = True
    before = stage.api.parts.watcher.current
    assert before is not None
    await preview.get_by_role("button", name="Apply").click()
    progress = page.get_by_role("region", name="On its way")
    await expect(progress).to_contain_text("11 of 12 data planes")
    stage.planes["gw-eu-1b-02"].stuck = False
    await expect(page.get_by_role("region", name="Served everywhere")).to_contain_text("12 of 12 data planes")
    await expect(page.get_by_role("region", name="What changed")).to_contain_text("timeout set to 12")
    await page.get_by_role("button", name="Restore the configuration before this change").click()
    back = page.get_by_role("region", name="Roll back")
    await expect(back).to_contain_text("timeout removed (was 12)")
    await back.get_by_role("button", name="Roll back to revision").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("roll back", ignore_case=True)
    await stage.api.seen()
    now = stage.api.parts.watcher.current
    assert now is not None and now.revision > before.revision
    route = now.resources["route", "payments"].resource
    assert getattr(route, "timeout") is None  # noqa: B009


async def test_readers_look_and_cannot_act(stage: Stage, page: Page) -> None:
    await log_in(page, stage.url, READER)
    await page.goto(f"{stage.url}/#/changes")
    await expect(page.get_by_role("heading", name="Changes")).to_be_visible()
    await expect(page.get_by_role("link", name="Make a change")).to_have_count(0)
    await page.goto(f"{stage.url}/#/changes/new")
    await expect(page.get_by_text("gateway:admin")).to_be_visible()
