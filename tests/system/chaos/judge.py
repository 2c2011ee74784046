"""What must hold after a fault, whatever it was."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.load import Answer
from tests.system.chaos.faults import Scene

BOUND = 15.0
"""Seconds after the end of a fault within which everything acknowledged must be served everywhere."""
RECORD = Path(__file__).parents[3] / "build" / "chaos.jsonl"
"""One line a fault: what it cost."""


@asynccontextmanager
async def judged(scene: Scene, name: str) -> AsyncIterator[None]:
    """Judge what happens within the block, once the world has settled after it."""
    history, begun = scene.history, time.monotonic()
    history.forget()
    yield
    mended = time.monotonic()
    slowest = await history.everywhere(within=BOUND)
    await scene.world.settled(within=BOUND)
    ended = time.monotonic()
    answers = scene.load.since(begun)
    failed = [answer for answer in answers if answer.status != 200]
    _keep(
        fault=name,
        seconds=round(mended - begun, 2),
        settled_after=round(ended - mended, 2),
        acknowledged=len(history.acknowledged),
        refused=history.refused,
        unknown=history.unknown,
        slowest_write=round(slowest, 3),
        requests=len(answers),
        failed=len(failed),
        slowest_request=round(max((answer.took for answer in answers), default=0.0), 3),
        looks=sum(seen.looks for seen in history.seen.values()),
    )
    assert not history.violations, history.violations[:5]
    assert not failed, f"{len(failed)} of {len(answers)} requests failed: {told(failed, begun)}"
    assert len(answers) > 50, "there was no load"


def told(failed: list[Answer], begun: float) -> str:
    """The first few failures, for people."""
    return "; ".join(
        f"{one.node} at {one.began - begun:.2f} s: {one.status} {one.detail}" for one in failed[:5]
    )


def _keep(**facts: object) -> None:
    RECORD.parent.mkdir(exist_ok=True)
    with RECORD.open("a") as file:
        file.write(json.dumps(facts) + "\n")
