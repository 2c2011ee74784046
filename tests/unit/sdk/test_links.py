"""A control plane whose name leads to another address after its restart."""

from __future__ import annotations

import grpc.aio

from demo.ports import free_port
from headgate.links import Links
from headgate.target import Target
from headgate_api.v1 import registry_pb2, registry_pb2_grpc
from tests.support.dns_server import DnsServer
from tests.support.fake_registry import FakeRegistry
from tests.support.waiting import eventually

NAME = "controlplane.test"


async def started(address: str) -> grpc.aio.Server:
    registry = FakeRegistry()
    registry.token = None
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(registry, server)
    server.add_insecure_port(address)
    await server.start()
    return server


async def test_a_control_plane_is_found_soon_at_its_new_address() -> None:
    port = free_port()

    async def answers() -> bool:
        async with links.use(0) as stub:
            await stub.ListServices(registry_pb2.ListServicesRequest(), timeout=1)
        return True

    async with DnsServer() as dns:
        dns.set(NAME, "A", "127.0.0.1")
        dns.set(NAME, "AAAA")
        links = Links(Target((f"dns://{dns.address}/{NAME}:{port}",)))
        server = await started(f"127.0.0.1:{port}")
        assert await answers()
        await server.stop(None)
        dns.set(NAME, "A", "127.0.0.2")
        server = await started(f"127.0.0.2:{port}")
        # gRPC alone would wait for 30 s.
        await eventually(answers, within=15)
        await links.close()
        await server.stop(None)
