"""The first page: is anything wrong, what, since when, which change; and who may see it."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.dashboard.browser import log_in
from tests.dashboard.stage import Stage
from tests.support.api import PASSWORD

TIMEOUT: dict[str, object] = {
    "routes": [
        {
            "name": "payments",
            "prefix": "/payments",
            "service_name": "payments",
            "public": True,
            "timeout": 400,
        }
    ]
}


async def test_a_login_shows_the_fleet_and_a_logout_ends_it(stage: Stage, page: Page) -> None:
    await page.goto(stage.url)
    await page.get_by_label("Name").fill("admin")
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).to_have_text("Wrong name or password")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text(
        "All is well: all 12 data planes serve"
    )
    assert await page.evaluate("document.cookie") == "", "scripts do not see the session"
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("All is well")
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("Password")).to_be_visible()


async def test_what_goes_wrong_is_on_the_page_while_it_happens(stage: Stage, page: Page) -> None:
    await log_in(page, stage.url)
    state = page.get_by_role("region", name="State of the fleet")
    await expect(state).to_contain_text("All is well")
    stage.planes["gw-eu-1a-01"].refuses = "route/payments must be at most 300"
    revision = await stage.apply(TIMEOUT, author="alice")
    trouble = state.get_by_role("listitem").filter(has_text=f"rejects revision {revision}")
    await expect(trouble).to_contain_text("1 of 12 data planes")
    await expect(trouble).to_contain_text("route/payments timeout: must be at most 300")
    await expect(trouble).to_contain_text(f"change: {revision} by alice")
    rows = page.get_by_role("region", name="Data planes", exact=True).last
    await expect(rows.get_by_role("row").nth(1)).to_contain_text("gw-eu-1a-01")
    await expect(rows.get_by_role("row").nth(1)).to_contain_text("rejecting")
    stage.planes["gw-eu-1a-01"].refuses = ""
    stage.api.parts.fleet.disconnect("gw-us-2a-01")
    await stage.apply({"scopes": [{"name": "another"}]})
    await stage.apply({"services": [{"service_name": "another"}]})
    await expect(trouble).to_have_count(0)
    await expect(state).to_contain_text("1 data plane left in the last ten minutes")


async def test_a_data_plane_has_a_page(stage: Stage, page: Page) -> None:
    stage.planes["gw-eu-1a-01"].refuses = "route/payments must be at most 300"
    await log_in(page, stage.url)
    revision = await stage.apply(TIMEOUT)
    await (
        page.get_by_role("region", name="State of the fleet").get_by_role("link", name="gw-eu-1a-01").click()
    )
    await expect(page.get_by_role("heading", level=1)).to_have_text("gw-eu-1a-01")
    await expect(page.get_by_role("region", name=f"Last rejection: revision {revision}")).to_be_visible()


async def test_a_lost_control_plane_is_said_and_found_again(stage: Stage, page: Page) -> None:
    await log_in(page, stage.url)
    await expect(page.get_by_role("status")).to_contain_text("live")
    ending = stage.api.parts.streams.stopping
    ending.set()
    await expect(page.get_by_role("alert")).to_contain_text("The control plane does not answer")
    await expect(page.get_by_role("region", name="State of the fleet")).to_be_visible()
    ending.clear()
    await expect(page.get_by_role("alert")).to_have_count(0)
    await expect(page.get_by_role("status")).to_contain_text("live")
