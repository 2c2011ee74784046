"""The session while a page is open: its end, a store that does not answer, and too many streams."""

from __future__ import annotations

import json

from playwright.async_api import Page, expect

from tests.dashboard.browser import log_in
from tests.dashboard.stage import Stage
from tests.support.api import PASSWORD

STREAM, RENEW = "**/api/v1/fleet/stream**", "**/session/renew"


async def test_a_login_after_the_end_of_the_session_keeps_the_page(stage: Stage, page: Page) -> None:
    await log_in(page, stage.url)
    await page.goto(f"{stage.url}/#/explain")
    await page.get_by_label("URL or path").fill("/orders?page=2")
    await page.context.clear_cookies()
    await page.get_by_role("button", name="Explain", exact=True).click()
    dialog = page.get_by_role("dialog", name="Log in")
    await expect(dialog).to_contain_text("The session has ended")
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_visible()
    await dialog.get_by_label("Name").fill("admin")
    await dialog.get_by_label("Password").fill(PASSWORD)
    await dialog.get_by_role("button", name="Log in").click()
    await expect(dialog).to_have_count(0)
    await expect(page.get_by_label("URL or path")).to_have_value("/orders?page=2")


async def test_the_end_of_a_session_is_noticed_by_the_stream(stage: Stage, page: Page) -> None:
    await log_in(page, stage.url)
    await page.context.clear_cookies()
    stage.api.parts.streams.stopping.set()
    await expect(page.get_by_role("status")).to_contain_text("lost")
    stage.api.parts.streams.stopping.clear()
    await expect(page.get_by_role("dialog", name="Log in")).to_be_visible()
    await expect(page.get_by_text("The control plane does not answer")).to_have_count(0)


async def test_a_session_that_cannot_be_renewed_now_is_renewed_later(stage: Stage, page: Page) -> None:
    await log_in(page, stage.url)
    problem = json.dumps({"status": 503, "detail": "The store (etcd) does not answer"})
    await page.route(RENEW, lambda route: route.fulfill(status=503, body=problem))
    await page.context.clear_cookies(name="headgate")
    await page.goto(f"{stage.url}/#/limits")
    await expect(page.get_by_role("alert").first).to_contain_text(
        "cannot be renewed: The store (etcd) does not answer"
    )
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.unroute(RENEW)
    await expect(page.get_by_role("region", name="per-caller", exact=True)).to_be_visible()
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_a_stream_that_is_refused_says_why(stage: Stage, page: Page) -> None:
    problem = json.dumps({"status": 429, "detail": "Too many event streams: 256 are open"})
    await page.route(STREAM, lambda route: route.fulfill(status=429, body=problem))
    await page.goto(stage.url)
    await page.get_by_label("Name").fill("admin")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).to_contain_text("Too many event streams: 256 are open")
    await page.unroute(STREAM)
    await expect(page.get_by_role("region", name="State of the fleet")).to_be_visible()
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_events_are_told_once_after_a_lost_connection(stage: Stage, page: Page) -> None:
    await log_in(page, stage.url)
    stage.ill["payments", "payments-2"] = "<img src=x onerror=document.title='hacked'>"
    await page.goto(f"{stage.url}/#/services/payments")
    events = page.get_by_role("region", name="Health and circuit").get_by_role("listitem")
    told = events.filter(has_text="<img src=x onerror")
    await expect(told).to_have_count(1)
    before = await events.count()
    stage.api.parts.streams.stopping.set()
    await expect(page.get_by_role("status")).to_contain_text("lost")
    stage.api.parts.streams.stopping.clear()
    await expect(page.get_by_role("status")).to_contain_text("live")
    await expect(told).to_have_count(1)
    await expect(events).to_have_count(before)
    assert "hacked" not in await page.title()


async def test_the_content_is_reached_by_keyboard(stage: Stage, page: Page) -> None:
    await log_in(page, stage.url)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
