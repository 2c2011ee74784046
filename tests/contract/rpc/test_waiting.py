"""Waits of the registry over real gRPC, with data planes that a test plays."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from controlplane.fleet.reports import InstanceHealth, InstanceStatus
from controlplane.store import Put
from headgate_api.v1 import config_pb2, resources_pb2, status_pb2
from headgate_api.v1 import registry_pb2 as pb
from tests.support.control_plane import DATAPLANE_TOKEN, SERVICE_TOKEN, ControlPlane, Node, bearer, registry
from tests.support.waiting import eventually

Code = grpc.StatusCode
ORDERS = resources_pb2.Service(service_name="orders", check_interval=1)
A: dict[str, Any] = {"service_name": "orders", "instance_id": "a"}


async def call(channel: grpc.aio.Channel, method: str, request: Any, token: str = SERVICE_TOKEN) -> Any:
    return await getattr(registry(channel), method)(request, metadata=bearer(token), timeout=30)


async def registered(channel: grpc.aio.Channel) -> int:
    instance = resources_pb2.Instance(**A, host="127.0.0.1", port=9001)
    made = await call(channel, "Register", pb.RegisterRequest(instance=instance, service=ORDERS))
    return int(made.revision)


def in_flight(count: int) -> list[status_pb2.InFlight]:
    return [status_pb2.InFlight(**A, requests=count)]


async def report(node: Node, count: int) -> None:
    await node.send(leaving=status_pb2.LeavingReport(instances=in_flight(count)))


async def still_open(task: asyncio.Task[Any]) -> bool:
    done, _ = await asyncio.wait([task], timeout=0.05)
    return not done


async def test_a_drain_ends_with_the_last_request(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    await registered(channel)
    node = Node(channel)
    await node.hello()
    await node.ack((await node.receive()).revision)
    draining = asyncio.create_task(call(channel, "Drain", pb.DrainRequest(**A, wait=10)))
    revision = (await node.receive()).revision
    await report(node, 2)
    await node.ack(revision)
    await eventually(lambda: plane.fleet.nodes["gw-1"].applied_revision >= revision)
    assert await still_open(draining)
    await report(node, 0)
    answer = await draining
    assert (answer.revision, list(answer.stragglers)) == (revision, [])
    assert ("instance", "orders/a") in plane.current.resources


async def test_a_second_drain_waits_for_the_first_one_s_revision(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    """Other writers move the store on, and the watcher does not see what they write."""
    await registered(channel)
    node = Node(channel)
    await node.hello()
    await node.ack((await node.receive()).revision)
    first = await call(channel, "Drain", pb.DrainRequest(**A))
    await node.ack((await node.receive()).revision)
    await plane.store.commit({}, [Put("/headgate/election/sweeper", b"elsewhere")])
    second = await call(channel, "Drain", pb.DrainRequest(**A, wait=10))
    assert (second.revision, list(second.stragglers)) == (first.revision, [])


async def test_a_goodbye_for_what_is_gone_does_not_wait(
    plane: ControlPlane, channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.rpc.registry.SEEN_WITHIN", 600.0)
    await registered(channel)
    await call(channel, "Deregister", pb.DeregisterRequest(**A))
    await plane.store.commit({}, [Put("/headgate/election/sweeper", b"elsewhere")])
    await call(channel, "Deregister", pb.DeregisterRequest(**A))


async def test_a_hello_tells_what_is_under_way(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    await registered(channel)
    drained = await call(channel, "Drain", pb.DrainRequest(**A))
    await plane.published(drained.revision)
    node = Node(channel)
    current = plane.current
    hello = config_pb2.Hello(
        node="gw-1", revision=current.revision, digest=current.digest, leaving=in_flight(3)
    )
    await node.send(hello=hello)
    await eventually(lambda: "gw-1" in plane.fleet.nodes)
    answer = await call(channel, "Drain", pb.DrainRequest(**A, wait=0.05))
    assert [(one.node, one.reason) for one in answer.stragglers] == [("gw-1", "3 requests under way")]


async def test_a_deregistration_that_waits_removes_in_any_case(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    await registered(channel)
    node = Node(channel)
    await node.hello()
    await node.ack((await node.receive()).revision)
    leaving = asyncio.create_task(call(channel, "Deregister", pb.DeregisterRequest(**A, wait=0.3)))
    await report(node, 1)
    await node.ack((await node.receive()).revision)
    answer = await leaving
    assert [one.reason for one in answer.stragglers] == ["1 request under way"]
    await plane.published(answer.revision)
    assert ("instance", "orders/a") not in plane.current.resources
    again = await call(channel, "Deregister", pb.DeregisterRequest(**A, wait=5))
    assert list(again.stragglers) == []


async def test_who_drains_needs_no_lease(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    """The instance outlives the lease of the process that says goodbye, and ends soon after if it is not removed."""
    await registered(channel)
    node = Node(channel)
    await node.hello()
    await node.ack((await node.receive()).revision)
    leaving = asyncio.create_task(call(channel, "Deregister", pb.DeregisterRequest(**A, wait=100)))
    revision = (await node.receive()).revision
    plane.store.advance(100)
    assert await still_open(leaving)
    assert plane.current.revision == revision
    leaving.cancel()
    plane.store.advance(20)
    await eventually(lambda: ("instance", "orders/a") not in plane.current.resources)


async def test_registering_anew_ends_a_drain(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    await registered(channel)
    await call(channel, "Drain", pb.DrainRequest(**A))
    service = await call(channel, "GetService", pb.GetServiceRequest(service_name="orders"))
    await eventually(lambda: plane.fleet.views.services(plane.current)[0].instances[0].status == "draining")
    await registered(channel)
    service = await call(channel, "GetService", pb.GetServiceRequest(service_name="orders"))
    assert service.service.instances[0].status == status_pb2.INSTANCE_STATUS_STARTING


async def test_routable_when_every_data_plane_says_so(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    revision = await registered(channel)
    for name in ("gw-1", "gw-2"):
        plane.fleet.hello(name, "1", revision, plane.current.digest)
    request = pb.AwaitRoutableRequest(**A, revision=revision, wait=10)
    waiting = asyncio.create_task(call(channel, "AwaitRoutable", request))
    well = InstanceHealth("orders", "a", InstanceStatus.HEALTHY, 1.0)
    plane.fleet.health("gw-1", [well], revision)
    assert await still_open(waiting)
    plane.fleet.health("gw-2", [well], revision)
    assert list((await waiting).stragglers) == []


@pytest.mark.parametrize("wait", [-1.0, 301.0, float("nan"), float("inf")])
@pytest.mark.parametrize("method", ["Drain", "Deregister", "AwaitRoutable"])
async def test_waits_that_are_none(
    plane: ControlPlane, channel: grpc.aio.Channel, method: str, wait: float
) -> None:
    revision = await registered(channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, method, getattr(pb, f"{method}Request")(**A, wait=wait))
    assert caught.value.code() is Code.INVALID_ARGUMENT
    assert caught.value.details() == "wait: must be 0 to 300 seconds"
    assert plane.store.revision == revision


async def test_who_may_not_and_what_is_not_there(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    await registered(channel)
    for method, request in (
        ("Drain", pb.DrainRequest(**A)),
        ("AwaitRoutable", pb.AwaitRoutableRequest(**A)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, method, request, DATAPLANE_TOKEN)
        assert caught.value.code() in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, "Drain", pb.DrainRequest(service_name="orders", instance_id="b"))
    assert (caught.value.code(), caught.value.details()) == (
        Code.NOT_FOUND,
        "instance 'orders/b' does not exist",
    )
