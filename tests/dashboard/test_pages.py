"""Every page: it shows what it is about, follows what happens, and has no serious fault of accessibility."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.dashboard.browser import log_in
from tests.dashboard.stage import Stage, staged

AXE = Path(__file__).parents[2] / "dashboard/node_modules/axe-core/axe.min.js"
PAGES = {
    "": "All is well",
    "traffic": "Traffic",
    "services": "Services",
    "services/payments": "payments",
    "services/payments/instances/payments-1": "payments-1",
    "routes": "Routes",
    "routes/payments": "payments",
    "limits": "Limits",
    "changes": "Changes",
    "explain": "Explain a request",
    "changes/new": "Make a change",
    "dataplanes/gw-eu-1a-01": "gw-eu-1a-01",
}
"""Addresses of pages, and their headings."""


async def test_pages_are_accessible_in_both_colors(stage: Stage, page: Page) -> None:
    assert AXE.exists(), "make dashboard installs it"
    await log_in(page, stage.url)
    found: dict[str, list[str]] = {}
    for colors in ("light", "dark"):
        for place, heading in PAGES.items():
            await page.goto(f"{stage.url}/#/{place}")
            await expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
            await expect(page.locator(".loading")).to_have_count(0)
            if faults := await serious(page):
                found[f"{colors} /{place}"] = faults
        await page.get_by_role("button", name="colors").click()
    assert not found, json.dumps(found, indent=1)


async def serious(page: Page) -> list[str]:
    """Serious and critical findings of axe."""
    await page.evaluate(AXE.read_text())
    results = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:160]}"
        for one in results["violations"]
        if one["impact"] in ("serious", "critical")
    ]


async def test_a_service_shows_verdicts_and_its_breaker(stage: Stage, page: Page) -> None:
    await log_in(page, stage.url)
    await page.goto(f"{stage.url}/#/services/payments")
    await expect(page.get_by_text("3 of 3 healthy")).to_be_visible()
    stage.ill["payments", "payments-2"] = "connection refused"
    stage.open_circuits["payments"] = stage.api.wall()
    row = page.get_by_role("row").filter(has_text="payments-2")
    await expect(row).to_contain_text("unhealthy")
    await expect(row).to_contain_text("connection refused")
    circuit = page.get_by_role("region", name="Circuit", exact=True)
    await expect(circuit).to_contain_text("on 12 of 12 data planes")
    await circuit.get_by_role("button", name="Close it on every data plane").click()
    await expect(row.get_by_role("button", name="Drain")).to_have_count(0)  # it is not registered


async def test_the_map_shows_which_service_fails(stage: Stage, page: Page) -> None:
    stage.open_circuits["payments"] = stage.api.wall()
    await log_in(page, stage.url)
    await page.get_by_role("link", name="Traffic").click()
    service = page.get_by_role("list", name="Services").get_by_role("link", name="payments")
    await expect(service).to_contain_text("33 %")
    await expect(service).to_contain_text("open")
    await service.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("payments")


async def test_the_map_shows_limits_and_instances(stage: Stage, page: Page) -> None:
    stage.ejected.add(("orders", "orders-3"))
    stage.ill["payments", "payments-2"] = "connection refused"
    await log_in(page, stage.url)
    await page.get_by_role("link", name="Traffic").click()
    route = page.get_by_role("list", name="Routes").get_by_role("link", name="customers", exact=False).first
    await expect(route).to_contain_text("refused")
    await expect(route).to_have_attribute("title", re.compile("limits: per-caller; refused: .* over a limit"))
    instances = page.get_by_role("list", name="Instances")
    ejected = instances.get_by_role("link", name="orders-3 ejected")
    await expect(ejected).to_have_attribute("title", re.compile("healthy, ejected on 12 data planes"))
    await expect(instances.get_by_role("link", name="payments-2 unhealthy")).to_be_visible()
    reasons = page.get_by_role("region", name="Refused and failed requests")
    await expect(reasons).to_contain_text("over a limit")
    await expect(page.get_by_role("region", name="Limits that refuse").first).to_contain_text("per-caller")
    await ejected.click()
    await expect(page.get_by_text("ejected on 12 data planes")).to_be_visible()


async def test_an_instance_shows_who_judged_it_and_why(stage: Stage, page: Page) -> None:
    await log_in(page, stage.url)
    await page.goto(f"{stage.url}/#/services/payments/instances/payments-2")
    await expect(page.get_by_role("region", name="Judged by")).to_contain_text(
        "healthy for 12 of 12 data planes"
    )
    stage.ill["payments", "payments-2"] = "connection refused"
    await expect(page.get_by_role("region", name="Judged by")).to_contain_text("Unhealthy for: gw-eu-1a-01")
    verdicts = page.get_by_role("region", name="Health verdicts")
    await expect(verdicts).to_contain_text("The fleet: connection refused")
    await expect(verdicts.get_by_role("link", name="gw-eu-1a-01").first).to_be_visible()


async def test_a_list_stays_where_it_is_when_the_configuration_changes(page: Page) -> None:
    async with staged(2, routes=700) as stage:
        await log_in(page, stage.url)
        await page.goto(f"{stage.url}/#/routes")
        table = page.get_by_role("region", name="Routes", exact=True)
        for rows in ("201", "401"):
            await expect(table.locator("table")).to_have_attribute("aria-rowcount", rows)
            await table.evaluate("element => element.scrollTo(0, element.scrollHeight)")
        await expect(table.locator("table")).to_have_attribute("aria-rowcount", "601")
        changed = {"name": "customers", "prefix": "/elsewhere", "service_name": "orders", "public": True}
        async with page.expect_response(lambda answer: "/routes?" in answer.url):
            await stage.apply({"routes": [changed]})
        await expect(table.locator("table")).to_have_attribute("aria-rowcount", "601")
        await page.get_by_label("Filter routes").fill("team=none")
        await expect(page.get_by_text("No route has a name with this text, or this label")).to_be_visible()


async def test_a_new_page_looks_back_over_the_last_hour(stage: Stage, page: Page) -> None:
    await log_in(page, stage.url)
    await stage.remember()
    await page.get_by_role("link", name="Traffic").click()
    await expect(page.get_by_role("region", name="The last 1 h")).to_be_visible()
    moment = page.get_by_role("slider", name="Moment to look at")
    await moment.focus()
    await page.keyboard.press("Home")
    await expect(page.get_by_role("heading", level=1).locator("..")).to_contain_text(" ago")
    await expect(page.get_by_role("list", name="Routes")).to_be_visible()
    await page.get_by_role("button", name="Live").click()
    await expect(page.get_by_role("heading", level=1).locator("..")).to_contain_text("over the last")


async def test_a_route_says_why_requests_are_refused(stage: Stage, page: Page) -> None:
    await log_in(page, stage.url)
    await stage.remember(600)
    await page.goto(f"{stage.url}/#/routes/orders")
    refused = page.get_by_role("region", name="Recently refused")
    await expect(refused.get_by_role("row", name="over a limit")).to_be_visible()
    await expect(page.get_by_role("region", name="Last changes").get_by_role("listitem")).to_have_count(1)
    await page.goto(f"{stage.url}/#/services/orders")
    await expect(page.get_by_role("region", name="Routes to it").get_by_role("listitem")).to_have_count(2)


async def test_limits_show_the_fullest_keys(stage: Stage, page: Page) -> None:
    await log_in(page, stage.url)
    await page.goto(f"{stage.url}/#/limits/per-caller")
    rows = page.get_by_role("region", name="Keys of per-caller").get_by_role("row")
    await expect(rows.nth(1)).to_contain_text("subject:crawler")


@pytest.mark.timeout(300)
async def test_a_large_gateway_stays_small_in_the_browser(page: Page) -> None:
    async with staged(40, services=100, routes=3000) as stage:
        await log_in(page, stage.url)
        await page.goto(f"{stage.url}/#/routes")
        table = page.get_by_role("region", name="Routes", exact=True)
        await expect(table.locator("table")).to_have_attribute("aria-rowcount", "201")
        assert await table.get_by_role("row").count() < 60, "only what is seen is drawn"
        await table.evaluate("element => element.scrollTo(0, element.scrollHeight)")
        await expect(table.locator("table")).to_have_attribute("aria-rowcount", "401")
        await page.get_by_label("Filter routes").fill("-2999")
        await expect(table.locator("table")).to_have_attribute("aria-rowcount", "2")
