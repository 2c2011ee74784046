"""A member of etcd whose name leads to another address after its restart."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio

from controlplane.store.errors import StoreUnavailable
from controlplane.store.etcd_credentials import CredentialFiles
from controlplane.store.etcd_endpoint import Endpoint
from controlplane.store.etcd_settings import EtcdSettings
from controlplane.store.etcd_wire import STATUS
from controlplane.store.etcdpb import headgate_etcd_pb2 as pb
from demo.ports import free_port
from tests.support.dns_server import DnsServer
from tests.support.waiting import eventually

NAME = "etcd-0.etcd.test"


async def member(address: str) -> grpc.aio.Server:
    """Answers nothing but its status."""

    async def status(request: pb.StatusRequest, context: Any) -> pb.StatusResponse:
        return pb.StatusResponse()

    service, _, method = STATUS.path.strip("/").partition("/")
    handler = grpc.unary_unary_rpc_method_handler(
        status, pb.StatusRequest.FromString, pb.StatusResponse.SerializeToString
    )
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    server.add_insecure_port(address)
    await server.start()
    return server


async def test_a_member_is_found_soon_at_its_new_address() -> None:
    port = free_port()

    async def answers() -> bool:
        try:
            await endpoint.settle(1)
            await endpoint.ask(STATUS, pb.StatusRequest(), (), 1)
        except StoreUnavailable:
            return False
        return True

    async with DnsServer() as dns:
        dns.set(NAME, "A", "127.0.0.1")
        dns.set(NAME, "AAAA")
        address = f"dns://{dns.address}/{NAME}:{port}"
        endpoint = Endpoint(address, CredentialFiles(EtcdSettings()))
        server = await member(f"127.0.0.1:{port}")
        assert await answers()
        await server.stop(None)
        dns.set(NAME, "A", "127.0.0.2")
        server = await member(f"127.0.0.2:{port}")
        # gRPC alone would wait for 30 s.
        await eventually(answers, within=15)
        await endpoint.close()
        await server.stop(None)
