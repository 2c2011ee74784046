"""The lifespan: what it waits for, what it gives the application, and how it says goodbye."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from types import FrameType
from typing import Any

import pytest

from demo.ports import free_port
from headgate import asgi
from headgate.helpers import Options
from tests.support.fake_registry import TOKEN, FakeRegistry
from tests.support.listening import listening
from tests.support.waiting import eventually


def options(registry: FakeRegistry, port: int) -> Options:
    return {
        "port": port,
        "host": "127.0.0.1",
        "instance_id": "a",
        "token": TOKEN,
        "controlplane": registry.address,
    }


@pytest.fixture
def server() -> Iterator[list[int]]:
    """A server that handles SIGTERM as uvicorn does: the signals that it has seen."""
    seen: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        seen.append(number)

    before = signal.signal(signal.SIGTERM, handle)
    yield seen
    signal.signal(signal.SIGTERM, before)


async def test_the_application_starts_before_it_is_registered(registry: FakeRegistry) -> None:
    port = free_port()
    chosen: Options = {**options(registry, port), "wait": True}
    async with asgi.lifespan("orders", **chosen)(None) as state:
        assert not state["headgate"].registered
        async with listening(port):
            await eventually(lambda: state["headgate"].registered)
            assert registry.services["orders"].check_path == "/health"
    assert not registry.instances


async def test_its_own_lifespan_is_around_it(registry: FakeRegistry) -> None:
    happened: list[str] = []

    @contextlib.asynccontextmanager
    async def own(app: Any) -> AsyncIterator[dict[str, str]]:
        happened.append(f"{app} starts")
        yield {"stock": "apples"}
        happened.append(f"ends with {len(registry.instances)} instances")

    port = free_port()
    async with (
        listening(port),
        asgi.lifespan("orders", inner=own, **options(registry, port))("shop") as state,
    ):
        await eventually(lambda: registry.instances)
        assert state["stock"] == "apples"
    assert happened == ["shop starts", "ends with 0 instances"]


async def test_wrong_settings_are_a_line_and_keep_nothing_from_serving(
    registry: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = asgi.lifespan("orders", port=9000, controlplane="http://nonsense")
    async with wrong(None) as state:
        assert state["headgate"] is None
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith("not registered: 'http://nonsense' is not an address of a control plane")


async def test_it_drains_before_the_server_stops(registry: FakeRegistry, server: list[int]) -> None:
    registry.draining = asyncio.Event()
    port = free_port()
    async with listening(port), asgi.lifespan("orders", **options(registry, port))(None):
        await eventually(lambda: registry.instances)
        signal.raise_signal(signal.SIGTERM)
        await eventually(lambda: "Deregister" in registry.calls)
        assert not server, "it serves until it gets no requests any more"
        registry.draining.set()
        await eventually(lambda: server == [signal.SIGTERM])
        assert not registry.instances
    assert registry.calls.count("Deregister") == 1
    signal.raise_signal(signal.SIGTERM)
    assert len(server) == 2, "the server has its handler back"


async def test_a_second_signal_waits_for_nobody(registry: FakeRegistry, server: list[int]) -> None:
    registry.draining = asyncio.Event()
    port = free_port()
    async with listening(port), asgi.lifespan("orders", **options(registry, port))(None):
        await eventually(lambda: registry.instances)
        signal.raise_signal(signal.SIGTERM)
        await eventually(lambda: "Deregister" in registry.calls)
        signal.raise_signal(signal.SIGTERM)
        assert server == [signal.SIGTERM]
        await eventually(lambda: not registry.instances)


async def test_ctrl_c_after_sigterm_reaches_the_server(registry: FakeRegistry, server: list[int]) -> None:
    before = signal.signal(signal.SIGINT, lambda number, frame: server.append(number))
    try:
        port = free_port()
        async with listening(port), asgi.lifespan("orders", **options(registry, port))(None):
            await eventually(lambda: registry.instances)
            signal.raise_signal(signal.SIGTERM)
            await eventually(lambda: server == [signal.SIGTERM])
            # The server waits for a request that does not end, and somebody wants it to end now.
            signal.raise_signal(signal.SIGINT)
            assert server == [signal.SIGTERM, signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


async def test_ctrl_c_while_it_drains_after_sigterm_waits_for_nobody(
    registry: FakeRegistry, server: list[int]
) -> None:
    before = signal.signal(signal.SIGINT, lambda number, frame: server.append(number))
    try:
        registry.draining = asyncio.Event()
        port = free_port()
        async with listening(port), asgi.lifespan("orders", **options(registry, port))(None):
            await eventually(lambda: registry.instances)
            signal.raise_signal(signal.SIGTERM)
            await eventually(lambda: "Deregister" in registry.calls)
            signal.raise_signal(signal.SIGINT)
            assert server == [signal.SIGINT]
            await eventually(lambda: not registry.instances)
    finally:
        signal.signal(signal.SIGINT, before)
