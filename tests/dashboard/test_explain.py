"""Explanations and taps: every decision in order, and live requests for those who may see them."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from playwright.async_api import Page, expect

from controlplane.fleet.questions import Explanation, Question, Reply, Step
from tests.dashboard.browser import log_in
from tests.dashboard.stage import Stage

STEPS = (
    Step("route", "passed", "Route payments matches.", {"lost": ["orders"]}),
    Step("token", "refused", "The request has no token.", {}),
    Step("limits", "not_reached", "Not asked.", {}),
)


class Answers:
    """Every data plane answers the same."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Question]] = []

    async def ask(self, node: str, question: Question) -> AsyncGenerator[Reply, None]:
        self.asked.append((node, question))
        detail = "Could not validate credentials"
        yield Explanation(5, 1, 401, "no_token", detail, "", "payments", "payments", "", STEPS)


@pytest.fixture
def answers(stage: Stage) -> Answers:
    """What the data planes of the stage answer."""
    stage.api.parts.asker = made = Answers()
    return made


async def test_every_decision_is_shown_in_order(stage: Stage, page: Page, answers: Answers) -> None:
    await log_in(page, stage.url)
    await page.get_by_role("link", name="Explain").click()
    await page.get_by_label("URL or path").fill("/payments/7")
    await page.get_by_role("button", name="Explain", exact=True).click()
    found = page.get_by_role("region", name="Answered with 401")
    await expect(found).to_contain_text("Could not validate credentials")
    items = found.get_by_role("listitem")
    await expect(items).to_have_count(3)
    await expect(items.nth(0)).to_contain_text("Route payments matches.")
    await expect(items.nth(1)).to_contain_text("refused")
    assert len(answers.asked) == 1


async def test_a_tap_needs_its_own_scope(stage: Stage, page: Page, answers: Answers) -> None:
    await log_in(page, stage.url)
    await page.goto(f"{stage.url}/#/explain")
    await expect(page.get_by_text("gateway:tap")).to_be_visible()
    assert not answers.asked
