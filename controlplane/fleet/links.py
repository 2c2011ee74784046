"""Follows the other control planes, each over a stream that is opened again when it breaks.

While a stream is down, the last state that the control plane sent still counts. After `SILENT_FOR` seconds without a
message its data planes count as gone. Knows no wire format: `Connect` opens a stream of parts.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeAlias

from controlplane.fleet.members import Member
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.peer_updates import PeerUpdate, UpdateReceiver

SILENT_FOR = 10.0
"""Seconds without a message after which a control plane counts as lost. Leases last as long."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two attempts to open a stream; they double from the first to the longest."""

logger = logging.getLogger(__name__)


class LinkLost(Exception):
    """The stream ended, or could not be opened; the message is one line."""


Connect: TypeAlias = Callable[[str, Member], AsyncGenerator[PeerUpdate, None]]
"""Opens the stream of the control plane of this name. Raises LinkLost."""


class Links:
    """The control planes that are followed, with a task for each."""

    def __init__(self, fleet: Fleet, connect: Connect, *, silent_for: float = SILENT_FOR) -> None:
        self._fleet = fleet
        self._connect = connect
        self._silent_for = silent_for
        self._followed: dict[str, tuple[Link, asyncio.Task[None]]] = {}

    def follow(self, name: str, member: Member) -> None:
        """Start to follow a control plane, unless it is followed at this address already."""
        link = Link(name, member, self._fleet, self._connect, self._silent_for)
        if (known := self._followed.get(name)) is not None:
            if known[0].member == member:
                return
            # Its last state from the former address counts as long as if the address had not changed.
            link.heard_at = known[0].heard_at
        self.leave(name)
        self._followed[name] = link, asyncio.create_task(link.run(), name=f"peers: follow {name}")

    def leave(self, name: str) -> None:
        """Stop following it. Its last state still counts until `Fleet.lose` is called."""
        if (known := self._followed.pop(name, None)) is not None:
            known[1].cancel()

    async def close(self) -> None:
        """Stop following all of them."""
        tasks = [task for _, task in self._followed.values()]
        for name in list(self._followed):
            self.leave(name)
        await asyncio.gather(*tasks, return_exceptions=True)


class Link:
    """Follows one control plane."""

    def __init__(self, name: str, member: Member, fleet: Fleet, connect: Connect, silent_for: float) -> None:
        self.member = member
        self.heard_at: float | None = None
        """Monotonic time of its last message; None: its state does not count."""
        self._name = name
        self._fleet = fleet
        self._connect = connect
        self._silent_for = silent_for
        self._pause = FIRST_PAUSE
        self._said = ""

    async def run(self) -> None:
        """Follow it until cancelled."""
        while True:
            try:
                reason = await self._hear_out()
            except TimeoutError:
                reason = "it sends nothing"
            except LinkLost as error:
                reason = str(error)
            except Exception:
                # A bug of ours that a message triggers must not end the task for good.
                logger.exception("following failed", extra={"controlplane": self._name})
                reason = "internal error"
            self._tell_once(reason)
            self._lose_if_silent()
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311  # spreads load, guards nothing
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._lose_if_silent()

    async def _hear_out(self) -> str:
        """Read one stream to its end. Returns the reason for its end. Raises LinkLost, and TimeoutError when it sends
        nothing."""
        receiver, first = UpdateReceiver(), True
        async with aclosing(self._connect(self._name, self.member)) as parts:
            while True:
                async with asyncio.timeout(self._patience()):
                    part = await anext(parts, None)
                if part is None:
                    return "the stream ended"
                self.heard_at = time.monotonic()
                if (received := receiver.receive(part)) is None:
                    continue
                state, changed = received
                # A new stream does not name data planes that have gone since the last one: its first state is compared
                # as a whole.
                self._fleet.receive(self._name, state, None if first else changed)
                if first:
                    first, self._said, self._pause = False, "", FIRST_PAUSE
                    logger.info("following another control plane", extra={"controlplane": self._name})

    def _patience(self) -> float:
        if self.heard_at is None:
            return self._silent_for
        return max(0.0, self.heard_at + self._silent_for - time.monotonic())

    def _lose_if_silent(self) -> None:
        if self.heard_at is not None and not self._patience():
            self.heard_at = None
            self._fleet.lose(self._name)
            # It is still a member: its data planes may be connected to it and serve traffic.
            self._fleet.expect(self._name)

    def _tell_once(self, reason: str) -> None:
        if reason != self._said:
            self._said = reason
            extra = {"controlplane": self._name, "address": self.member.address, "reason": reason}
            logger.warning("another control plane cannot be followed", extra=extra)
