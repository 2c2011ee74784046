"""Registration of an instance while an ASGI application is served.

    app = FastAPI(lifespan=headgate.asgi.lifespan("orders", port=9000))

The application starts and listens whether a control plane answers or not. On SIGTERM and Ctrl-C the instance is
drained before the server stops accepting, because the lifespan wraps the signal handlers that uvicorn sets. With a
server that handles signals in another way, the instance is deregistered when the lifespan ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import FrameType
from typing import Any, Unpack

from headgate.errors import HeadgateError
from headgate.helpers import Options, definition_of, show_log
from headgate.models import ServiceDefinition
from headgate.registration import Registration, register

__all__ = ["lifespan"]

log = logging.getLogger("headgate")

State = Mapping[str, Any]
Lifespan = Callable[[Any], AbstractAsyncContextManager[State | None]]
"""What Starlette, FastAPI and Litestar take as `lifespan`."""


def lifespan(
    service: ServiceDefinition | str,
    *,
    inner: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None,
    **options: Unpack[Options],
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """A lifespan that registers the application in the background.

    service: its definition or its name. A missing service is created with the default settings.
    inner: the application's own lifespan: it starts before the registration, and ends after it. Its values are kept.
    options: as for `headgate.register`. The start never waits: with `wait`, the outcome is logged.

    `request.state.headgate` is the Registration; None when its settings are wrong, which is logged.
    """

    @contextlib.asynccontextmanager
    async def entered(app: Any) -> AsyncGenerator[dict[str, Any], None]:
        show_log()
        async with contextlib.AsyncExitStack() as stack:
            state = await stack.enter_async_context(inner(app)) if inner is not None else None
            registration = await stack.enter_async_context(_registered(service, options))
            yield {**(state or {}), "headgate": registration}

    return entered


@contextlib.asynccontextmanager
async def _registered(
    service: ServiceDefinition | str, options: Options
) -> AsyncGenerator[Registration | None, None]:
    try:
        registration = register(definition_of(service), **options, background=True, handle_sigterm=False)
        await registration.__aenter__()
    except HeadgateError as error:
        log.error("not registered: %s", error)
        yield None
        return
    goodbye = EarlyGoodbye(registration)
    goodbye.install()
    try:
        yield registration
    finally:
        await goodbye.say()
        goodbye.remove()


class EarlyGoodbye:
    """Removes the instance when the server gets a signal to stop, and passes the signal on after that."""

    def __init__(self, registration: Registration) -> None:
        """Does nothing before `install`, but `say` works without."""
        self._registration = registration
        self._task: asyncio.Task[None] | None = None
        self._passing: asyncio.Task[None] | None = None
        self._first = 0
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._loop = asyncio.get_running_loop()

    def install(self) -> None:
        """Wrap the handlers of SIGTERM and SIGINT if they are functions. Works only in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(number)
            if callable(handler) and handler is not signal.default_int_handler:
                self._handlers[number] = handler
                signal.signal(number, self._on_signal)

    def remove(self) -> None:
        """Restore the handlers, unless they were replaced since."""
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, handler)

    async def say(self) -> None:
        """Drain and deregister once; further calls do nothing."""
        if self._task is None:
            self._task = asyncio.create_task(self._leave(), name="headgate: leave")
        await asyncio.shield(self._task)

    async def _leave(self) -> None:
        await self._registration.__aexit__(None, None, None)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._task is not None and self._task.done():
            self._handlers[number](number, frame)  # the instance has left: the server's alone
        elif not self._first:
            self._first = number
            self._loop.call_soon_threadsafe(self._begin, number)
        elif number in (self._first, signal.SIGINT):
            # Asked a second time: without waiting for requests under way. SIGTERM after SIGINT is no second time:
            # uvicorn's supervisor sends it to workers that have had the SIGINT of the terminal.
            self._loop.call_soon_threadsafe(self._registration.hurry)
            self._handlers[number](number, frame)

    def _begin(self, number: int) -> None:
        self._passing = asyncio.create_task(self._pass_on(number), name="headgate: drain")

    async def _pass_on(self, number: int) -> None:
        try:
            await self.say()
        finally:
            self._handlers[number](number, None)
