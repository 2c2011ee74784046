"""Circuit breakers, kept fresh by one stream from the control plane."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

from headgate.circuits import CircuitBreaker
from headgate.errors import HeadgateError, Unavailable
from headgate.transport import Transport
from headgate.wire import decode_circuit
from headgate_api.v1 import registry_pb2

log = logging.getLogger("headgate")

_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before each attempt to reopen the stream; the last value is used for all later ones."""


class CircuitWatch:
    """The stream, reopened whenever it breaks."""

    def __init__(self, transport: Transport, timeout: float) -> None:
        """`timeout`: seconds that one control plane has for its first message."""
        self.breakers: dict[str, CircuitBreaker] = {}
        self.connected = False
        self._transport = transport
        self._timeout = timeout
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failures: list[HeadgateError] = []
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Wait for the first view. Raises Unavailable when every control plane was tried, other errors at once."""
        self._task = asyncio.create_task(self._run(), name="headgate: watch")
        try:
            await asyncio.shield(self._first)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the stream; the last view stays readable."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.connected = False

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except HeadgateError as error:
                self._lost(error)
            except Exception as error:
                log.exception("the watch failed")
                self._lost(HeadgateError(str(error)))
            if self._first.done():
                pause = _PAUSES[min(len(self._failures), len(_PAUSES)) - 1]
                await asyncio.sleep(pause * (0.5 + random.random() / 2))  # noqa: S311 - jitter

    async def _follow(self) -> None:
        async with contextlib.aclosing(self._transport.watch(self._timeout)) as messages:
            async for message in messages:
                self._adopt(message)
                self._found()

    def _adopt(self, message: registry_pb2.WatchResponse) -> None:
        """Show the new views in a new dict, so that loops over the old one continue; the breaker objects stay."""
        gone = {name.name for name in message.removed if name.kind == "circuit"}
        breakers = {
            name: kept for name, kept in self.breakers.items() if message.changes and name not in gone
        }
        for view in map(decode_circuit, message.circuits):
            breaker = self.breakers.get(view.service_name) or CircuitBreaker(view, self._transport)
            breaker.adopt(view)
            breakers[view.service_name] = breaker
        self.breakers = dict(sorted(breakers.items()))

    def _found(self) -> None:
        if self._failures and self._first.done():
            log.info("the watch is up again")
        self._failures = []
        self.connected = True
        if not self._first.done():
            self._first.set_result(None)

    def _lost(self, error: HeadgateError) -> None:
        self.connected = False
        if not self._first.done():
            self._failures.append(error)
            self._give_up(error)
            return
        if not self._failures:
            log.warning("%s; circuit breakers are as they were, trying again", error)
        self._failures = [*self._failures, error][-len(_PAUSES) :]

    def _give_up(self, error: HeadgateError) -> None:
        """Before the first view, raise errors to the caller: permanent ones at once, others after all addresses."""
        if not isinstance(error, Unavailable):
            self._first.set_exception(error)
        elif len(self._failures) == len(self._transport.target.addresses):
            self._first.set_exception(Unavailable("; ".join(map(str, self._failures))))
