"""Planes and clients of different versions put against each other, with real processes and real gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from controlplane.identity import KeyRing
from controlplane.model.resources import Route, Service, Tls
from headgate_api.v1 import config_pb2, registry_pb2, resources_pb2, status_pb2
from tests.support import wire
from tests.support.control_plane import DATAPLANE_TOKEN, SERVICE_TOKEN, ControlPlane, bearer, registry
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import running
from tests.support.instance import Instance
from tests.support.skew import UNKNOWN_MESSAGE, later, marks, released
from tests.support.waiting import eventually, within


async def test_a_data_plane_below_a_newer_control_plane(tmp_path: Path) -> None:
    async with Instance("orders-1") as orders, running() as newer, DataPlane(tmp_path, newer.address) as node:
        resources = (
            wire.service("orders"),
            wire.instance("orders", "a", orders.port),
            wire.route("orders", "orders"),
        )
        snapshot = later(wire.snapshot(*resources, revision=5))
        newer.publish(snapshot)
        await node.started()
        await node.serves(5)
        assert (await node.get("/orders/1")).text == "orders-1"
        assert marks(node.cache_file.read_bytes()) == sum(map(marks, snapshot.resources))
        # A message that means nothing here is passed over.
        newer.send(config_pb2.StreamResponse.FromString(UNKNOWN_MESSAGE))
        # What is needed and not known is refused by name, and what was served before goes on.
        strange = wire.service("orders", revision=6, load_balancer=77)
        newer.publish(later(wire.snapshot(strange, *resources[1:], revision=6)))
        connection = newer.connections[-1]
        await eventually(lambda: connection.nacked)
        (problem,) = connection.nacked[0].problems
        assert (problem.resource, problem.field) == ("service/orders", "load_balancer")
        assert "77 is not known to this version" in problem.detail
        assert connection.acked == [5]
        assert (await node.get("/orders/1")).text == "orders-1"
        # And the cache is as good as before after a restart on its own.
        await newer.stop()
        await node.stop()
        await node.started()
        assert (await node.get("/orders/1")).text == "orders-1"
        assert marks(node.cache_file.read_bytes()) == sum(map(marks, snapshot.resources))


async def test_a_data_plane_below_an_older_control_plane(tmp_path: Path) -> None:
    async with Instance("orders-1") as orders, running() as older, DataPlane(tmp_path, older.address) as node:
        resources = (
            wire.service("orders"),
            wire.instance("orders", "a", orders.port),
            wire.route("orders", "orders"),
        )
        older.publish(released(wire.snapshot(*resources, revision=5)))
        await node.started()
        await node.serves(5)
        assert (await node.get("/orders/1")).text == "orders-1"


# Nodes of other versions at a real control plane


class RawNode:
    """A data plane of another version: says what a test made, byte by byte."""

    def __init__(self, channel: Any) -> None:
        stream = channel.stream_stream("/headgate.v1.ConfigService/Stream")
        self._call = stream(metadata=bearer(DATAPLANE_TOKEN))

    async def send(self, message: config_pb2.StreamRequest | bytes) -> None:
        data = message if isinstance(message, bytes) else message.SerializeToString()
        await self._call.write(data)

    async def receive(self) -> config_pb2.StreamResponse:
        data = await within(self._call.read(), 30)
        return config_pb2.StreamResponse.FromString(data)

    async def ack(self, revision: int) -> None:
        await self.send(config_pb2.StreamRequest(ack=config_pb2.Ack(revision=revision)))


@pytest.fixture
async def plane(ring: KeyRing) -> AsyncIterator[ControlPlane]:
    async with ControlPlane(ring) as plane:
        await plane.watcher.caught_up.wait()
        await plane.put(Service(service_name="orders"))
        yield plane


@pytest.fixture
async def channel(plane: ControlPlane) -> AsyncIterator[grpc.aio.Channel]:
    async with plane.channel() as channel:
        yield channel


async def test_a_newer_data_plane(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    node = RawNode(channel)
    hello = config_pb2.Hello(node="gw-1", version="0.2.0", takes_deltas=True)
    await node.send(later(config_pb2.StreamRequest(hello=hello)))
    first = (await node.receive()).snapshot
    await node.send(UNKNOWN_MESSAGE)
    await node.send(later(config_pb2.StreamRequest(ack=config_pb2.Ack(revision=first.revision))))
    health = status_pb2.InstanceHealth(service_name="orders", instance_id="a", status=77)  # type: ignore[arg-type]
    circuit = status_pb2.CircuitReport(service_name="orders", state=77)  # type: ignore[arg-type]
    await node.send(later(config_pb2.StreamRequest(health=status_pb2.HealthReport(instances=[health]))))
    await node.send(later(config_pb2.StreamRequest(stats=status_pb2.StatsReport(circuits=[circuit]))))
    await eventually(lambda: plane.fleet.nodes["gw-1"].applied_revision == first.revision)
    await eventually(lambda: plane.fleet.nodes["gw-1"].stats)
    assert plane.fleet.nodes["gw-1"].version == "0.2.0"
    revision = await plane.put(Service(service_name="carts"))
    change = await node.receive()
    assert change.WhichOneof("message") == "delta" and change.delta.revision == revision


async def test_an_older_data_plane(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    node = RawNode(channel)
    hello = config_pb2.Hello(node="gw-1", version="0.0.9", takes_deltas=True)
    await node.send(released(config_pb2.StreamRequest(hello=hello)))
    first = released(await node.receive()).snapshot
    assert {resource.name for resource in first.resources} >= {"orders"}
    await node.ack(first.revision)
    revision = await plane.put(Route(name="orders", prefix="/orders", service_name="orders"))
    # It said nothing of deltas, so it gets none.
    second = released(await node.receive()).snapshot
    assert second.revision == revision
    await node.ack(revision)
    await eventually(lambda: plane.fleet.nodes["gw-1"].applied_revision == revision)


ORDERS_BY_TLS = Service(service_name="orders", tls=Tls())


async def test_an_older_data_plane_keeps_what_it_has_where_the_new_asks_for_more(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    node = RawNode(channel)
    hello = config_pb2.Hello(node="gw-1", version="0.0.9")
    await node.send(released(config_pb2.StreamRequest(hello=hello)))
    served = (await node.receive()).snapshot.revision
    await node.ack(served)
    withheld = await plane.put(ORDERS_BY_TLS)
    rejection = await eventually(lambda: plane.fleet.nodes["gw-1"].last_rejection)
    assert rejection is not None
    assert (rejection.revision, rejection.withheld) == (withheld, True)
    assert "service/orders tls: needs the capability services.tls" in str(rejection)
    await plane.put(Service(service_name="carts"))
    await eventually(lambda: plane.hub.messages.withheld == 2)
    # The next that it gets is the one that it knows, with all that came meanwhile.
    mended = await plane.put(Service(service_name="orders"))
    next_one = (await node.receive()).snapshot
    assert next_one.revision == mended
    assert {resource.name for resource in next_one.resources} >= {"orders", "carts"}
    assert plane.fleet.nodes["gw-1"].applied_revision == served
    await node.ack(mended)
    await eventually(lambda: plane.fleet.nodes["gw-1"].applied_revision == mended)


async def test_an_older_data_plane_gets_no_instance_at_a_unix_socket(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    node = RawNode(channel)
    await node.send(released(config_pb2.StreamRequest(hello=config_pb2.Hello(node="gw-1", version="0.0.9"))))
    await node.ack((await node.receive()).snapshot.revision)
    socket = {"instance_id": "local", "host": "unix:/run/apps/orders.sock"}
    await plane.put(Service.model_validate({"service_name": "orders", "instances": [socket]}))
    rejection = await eventually(lambda: plane.fleet.nodes["gw-1"].last_rejection)
    assert "instance/orders/local host: needs the capability instances.unix" in str(rejection)


async def test_an_older_data_plane_that_has_nothing_gets_nothing_that_it_would_half_understand(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    await plane.put(ORDERS_BY_TLS)
    node = RawNode(channel)
    await node.send(released(config_pb2.StreamRequest(hello=config_pb2.Hello(node="gw-1", version="0.0.9"))))
    await eventually(lambda: plane.hub.messages.withheld == 1)
    mended = await plane.put(Service(service_name="orders"))
    assert (await node.receive()).snapshot.revision == mended
    assert sum(plane.hub.messages.snapshots.values()) == 1


@pytest.mark.parametrize("knows", [(), ("services.tls",)], ids=["nothing", "TLS"])
async def test_a_capability_is_what_counts_and_not_the_version(
    plane: ControlPlane, channel: grpc.aio.Channel, knows: tuple[str, ...]
) -> None:
    await plane.put(ORDERS_BY_TLS)
    node = RawNode(channel)
    hello = config_pb2.Hello(node="gw-1", version="9.9.9", takes_deltas=True, capabilities=knows)
    await node.send(config_pb2.StreamRequest(hello=hello))
    if knows:
        assert any(one.service.HasField("tls") for one in (await node.receive()).snapshot.resources)
    else:
        await eventually(lambda: plane.fleet.nodes["gw-1"].last_rejection)
        assert not plane.hub.messages.snapshots


@pytest.mark.parametrize("version", [later, released], ids=["newer", "older"])
async def test_services_of_another_version(
    plane: ControlPlane, channel: grpc.aio.Channel, version: Any
) -> None:
    instance = resources_pb2.Instance(
        service_name="orders", instance_id="a", host="127.0.0.1", port=9001, metadata={"zone": "b"}
    )
    request = registry_pb2.RegisterRequest(
        instance=instance, service=resources_pb2.Service(service_name="orders")
    )
    stub, metadata = registry(channel), bearer(SERVICE_TOKEN)
    made = await stub.Register(version(request), metadata=metadata, timeout=30)
    await plane.published(made.revision)
    assert ("instance", "orders/a") in plane.current.resources
    keep = registry_pb2.KeepAliveRequest(lease_id=made.lease_id, service_name="orders", instance_id="a")
    assert (await stub.KeepAlive(version(keep), metadata=metadata, timeout=30)).ttl > 0
    gone = registry_pb2.DeregisterRequest(service_name="orders", instance_id="a")
    await stub.Deregister(version(gone), metadata=metadata, timeout=30)
