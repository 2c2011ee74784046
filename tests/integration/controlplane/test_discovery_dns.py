"""Services discovered by DNS: control planes as processes, and a real DNS server."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import dns.rcode
import httpx
import pytest

import headgate
from demo.ports import free_port
from demo.processes import ControlPlane, DataPlane
from tests.support.discovery import Bed
from tests.support.dns_server import DnsServer
from tests.support.etcd import Etcd
from tests.support.instance import Instance
from tests.support.waiting import eventually

NAME = "orders.example"


def source(**fields: object) -> dict[str, object]:
    """The name, with a port or a type."""
    return {"name": NAME, **fields}


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with DnsServer() as made:
        yield made


@pytest.fixture
async def bed(own_etcd: Etcd, tmp_path: Path, server: DnsServer) -> AsyncIterator[Bed]:
    made = Bed(tmp_path / "run", own_etcd, {"DISCOVERY_DNS_SERVERS": server.address})
    try:
        yield made
    finally:
        await made.end()


async def test_requests_reach_what_dns_names(bed: Bed, server: DnsServer) -> None:
    async with Instance("found") as instance:
        await bed.start(bed.plane)
        dataplane = DataPlane(bed.plane.grpc, bed.plane.secrets, settings={"RATE_LIMIT_PER_SECOND": "0"})
        await bed.start(dataplane)
        server.set(NAME, "SRV", f"0 5 {instance.port} localhost.")
        assert (await bed.apply(dns=source(type="SRV"))).status_code == 200
        found = await bed.knows("localhost")
        (shown,) = found["instances"].values()
        assert (shown["port"], shown["weight"], shown["source"]) == (instance.port, 5, "discovered")

        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:

            async def answered() -> bool:
                return (await client.get(f"{dataplane.url}/orders")).text == "found"

            await eventually(answered, every=0.1)


async def test_records_are_looked_up_again_and_stay_while_dns_is_silent(bed: Bed, server: DnsServer) -> None:
    await bed.start(bed.plane)
    server.set(NAME, "A", "10.0.0.1", "10.0.0.2", ttl=2)
    await bed.apply(dns=source(port=80))
    found = await bed.knows("10.0.0.1", "10.0.0.2")
    assert found["discovered"] == {
        "source": f"DNS name {NAME} (A)",
        "instances": 2,
        "problem": "",
        "since": None,
    }
    server.set(NAME, "A", "10.0.0.2", "10.0.0.3", ttl=2)
    await bed.knows("10.0.0.2", "10.0.0.3")

    server.code = dns.rcode.SERVFAIL
    failing = await bed.fails("the servers answered SERVFAIL")
    assert failing["since"] and failing["instances"] == 2
    await bed.knows("10.0.0.2", "10.0.0.3")
    health = (await bed.get("/health")).json()
    assert health["status"] == "degraded"
    (problem,) = health["problems"]
    assert problem.startswith(f"discovery of service 'orders' (DNS name {NAME} (A)) since {failing['since']}")
    assert problem.endswith("; 2 instances known")
    metrics = (await bed.get("/metrics")).text
    assert 'headgate_controlplane_discovery_problem{service="orders"} 1.0' in metrics
    assert 'headgate_controlplane_discovery_instances{service="orders"} 2.0' in metrics
    assert "headgate_controlplane_discovery_leads 1.0" in metrics

    server.code = dns.rcode.NOERROR
    await bed.fails("")
    assert (await bed.get("/health")).json()["problems"] == []


async def test_a_name_that_does_not_exist_is_shown(bed: Bed) -> None:
    await bed.start(bed.plane)
    await bed.apply(dns=source(port=80))
    await bed.fails(f"{NAME} does not exist")
    token = bed.plane.secrets.service_token
    async with headgate.connect(bed.plane.grpc, token=token) as gateway:
        service = await gateway.registry.get_service("orders")
        assert service.discovery is not None
        assert service.discovery.problem == f"{NAME} does not exist"
        assert service.discovery.since is not None
        (listed,) = [one for one in await gateway.registry.get_services() if one.service_name == "orders"]
        assert listed.discovery == service.discovery


async def test_addresses_that_must_not_be_registered_are_not_discovered(bed: Bed, server: DnsServer) -> None:
    """The zone may be another party's: it must not lead data planes to their node's own services."""
    await bed.start(bed.plane)
    server.set(NAME, "A", "169.254.169.254", "10.0.0.1", ttl=300)
    await bed.apply(dns=source(port=80))
    await bed.knows("10.0.0.1")
    await bed.fails("169.254.169.254 is")


async def test_another_control_plane_takes_over(bed: Bed, server: DnsServer) -> None:
    process = await bed.start(bed.plane)
    other = dataclasses.replace(bed.plane, name="other", admin_port=free_port(), grpc_port=free_port())
    server.set(NAME, "A", "10.0.0.1", ttl=2)
    await bed.apply(dns=source(port=80))
    await bed.knows("10.0.0.1")
    await bed.start(other)
    await bed.knows("10.0.0.1", plane=other)
    await asyncio.to_thread(process.stop)
    server.set(NAME, "A", "10.0.0.9", ttl=2)
    await bed.knows("10.0.0.9", plane=other)
    assert (await bed.service(other))["discovered"]["problem"] == ""


async def leads(bed: Bed, plane: ControlPlane) -> bool:
    return "headgate_controlplane_discovery_leads 1.0" in (await bed.get("/metrics", plane)).text


async def test_a_frozen_control_plane_writes_nothing_old_when_it_wakes(bed: Bed, server: DnsServer) -> None:
    process = await bed.start(bed.plane)
    other = dataclasses.replace(bed.plane, name="other", admin_port=free_port(), grpc_port=free_port())
    server.set(NAME, "A", "10.0.0.1", ttl=2)
    await bed.apply(dns=source(port=80))
    await bed.knows("10.0.0.1")
    await bed.start(other)
    process.signal(signal.SIGSTOP)
    try:
        server.set(NAME, "A", "10.0.0.9", ttl=2)
        await bed.knows("10.0.0.9", plane=other)
    finally:
        process.signal(signal.SIGCONT)
    await bed.knows("10.0.0.9")
    server.set(NAME, "A", "10.0.0.9", "10.0.0.10", ttl=2)
    await bed.knows("10.0.0.9", "10.0.0.10")
    assert [await leads(bed, plane) for plane in (bed.plane, other)] == [False, True]


async def test_a_store_that_is_silent_for_long(bed: Bed, server: DnsServer, own_etcd: Etcd) -> None:
    """Longer than the lease of the election: discovery begins anew, and misses nothing."""
    await bed.start(bed.plane)
    server.set(NAME, "A", "10.0.0.1", ttl=2)
    await bed.apply(dns=source(port=80))
    await bed.knows("10.0.0.1")
    own_etcd.freeze()
    try:
        server.set(NAME, "A", "10.0.0.2", ttl=2)

        async def deposed() -> bool:
            return not await leads(bed, bed.plane)

        await eventually(deposed, every=0.1)
        await bed.knows("10.0.0.1")
    finally:
        own_etcd.thaw()
    await bed.knows("10.0.0.2")
