"""Starting, ending and losing processes: signals, crashes, ports, wrong settings."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support import wire
from tests.support.data_plane import DataPlane, is_alive
from tests.support.fake_controlplane import TOKEN, FakeControlPlane
from tests.support.instance import Instance
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def _orders(controlplane: FakeControlPlane, orders: Instance) -> None:
    controlplane.publish(
        wire.snapshot(
            wire.service("orders"),
            wire.instance("orders", "orders-1", orders.port),
            wire.route("orders", "orders"),
            revision=5,
        )
    )


async def test_sigterm_lets_a_request_finish_and_takes_no_new_ones(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    async with DataPlane(tmp_path, controlplane.address, WORKERS="2") as node:
        await node.started()
        orders.hold = asyncio.Event()
        under_way = asyncio.create_task(node.get("/orders/slow"))
        await eventually(lambda: orders.waiting == 1)
        node.send(signal.SIGTERM)
        await eventually(lambda: _refuses(node.port))
        assert (await node.status("/ready")).json()["detail"] == "draining"
        assert (await node.status("/health")).json()["status"] == "draining"
        orders.hold.set()
        assert (await under_way).text == "orders-1"
        assert await node.exit_code() == 0
        assert not await _answers(node.status_port)


async def test_sigterm_waits_no_longer_than_the_drain_timeout(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    async with DataPlane(tmp_path, controlplane.address, DRAIN_TIMEOUT="0.3") as node:
        await node.started()
        orders.hold = asyncio.Event()
        under_way = asyncio.create_task(node.get("/orders/slow"))
        await eventually(lambda: orders.waiting == 1)
        assert await node.stop() == 0
        with pytest.raises(httpx.HTTPError):
            await under_way


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP, signal.SIGINT])
async def test_signals_for_the_supervisor_do_not_end_workers(
    tmp_path: Path, controlplane: FakeControlPlane, number: signal.Signals
) -> None:
    """Not even one that is still starting."""
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        (before,) = node.workers()
        before.send_signal(number)
        assert (await node.get("/orders/1")).status_code == 200
        before.kill()
        await eventually(lambda: node.workers() not in ([before], []))
        (after,) = node.workers()
        after.send_signal(number)
        await eventually(lambda: _served(node))
        assert [worker.pid for worker in node.workers()] == [after.pid]


async def test_a_second_signal_does_not_wait(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    async with DataPlane(tmp_path, controlplane.address, DRAIN_TIMEOUT="60") as node:
        await node.started()
        orders.hold = asyncio.Event()
        under_way = asyncio.create_task(node.get("/orders/slow"))
        await eventually(lambda: orders.waiting == 1)
        node.send(signal.SIGINT)
        await eventually(lambda: _refuses(node.port))
        node.send(signal.SIGINT)
        await node.exit_code(within=30)
        with pytest.raises(httpx.HTTPError):
            await under_way


async def test_ctrl_c_reaches_the_whole_group_and_still_drains(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        orders.hold = asyncio.Event()
        under_way = asyncio.create_task(node.get("/orders/slow"))
        await eventually(lambda: orders.waiting == 1)
        os.killpg(node.pid, signal.SIGINT)
        await eventually(lambda: _refuses(node.port))
        orders.hold.set()
        assert (await under_way).text == "orders-1"
        assert await node.exit_code() == 0


async def test_a_killed_worker_is_replaced_and_the_others_serve_on(
    tmp_path: Path, controlplane: FakeControlPlane
) -> None:
    async with DataPlane(tmp_path, controlplane.address, WORKERS="2") as node:
        await node.started()
        before = {worker.pid for worker in node.workers()}
        victim = node.workers()[0]
        victim.kill()
        await eventually(lambda: not victim.is_running())
        # Every new connection goes to one that lives.
        for _ in range(10):
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(f"http://127.0.0.1:{node.port}/orders/1")
                assert answer.text == "orders-1"
        await eventually(lambda: len({worker.pid for worker in node.workers()} - before) == 1)
        await node.ready()
        assert await node.metric("headgate_worker_restarts_total") == 1
        assert (await node.status("/debug/config")).json()["revision"] == 5


async def test_a_single_worker_that_is_killed_comes_back_with_the_configuration(
    tmp_path: Path, controlplane: FakeControlPlane
) -> None:
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        node.workers()[0].kill()
        await eventually(lambda: _served(node))
        controlplane.publish(wire.snapshot(wire.user("alice", revision=6), revision=6))
        await eventually(lambda: controlplane.latest.acked == [5, 6])


async def test_counts_survive_a_worker(tmp_path: Path, controlplane: FakeControlPlane) -> None:
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        for _ in range(3):
            await node.get("/orders/1")
        await eventually(lambda: _counted(node, 3))
        node.workers()[0].kill()
        await eventually(lambda: _served(node))
        await eventually(lambda: _counted(node, 4))


async def test_workers_end_when_the_supervisor_is_killed(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        workers = node.workers()
        orders.hold = asyncio.Event()
        under_way = asyncio.create_task(node.get("/orders/slow"))
        await eventually(lambda: orders.waiting == 1)
        node.send(signal.SIGKILL)
        await eventually(lambda: _refuses(node.port))
        orders.hold.set()
        assert (await under_way).text == "orders-1"
        await eventually(lambda: not any(map(is_alive, workers)))


async def test_workers_know_no_secret_and_no_grpc(tmp_path: Path, controlplane: FakeControlPlane) -> None:
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        (worker,) = node.workers()
        assert TOKEN in psutil.Process(node.pid).environ().values()
        assert not [value for value in (*worker.environ().values(), *worker.cmdline()) if TOKEN in value]
        if not hasattr(worker, "memory_maps"):
            return  # not on every system; the imports have a unit test
        libraries = " ".join(mapped.path for mapped in worker.memory_maps())
        assert "httptools" in libraries
        assert "grpc" not in libraries


@pytest.mark.parametrize("setting", ["LISTEN", "STATUS_LISTEN"])
async def test_a_port_in_use_is_one_clear_line(tmp_path: Path, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with DataPlane(tmp_path, **{setting: f"127.0.0.1:{port}"}) as node:
            node.start()
            assert await node.exit_code() == 2
            assert node.output() == [
                f"headgate-dataplane: cannot listen on 127.0.0.1:{port} ({setting}): Address already in use"
            ]


async def test_two_data_planes_do_not_share_a_port(tmp_path: Path, controlplane: FakeControlPlane) -> None:
    async with DataPlane(tmp_path / "one", controlplane.address) as first:
        await first.started()
        async with DataPlane(tmp_path / "two", LISTEN=f"127.0.0.1:{first.port}") as second:
            second.start()
            assert await second.exit_code() == 2
        assert (await first.get("/orders/1")).text == "orders-1"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"DATAPLANE_TOKEN": ""},
            "DATAPLANE_TOKEN: is not set (at least 16 random characters, the same as on the control planes; "
            "or set DATAPLANE_TOKEN_FILE, or CONTROLPLANE_CERT to authenticate by a certificate)",
        ),
        (
            {"CONTROLPLANE_CA": "/nowhere/ca.pem"},
            "CONTROLPLANE_CA: cannot read /nowhere/ca.pem: No such file or directory",
        ),
        (
            {"WORKERS": "0", "DRAIN_TIMEOUT": "-1"},
            "WORKERS: Input should be greater than or equal to 1; "
            "DRAIN_TIMEOUT: Input should be greater than or equal to 0",
        ),
    ],
)
async def test_wrong_settings_are_one_clear_line(tmp_path: Path, settings: dict[str, str], line: str) -> None:
    async with DataPlane(tmp_path, **settings) as node:
        node.start()
        assert await node.exit_code() == 2
        assert node.output() == [f"headgate-dataplane: {line}"]


async def test_a_wrong_token_is_said_and_tried_again(tmp_path: Path, controlplane: FakeControlPlane) -> None:
    async with DataPlane(
        tmp_path, controlplane.address, DATAPLANE_TOKEN="wrong-token-of-16-characters"
    ) as node:
        node.start()

        def told() -> list[str]:
            return [line for line in node.output() if "UNAUTHENTICATED" in line]

        # gRPC itself loses the reason at times, when the refusal comes before the hello was sent.
        await eventually(told, within=30)
        refused = controlplane.refused
        await eventually(lambda: controlplane.refused > refused + 1, within=30)
        assert len(told()) == 1
        assert "UNAUTHENTICATED" in (await node.status("/ready")).json()["controlplane"]
        assert "wrong-token" not in "".join(node.output())
        assert (await node.status("/ready")).status_code == 503


async def _refuses(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return False


async def _answers(port: int) -> bool:
    return not await _refuses(port)


async def _served(node: DataPlane) -> bool:
    return (await node.get("/orders/1")).text == "orders-1"


async def _counted(node: DataPlane, count: int) -> bool:
    return await node.metric("headgate_requests_total", route="orders", status="2xx") == count
