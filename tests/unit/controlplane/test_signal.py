"""Wake-ups: everybody who listens, once, however often it was said."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from controlplane.signal import AT_ONCE, Signal
from tests.support.waiting import within


async def test_wakes_all_who_listen() -> None:
    signal, one, other = Signal(), asyncio.Event(), asyncio.Event()
    with signal.wakes(one), signal.wakes(other):
        signal.notify()
        assert one.is_set() and other.is_set()


async def test_many_notices_are_one_wake_up() -> None:
    signal, event = Signal(), asyncio.Event()
    with signal.wakes(event):
        for _ in range(50):
            signal.notify()
        await within(event.wait(), 30)
        event.clear()
        assert not event.is_set()


async def test_one_event_listens_to_two_signals() -> None:
    watcher, fleet, event = Signal(), Signal(), asyncio.Event()
    with watcher.wakes(event), fleet.wakes(event):
        fleet.notify()
        assert event.is_set()


async def test_very_many_are_woken_with_room_for_others_in_between() -> None:
    signal = Signal()
    events = [asyncio.Event() for _ in range(3 * AT_ONCE)]
    with ExitStack() as stack:
        for event in events:
            stack.enter_context(signal.wakes(event))
        signal.notify()
        woken = []
        while not all(event.is_set() for event in events):
            woken.append(sum(event.is_set() for event in events))
            await asyncio.sleep(0)
    assert woken == [AT_ONCE, 2 * AT_ONCE]


async def test_nobody_is_woken_after_leaving() -> None:
    signal, event = Signal(), asyncio.Event()
    with signal.wakes(event):
        pass
    signal.notify()
    assert not event.is_set()
