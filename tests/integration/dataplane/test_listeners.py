"""Listeners of the configuration in real workers: ports open and close live, and others do not notice."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from functools import partial
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from demo.ports import free_port
from headgate_api.v1 import config_pb2
from tests.support import wire
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.instance import Instance
from tests.support.waiting import eventually


def snapshot(orders: Instance, *more: wire.Resource, revision: int) -> config_pb2.Snapshot:
    return wire.snapshot(
        wire.service("orders"),
        wire.instance("orders", "orders-1", orders.port),
        wire.route("orders", "orders", upgrades=["websocket"]),
        *more,
        revision=revision,
    )


async def acked(controlplane: FakeControlPlane, revision: int) -> None:
    await eventually(lambda: revision in controlplane.latest.acked)


async def get(port: int, path: str = "/orders/1", host: str = "a.org") -> tuple[int, str]:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://127.0.0.1:{port}{path}", headers={"Host": host})
        return answer.status_code, answer.text


def is_closed(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture
async def node(tmp_path: Path, controlplane: FakeControlPlane, orders: Instance) -> AsyncIterator[DataPlane]:
    controlplane.publish(snapshot(orders, revision=5))
    async with DataPlane(tmp_path, controlplane.address, WORKERS="2") as plane:
        await plane.started()
        yield plane


async def test_ports_open_and_close_while_the_node_serves(
    node: DataPlane, controlplane: FakeControlPlane, orders: Instance
) -> None:
    port, other = free_port(), free_port()
    web = wire.listener("web", port, revision=6)
    own = wire.route("own", "orders", listeners=["web"], revision=6)
    controlplane.publish(snapshot(orders, web, own, revision=6))
    await acked(controlplane, 6)
    assert await get(port) == (200, "orders-1")
    assert await get(port, "/own/1") == (200, "orders-1")
    assert (await get(node.port, "/own/1"))[0] == 404
    assert (await get(port, "/health"))[0] == 404
    shown = (await node.status("/debug/config")).json()["listeners"]["web"]
    assert shown == {
        "port": port,
        "protocol": "http",
        "hostnames": [],
        "certificates": [],
        "client_certificate": "",
        "open": True,
        "problem": "",
    }
    assert await node.metric("headgate_listener_open", listener="web", port=str(port)) == 1.0

    controlplane.publish(snapshot(orders, wire.listener("web", other, revision=7), own, revision=7))
    await acked(controlplane, 7)
    assert await get(other, "/own/1") == (200, "orders-1")
    await eventually(lambda: is_closed(port))
    assert await get(node.port) == (200, "orders-1")


async def test_listeners_of_one_port_are_isolated(
    node: DataPlane, controlplane: FakeControlPlane, orders: Instance
) -> None:
    port = free_port()
    more = (
        wire.listener("shop", port, "shop.org", revision=6),
        wire.listener("rest", port, revision=6),
        wire.route("only-shop", "orders", listeners=["shop"], revision=6),
        wire.route("only-rest", "orders", listeners=["rest"], revision=6),
    )
    controlplane.publish(snapshot(orders, *more, revision=6))
    await acked(controlplane, 6)
    found = {
        (host, path): (await get(port, f"/{path}/1", host))[0]
        for host in ("shop.org", "else.org")
        for path in ("only-shop", "only-rest", "orders")
    }
    assert found == {
        ("shop.org", "only-shop"): 200,
        ("shop.org", "only-rest"): 404,
        ("shop.org", "orders"): 200,
        ("else.org", "only-shop"): 404,
        ("else.org", "only-rest"): 200,
        ("else.org", "orders"): 200,
    }


async def test_a_port_in_use_is_a_nack_and_the_others_serve_on(
    node: DataPlane, controlplane: FakeControlPlane, orders: Instance
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        free = free_port()
        more = (wire.listener("a", free, revision=6), wire.listener("b", taken, revision=6))
        controlplane.publish(snapshot(orders, *more, revision=6))
        await eventually(lambda: controlplane.latest.nacked)
        (problem,) = controlplane.latest.nacked[0].problems
        assert (problem.resource, problem.field) == ("listener/b", "port")
        assert problem.detail == f"cannot listen on 127.0.0.1:{taken} (listener b): Address already in use"
        assert is_closed(free) and await get(node.port) == (200, "orders-1")
    controlplane.publish(snapshot(orders, *more, revision=7))
    await acked(controlplane, 7)
    assert await get(taken) == (200, "orders-1")


async def test_the_port_of_the_settings_is_taken(
    node: DataPlane, controlplane: FakeControlPlane, orders: Instance
) -> None:
    controlplane.publish(snapshot(orders, wire.listener("web", node.port, revision=6), revision=6))
    await eventually(lambda: controlplane.latest.nacked)
    assert controlplane.latest.nacked[0].problems[0].detail == "is the port of the setting LISTEN"
    assert await get(node.port) == (200, "orders-1")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may bind any port")
async def test_a_port_that_needs_a_right_is_a_nack(
    node: DataPlane, controlplane: FakeControlPlane, orders: Instance
) -> None:
    controlplane.publish(snapshot(orders, wire.listener("web", 81, revision=6), revision=6))
    await eventually(lambda: controlplane.latest.nacked)
    assert "Permission denied" in controlplane.latest.nacked[0].problems[0].detail


async def test_closing_a_port_drains_its_connections_and_no_other(
    node: DataPlane, controlplane: FakeControlPlane, orders: Instance
) -> None:
    """A client that keeps asking gets every answer, the last with Connection: close; elsewhere none says so."""
    port = free_port()
    controlplane.publish(snapshot(orders, wire.listener("web", port, revision=6), revision=6))
    await acked(controlplane, 6)
    async with httpx.AsyncClient(trust_env=False) as leaving, httpx.AsyncClient(trust_env=False) as staying:
        assert (await leaving.get(f"http://127.0.0.1:{port}/orders/1")).status_code == 200
        assert (await staying.get(f"http://127.0.0.1:{node.port}/orders/1")).status_code == 200
        controlplane.publish(snapshot(orders, revision=7))
        closed = False
        while not closed:
            answer = await leaving.get(f"http://127.0.0.1:{port}/orders/1")
            assert answer.status_code == 200
            closed = answer.headers.get("connection") == "close"
        await acked(controlplane, 7)
        answer = await staying.get(f"http://127.0.0.1:{node.port}/orders/1")
        assert answer.status_code == 200 and "connection" not in answer.headers
    await eventually(lambda: is_closed(port))


async def test_a_node_that_drains_takes_no_more_connections(
    node: DataPlane, controlplane: FakeControlPlane, orders: Instance
) -> None:
    port = free_port()
    controlplane.publish(snapshot(orders, wire.listener("web", port, revision=6), revision=6))
    await acked(controlplane, 6)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /orders/1 HTTP/1.1\r\n")  # a head that never ends keeps it draining
    await writer.drain()
    node.send(signal.SIGTERM)
    await eventually(lambda: is_closed(port), within=4)
    assert node.workers(), "it still drains"
    writer.close()
    assert await node.exit_code() == 0


async def test_a_worker_that_restarts_has_the_ports(
    node: DataPlane, controlplane: FakeControlPlane, orders: Instance
) -> None:
    port = free_port()
    controlplane.publish(snapshot(orders, wire.listener("web", port, revision=6), revision=6))
    await acked(controlplane, 6)
    before = {worker.pid for worker in node.workers()}
    for worker in node.workers():
        worker.send_signal(signal.SIGKILL)
    await eventually(lambda: len({worker.pid for worker in node.workers()} - before) == 2)
    assert await get(port) == (200, "orders-1")


async def test_a_node_that_restarts_alone_opens_its_ports(
    node: DataPlane, controlplane: FakeControlPlane, orders: Instance
) -> None:
    """From the cache; a port that is taken meanwhile is tried again, and the rest is served without it."""
    port, taken = free_port(), free_port()
    more = (wire.listener("web", port, revision=6), wire.listener("late", taken, revision=6))
    controlplane.publish(snapshot(orders, *more, revision=6))
    await acked(controlplane, 6)
    await node.stop()
    await controlplane.stop()
    with socket.create_server(("127.0.0.1", taken)):
        await node.started()
        assert await get(port) == (200, "orders-1")
        problems = (await node.status("/health")).json()["problems"]
        assert f"listener late is not served on port {taken}" in problems
    await eventually(lambda: not is_closed(taken))
    assert await get(taken) == (200, "orders-1")


async def test_websockets_outlive_changes_of_other_listeners(
    node: DataPlane, controlplane: FakeControlPlane
) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    def healthy(connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(HTTPStatus.OK, "") if request.path == "/health" else None

    async with serve(echo, "127.0.0.1", 0, process_request=healthy) as server:
        base = (
            wire.service("chat"),
            wire.instance("chat", "1", server.sockets[0].getsockname()[1]),
            wire.route("chat", "chat", upgrades=["websocket"]),
            wire.listener("stays", stays := free_port()),
        )
        controlplane.publish(wire.snapshot(*base, revision=6))
        await acked(controlplane, 6)
        await eventually(lambda: controlplane.latest.statuses() == {"1": "healthy"})
        # One worker may know of the instance before another one does.
        one, two = [
            await eventually(partial(connect, f"ws://127.0.0.1:{port}/chat")) for port in (stays, node.port)
        ]
        async with one, two:
            for revision in range(7, 12):
                moving = wire.listener("moves", free_port(), revision=revision)
                controlplane.publish(wire.snapshot(*base, moving, revision=revision))
                await acked(controlplane, revision)
                for client in (one, two):
                    await client.send(str(revision))
                    assert await client.recv() == str(revision)
