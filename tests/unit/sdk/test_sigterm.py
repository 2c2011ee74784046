"""Processes that are told to end: the instance leaves the table first, and the exit code is 0."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from demo.ports import free_port
from headgate_api.v1 import resources_pb2
from tests.support.fake_registry import TOKEN, FakeRegistry
from tests.support.waiting import eventually, within

ROOT = Path(__file__).resolve().parents[3]

PLAIN = """
import asyncio, headgate
async def main():
    async with headgate.register("s", port=1, host="h", instance_id="a"):
        print("registered", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""

SYNC = """
import time, headgate
with headgate.sync.register("s", port=1, host="h", instance_id="a"):
    print("registered", flush=True)
    while True:
        time.sleep(0.2)
"""

# The system may hand a signal to any thread that does not block it; that does not wake the main thread.
OTHER_THREAD = (
    """
import signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
def take():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Event().wait()
threading.Thread(target=take, daemon=True).start()
"""
    + SYNC
)

# uvicorn handles the signal, shuts down, and sends it to itself once more.
UVICORN = """
import asyncio, sys, headgate, uvicorn
async def app(scope, receive, send): ...
config = uvicorn.Config(app, port=int(sys.argv[1]), lifespan="off", log_level="error")
async def main():
    async with headgate.register("s", port=1, host="h", instance_id="a"):
        print("registered", flush=True)
        await uvicorn.Server(config).serve()
asyncio.run(main())
"""

UVLOOP = PLAIN.replace("asyncio.run(main())", "import uvloop; uvloop.run(main())")

OWN_HANDLER = """
import asyncio, signal, sys, headgate
async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with headgate.register("s", port=1, host="h", instance_id="a"):
        print("registered", flush=True)
        await stop.wait()
    sys.exit(3)
asyncio.run(main())
"""


@asynccontextmanager
async def running(registry: FakeRegistry, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python process that registers itself; killed in the end if it is still there."""
    registry.services["s"] = resources_pb2.Service(service_name="s")
    path = os.pathsep.join(str(ROOT / part) for part in ("sdk", "proto"))
    environment = os.environ | {
        "PYTHONPATH": path,
        "HEADGATE_CONTROLPLANE": registry.address,
        "HEADGATE_TOKEN": TOKEN,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await eventually(lambda: "Register" in registry.calls)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def registered(process: asyncio.subprocess.Process) -> None:
    """Wait until it has its answer: a registration whose answer is lost leaves only when its lease ends."""
    assert process.stdout is not None
    assert await within(process.stdout.readline()) == b"registered\n"


@pytest.mark.parametrize(
    ("script", "code"),
    [(PLAIN, 0), (SYNC, 0), (UVICORN, 0), (UVLOOP, 0), (OWN_HANDLER, 3)],
    ids=["plain", "sync", "uvicorn", "uvloop", "own handler"],
)
async def test_sigterm(registry: FakeRegistry, script: str, code: int) -> None:
    async with running(registry, "-c", script, str(free_port())) as process:
        await registered(process)
        process.send_signal(signal.SIGTERM)
        _, errors = await within(process.communicate(), 30)
    assert (process.returncode, errors.decode()) == (code, "")
    assert not registry.instances


@pytest.mark.parametrize("script", [PLAIN, SYNC], ids=["plain", "sync"])
async def test_sigterm_before_the_answer_of_the_registry(registry: FakeRegistry, script: str) -> None:
    """The registration arrived, its answer did not: it is taken back all the same."""
    registry.slow = asyncio.Event()
    async with running(registry, "-c", script) as process:
        process.send_signal(signal.SIGTERM)
        _, errors = await within(process.communicate(), 30)
    assert (process.returncode, errors.decode()) == (0, "")
    await eventually(lambda: not registry.instances)


@pytest.mark.parametrize("script", [PLAIN, SYNC, OTHER_THREAD], ids=["plain", "sync", "other thread"])
async def test_sigterm_while_nobody_answers(registry: FakeRegistry, script: str) -> None:
    registry.down = True
    async with running(registry, "-c", script) as process:
        process.send_signal(signal.SIGTERM)
        await within(process.communicate(), 30)
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_example(registry: FakeRegistry, number: signal.Signals) -> None:
    port = free_port()
    async with running(registry, str(ROOT / "examples/register_service.py"), "hello", str(port)) as process:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
        writer.close()
        process.send_signal(number)
        _, errors = await within(process.communicate(), 30)
    assert (process.returncode, b"Traceback" in errors) == (0, False)
    assert not registry.instances


async def test_killed_without_goodbye_it_is_for_the_lease_to_end(registry: FakeRegistry) -> None:
    async with running(registry, "-c", PLAIN) as process:
        await eventually(lambda: registry.instances)
        process.kill()
        await process.wait()
    assert registry.instances
