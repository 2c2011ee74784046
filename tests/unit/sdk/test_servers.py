"""Servers and commands as processes: they serve while they drain, and what they have started ends with them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import httpx
import psutil
import pytest

from demo.ports import free_port
from headgate import grpc_server
from headgate.listening import listens
from headgate_api.v1 import resources_pb2
from tests.support.fake_registry import TOKEN, FakeRegistry
from tests.support.waiting import eventually, within

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 60.0

SHOP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"here"]
"""

GUNICORN = """
from headgate import wsgi
bind = "127.0.0.1:{port}"
workers = 2
control_socket_disable = True
post_worker_init, worker_exit = wsgi.gunicorn("s", host="127.0.0.1", instance_id="a")
"""

ALONE = """
workers = 1
"""

TELLING = """
from pathlib import Path
workers = 1
post_worker_init, worker_exit = wsgi.gunicorn(
    "s", host="127.0.0.1", instance_id="a", on_change=lambda registered: Path("known").touch()
)
"""

SERVER = """
import http.server, os, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(str(child.pid).encode())
    def log_message(self, *_): pass
child = subprocess.Popen(["sleep", "600"])
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@asynccontextmanager
async def running(
    registry: FakeRegistry, folder: Path, *arguments: str, token: str = TOKEN, stdout: int | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python process with the SDK; killed in the end if it is still there."""
    registry.services["s"] = resources_pb2.Service(service_name="s")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "sdk"), str(ROOT / "proto"), str(folder)]),
        "HEADGATE_CONTROLPLANE": registry.address,
        "HEADGATE_TOKEN": token,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environment, cwd=folder, stdout=stdout, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
        await process.communicate()


async def answer_of(port: int) -> str:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        return (await client.get(f"http://127.0.0.1:{port}/")).raise_for_status().text


async def test_gunicorn_serves_while_it_drains(registry: FakeRegistry, tmp_path: Path) -> None:
    port = free_port()
    registry.draining = asyncio.Event()
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "gunicorn.conf.py").write_text(GUNICORN.format(port=port))
    async with running(registry, tmp_path, "-m", "gunicorn", "shop:application") as process:
        await eventually(lambda: len(registry.leases) == 2, within=PATIENCE)
        assert await answer_of(port) == "here"
        process.send_signal(signal.SIGTERM)
        await eventually(lambda: "Deregister" in registry.calls, within=PATIENCE)
        assert await answer_of(port) == "here"
        registry.draining.set()
        _, errors = await within(process.communicate(), PATIENCE)
    assert process.returncode == 0, errors.decode()
    assert not registry.instances
    assert "headgate: registered instance s/a" in errors.decode()


async def test_a_reload_of_gunicorn_keeps_the_instance(registry: FakeRegistry, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "gunicorn.conf.py").write_text(GUNICORN.format(port=free_port()))
    async with running(registry, tmp_path, "-m", "gunicorn", "shop:application") as process:
        await eventually(lambda: len(registry.leases) == 2, within=PATIENCE)
        process.send_signal(signal.SIGHUP)
        await eventually(lambda: registry.calls.count("Deregister") == 2, within=PATIENCE)
        before = registry.calls[: registry.calls.index("Deregister")]
        assert before.count("Register") >= 3
        assert registry.instances
        process.send_signal(signal.SIGTERM)
        _, errors = await within(process.communicate(), PATIENCE)
    assert process.returncode == 0, errors.decode()
    assert not registry.instances


async def test_a_recycled_worker_keeps_the_instance(registry: FakeRegistry, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "gunicorn.conf.py").write_text(GUNICORN.format(port=port) + ALONE + "max_requests = 3\n")
    async with running(registry, tmp_path, "-m", "gunicorn", "shop:application") as process:
        await eventually(lambda: registry.instances, within=PATIENCE)
        (first,) = registry.leases
        for _ in range(3):
            assert await answer_of(port) == "here"
        await eventually(lambda: registry.leases and first not in registry.leases, within=PATIENCE)
        assert registry.calls[: registry.calls.index("Deregister")].count("Register") == 2
        assert len(registry.leases) == len(registry.instances) == 1
        for _ in range(3):
            assert await answer_of(port) == "here"
        # The only worker has ended, or its successor is about to register.
        process.send_signal(signal.SIGTERM)
        _, errors = await within(process.communicate(), PATIENCE)
    assert process.returncode == 0, errors.decode()
    assert not registry.instances, errors.decode()
    assert not registry.leases


