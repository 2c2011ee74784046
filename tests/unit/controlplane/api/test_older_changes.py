"""The history is read once in a while, however many clients ask for what they have missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from controlplane.api.older_changes import FRESH, OlderChange, OlderChanges
from controlplane.model.history import Record
from controlplane.store import StoreUnavailable

RECORDS = [Record(number, "ann", float(number), f"change {number}", (), ()) for number in (3, 2, 1)]


class History:
    """Counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0
        self.answers = True

    async def __call__(self, shown: Callable[[Sequence[Record]], list[OlderChange]]) -> list[OlderChange]:
        self.reads += 1
        await asyncio.sleep(0)
        if not self.answers:
            raise StoreUnavailable("the store does not answer")
        return shown(RECORDS)


async def test_many_clients_with_made_up_ids_cost_one_reading() -> None:
    now = 0.0
    history = History()
    older = OlderChanges(history, lambda: now)
    found = await asyncio.gather(*(older.between(0.0, 3.0) for _ in range(50)))
    assert history.reads == 1
    assert [[one.revision for one in each] for each in found] == [[1, 2]] * 50
    now = FRESH - 0.1
    assert [one.summary for one in await older.between(2.0, 9.0)] == ["change 3"] and history.reads == 1
    now = FRESH
    await older.between(0.0, 9.0)
    assert history.reads == 2


async def test_a_store_that_does_not_answer_is_not_asked_by_each() -> None:
    history = History()
    history.answers = False
    older = OlderChanges(history, lambda: 0.0)
    assert [await older.between(0.0, 9.0) for _ in range(3)] == [[]] * 3
    assert history.reads == 1
