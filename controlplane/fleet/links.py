"""Follows the other control planes, one stream each: again after every loss, and lost to us once silent for too long.

Knows no wire format: `Connect` opens a stream of parts.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeAlias

from controlplane.fleet.hearing import Hearing
from controlplane.fleet.members import Member
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.told import Part

SILENT_FOR = 10.0
"""Seconds after which a control plane that says nothing is not counted any more: as long as its lease lasts."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two attempts to reach one: doubling."""

logger = logging.getLogger(__name__)


class LinkLost(Exception):
    """The stream ended, or could not be opened; the message is one line."""


Connect: TypeAlias = Callable[[str, Member], AsyncGenerator[Part, None]]
"""Opens the stream of the control plane of this name. Raises LinkLost."""


class Links:
    """One task for each control plane that is followed."""

    def __init__(self, fleet: Fleet, connect: Connect, *, silent_for: float = SILENT_FOR) -> None:
        self._fleet = fleet
        self._connect = connect
        self._silent_for = silent_for
        self._tasks: dict[str, tuple[Member, asyncio.Task[None]]] = {}

    def follow(self, name: str, member: Member) -> None:
        """Follow it, unless it is followed at this address already."""
        known = self._tasks.get(name)
        if known is not None and known[0] == member:
            return
        self.leave(name)
        link = Link(name, member, self._fleet, self._connect, self._silent_for)
        self._tasks[name] = member, asyncio.create_task(link.run(), name=f"peers: follow {name}")

    def leave(self, name: str) -> None:
        """Do not follow it any more; what it told stays until the fleet loses it."""
        if (known := self._tasks.pop(name, None)) is not None:
            known[1].cancel()

    async def close(self) -> None:
        """Follow nobody any more."""
        tasks = [task for _, task in self._tasks.values()]
        for name in list(self._tasks):
            self.leave(name)
        await asyncio.gather(*tasks, return_exceptions=True)


class Link:
    """One control plane, followed until cancelled."""

    def __init__(self, name: str, member: Member, fleet: Fleet, connect: Connect, silent_for: float) -> None:
        self._name, self._member = name, member
        self._fleet = fleet
        self._connect = connect
        self._silent_for = silent_for
        self._heard_at: float | None = None
        """Monotonic seconds; None: nothing it told counts."""
        self._pause = FIRST_PAUSE
        self._said = ""

    async def run(self) -> None:
        """Follow it, again and again."""
        while True:
            try:
                reason = await self._hear_out()
            except TimeoutError:
                reason = "it is silent"
            except LinkLost as error:
                reason = str(error)
            except Exception:
                # A fault of ours in what another one told must not end the following for good.
                logger.exception("following failed", extra={"controlplane": self._name})
                reason = "internal error"
            self._tell_once(reason)
            self._lose_if_silent()
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311  # spreads load, guards nothing
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._lose_if_silent()

    async def _hear_out(self) -> str:
        """One stream, to its end; why it ended. Raises LinkLost, TimeoutError when it is silent."""
        hearing, first = Hearing(), True
        async with aclosing(self._connect(self._name, self._member)) as parts:
            while True:
                async with asyncio.timeout(self._patience()):
                    part = await anext(parts, None)
                if part is None:
                    return "the stream ended"
                self._heard_at = time.monotonic()
                if (heard := hearing.take(part)) is None:
                    continue
                told, changed = heard
                # What it told on an earlier stream may not be there any more: compared as a whole, once.
                self._fleet.hear(self._name, told, None if first else changed)
                if first:
                    first, self._said, self._pause = False, "", FIRST_PAUSE
                    logger.info("following another control plane", extra={"controlplane": self._name})

    def _patience(self) -> float:
        if self._heard_at is None:
            return self._silent_for
        return max(0.0, self._heard_at + self._silent_for - time.monotonic())

    def _lose_if_silent(self) -> None:
        if self._heard_at is not None and not self._patience():
            self._heard_at = None
            self._fleet.lose(self._name)
            # It is still a member, and may serve its data planes.
            self._fleet.expect(self._name)

    def _tell_once(self, reason: str) -> None:
        if reason != self._said:
            self._said = reason
            extra = {"controlplane": self._name, "address": self._member.address, "reason": reason}
            logger.warning("another control plane cannot be followed", extra=extra)