async def test_a_worker_recycled_before_it_is_registered_waits_for_that(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    port = free_port()
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "gunicorn.conf.py").write_text(GUNICORN.format(port=port) + ALONE + "max_requests = 3\n")
    async with running(registry, tmp_path, "-m", "gunicorn", "shop:application") as process:
        await eventually(lambda: registry.instances, within=PATIENCE)
        (first,) = registry.leases
        registry.slow = asyncio.Event()
        for _ in range(3):
            await answer_of(port)
        await eventually(lambda: registry.calls.count("Register") == 2, within=PATIENCE)
        for _ in range(3):
            await answer_of(port)
        assert first in registry.leases
        registry.slow.set()
        await eventually(
            lambda: len(registry.leases) == 1 and max(registry.leases) >= first + 2, within=PATIENCE
        )
        assert not any(registry.waits), "no worker drained the instance"
        process.send_signal(signal.SIGTERM)
        _, errors = await within(process.communicate(), PATIENCE)
    assert process.returncode == 0, errors.decode()
    assert not registry.leases


async def test_a_worker_recycled_during_a_reload_leaves_its_lease_to_its_successors(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    port = free_port()
    (tmp_path / "shop.py").write_text(SHOP)
    patient = "max_requests = 3\nwsgi.SUCCESSORS_WITHIN = 600.0\n"
    (tmp_path / "gunicorn.conf.py").write_text(GUNICORN.format(port=port) + ALONE + patient)
    async with running(registry, tmp_path, "-m", "gunicorn", "shop:application") as process:
        await eventually(lambda: registry.instances, within=PATIENCE)
        (first,) = registry.leases
        (old,) = psutil.Process(process.pid).children()
        registry.slow = asyncio.Event()
        process.send_signal(signal.SIGHUP)
        await eventually(lambda: registry.calls.count("Register") == 2, within=PATIENCE)
        # It serves while it waits for its successor, beside that.
        while psutil.pid_exists(old.pid):
            await answer_of(port)
        assert first in registry.leases and registry.instances
        registry.slow.set()
        await eventually(lambda: registry.leases and first not in registry.leases, within=PATIENCE)
        assert not any(registry.waits), "no worker drained the instance"
        process.send_signal(signal.SIGTERM)
        _, errors = await within(process.communicate(), PATIENCE)
    assert process.returncode == 0, errors.decode()
    assert not registry.leases


async def test_the_lease_of_a_killed_worker_is_ended(registry: FakeRegistry, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "gunicorn.conf.py").write_text(GUNICORN.format(port=free_port()) + TELLING)
    async with running(registry, tmp_path, "-m", "gunicorn", "shop:application") as process:
        # The registry knows the lease before the worker does; only the worker's knowledge outlives it.
        await eventually((tmp_path / "known").exists, within=PATIENCE)
        (first,) = registry.leases
        psutil.Process(process.pid).children()[0].kill()
        await eventually(lambda: registry.leases and first not in registry.leases, within=PATIENCE)
        assert registry.instances
        process.send_signal(signal.SIGTERM)
        _, errors = await within(process.communicate(), PATIENCE)
    assert process.returncode == 0, errors.decode()
    assert not registry.leases


async def test_a_grpc_server_drains_and_stops(registry: FakeRegistry) -> None:
    port = free_port()
    server = grpc.aio.server()
    server.add_insecure_port(f"127.0.0.1:{port}")
    serving = asyncio.create_task(
        grpc_server.serve(
            server,
            "greeter",
            port=port,
            host="127.0.0.1",
            instance_id="a",
            token=TOKEN,
            controlplane=registry.address,
        )
    )
    await eventually(lambda: ("greeter", "a") in registry.instances)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(serving)
    assert not registry.instances
    assert registry.waits[-1] == 20
    assert not await listens(["127.0.0.1"], port)


def register(port: int, *command: str) -> list[str]:
    words = ["-m", "headgate.cli", "register", "s", "--id", "a", "--host", "127.0.0.1"]
    return [*words, "--port", str(port), "--", *command]


async def test_a_command_is_drained_and_then_ended(registry: FakeRegistry, tmp_path: Path) -> None:
    port = free_port()
    registry.draining = asyncio.Event()
    async with running(registry, tmp_path, *register(port, sys.executable, "-c", SERVER)) as process:
        await eventually(lambda: registry.instances, within=PATIENCE)
        grandchild = int(await answer_of(port))
        process.send_signal(signal.SIGINT)
        await eventually(lambda: "Deregister" in registry.calls, within=PATIENCE)
        assert await answer_of(port), "it serves while it drains"
        registry.draining.set()
        _, errors = await within(process.communicate(), PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM, errors.decode()
    assert not registry.instances
    await eventually(lambda: not psutil.pid_exists(grandchild))


async def test_a_second_signal_leaves_nothing(registry: FakeRegistry, tmp_path: Path) -> None:
    port = free_port()
    registry.draining = asyncio.Event()
    async with running(registry, tmp_path, *register(port, sys.executable, "-c", SERVER)) as process:
        await eventually(lambda: registry.instances, within=PATIENCE)
        grandchild = int(await answer_of(port))
        process.send_signal(signal.SIGTERM)
        await eventually(lambda: "Deregister" in registry.calls, within=PATIENCE)
        process.send_signal(signal.SIGTERM)
        await within(process.communicate(), PATIENCE)
    assert process.returncode == 128 + signal.SIGKILL
    assert not registry.instances
    await eventually(lambda: not psutil.pid_exists(grandchild))


TYPIST = """
import os, sys, termios
termios.tcsetattr(1, termios.TCSANOW, termios.tcgetattr(1))
print("read", repr(sys.stdin.read(1)), flush=True)
"""


async def test_a_command_at_a_terminal_is_not_stopped(registry: FakeRegistry, tmp_path: Path) -> None:
    # Of a session of its own with this terminal: the group of the command is in its background.
    leader = "import pty, sys; sys.exit(pty.spawn([sys.executable, *sys.argv[1:]]) >> 8)"
    command = register(free_port(), sys.executable, "-c", TYPIST)
    async with running(registry, tmp_path, "-c", leader, *command, stdout=asyncio.subprocess.PIPE) as process:
        output, _ = await within(process.communicate(), PATIENCE)
    assert (process.returncode, b"read ''" in output) == (0, True)


async def test_quit_leaves_nothing(registry: FakeRegistry, tmp_path: Path) -> None:
    port = free_port()
    async with running(registry, tmp_path, *register(port, sys.executable, "-c", SERVER)) as process:
        await eventually(lambda: registry.instances, within=PATIENCE)
        grandchild = int(await answer_of(port))
        process.send_signal(signal.SIGQUIT)
        await within(process.communicate(), PATIENCE)
    assert not registry.instances
    await eventually(lambda: not psutil.pid_exists(grandchild))


async def test_the_exit_code_is_the_commands(registry: FakeRegistry, tmp_path: Path) -> None:
    port = free_port()
    async with running(registry, tmp_path, *register(port, "sh", "-c", "exit 7")) as process:
        _, errors = await within(process.communicate(), PATIENCE)
    assert process.returncode == 7
    told = f"headgate: the command ended before it was registered: did it listen on port {port}?\n"
    assert errors.decode() == told
    async with running(registry, tmp_path, *register(free_port(), "no-such-command")) as process:
        _, errors = await within(process.communicate(), PATIENCE)
    assert process.returncode == 127
    assert errors.decode() == "headgate: cannot run no-such-command: No such file or directory\n"


async def test_a_command_runs_also_where_the_token_is_wrong(registry: FakeRegistry, tmp_path: Path) -> None:
    port = free_port()
    command = register(port, sys.executable, "-c", SERVER)
    async with running(registry, tmp_path, *command, token="another") as process:
        assert await eventually(lambda: answer_of(port), within=PATIENCE)
        await eventually(lambda: "Register" in registry.calls, within=PATIENCE)
        process.send_signal(signal.SIGTERM)
        _, errors = await within(process.communicate(), PATIENCE)
    (line,) = errors.decode().splitlines()
    assert line.startswith("headgate: instance s/a: the control plane at 127.0.0.1")
    assert "refuses the token" in line


async def test_an_error_that_ends_the_program_is_one_line(registry: FakeRegistry, tmp_path: Path) -> None:
    script = (
        "import asyncio, headgate\n"
        "async def main():\n"
        "    async with headgate.register('s', port=1): pass\n"
        "asyncio.run(main())\n"
    )
    for token, said in (("", "wants a token: set HEADGATE_TOKEN"), ("another", "refuses the token")):
        async with running(registry, tmp_path, "-c", script, token=token) as process:
            _, errors = await within(process.communicate(), PATIENCE)
        (line,) = errors.decode().splitlines()
        assert process.returncode == 1
        assert line.startswith("headgate: the control plane at") and said in line
        assert ".headgate/demo.json" in line


async def test_nothing_of_grpc_is_imported_before_a_fork(registry: FakeRegistry, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from headgate import wsgi\n"
        "wsgi.gunicorn('s')\n"
        "sys.exit(', '.join(name for name in sys.modules if name.split('.')[0] == 'grpc'))\n"
    )
    async with running(registry, tmp_path, "-c", script) as process:
        _, errors = await within(process.communicate(), PATIENCE)
    assert errors.decode() == "\n"
